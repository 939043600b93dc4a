"""Copies of an environment distributed over processes, with identical results."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import time
import traceback
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import chain
from multiprocessing.connection import Connection
from types import ModuleType
from typing import Any, NoReturn

import cloudpickle
import numpy as np

from dss_marl._plugins import file_modules
from dss_marl.integrations.vector.blocks import build_block
from dss_marl.integrations.vector.copies import Block, Infos, Interruption, Layout, MakeEnv, Start, check_rows, gather
from dss_marl.integrations.vector.engine_block import EngineChoice
from dss_marl.integrations.vector.shared_arrays import SharedArrays
from dss_marl.integrations.vector.watching import Watch, Watched

_WORTH_S = 4e-3  # a step of all copies that takes longer is worth handing over


class WorkerError(RuntimeError):
    """A worker process failed; the message holds its traceback, or its exit status."""


class Failure:
    """An exception returned by a worker: as text and, if it can be pickled, as an object."""

    def __init__(self, error: Exception) -> None:
        self.text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        self.error: Exception | None = error
        try:
            pickle.loads(pickle.dumps(error))  # loads too, where an __init__ with custom arguments fails
        except Exception:
            self.error = None

    def throw(self) -> NoReturn:
        """Raise it as in the worker, with a WorkerError as cause that shows the worker's traceback."""
        cause = WorkerError(f"in a worker process:\n{self.text}")
        if self.error is None:
            raise cause
        raise self.error from cause


def pickled(make_env: MakeEnv) -> bytes:
    """The pickled factory.

    Raises:
        ValueError: it cannot be pickled.
    """
    for module in file_modules():
        cloudpickle.register_pickle_by_value(module)
    try:
        return cloudpickle.dumps(make_env)
    except Exception as error:  # the type depends on the object: TypeError, AttributeError, PicklingError, ...
        raise ValueError(
            f"make_env cannot be pickled: {error}. It should build what it needs when it is called, instead of "
            "holding a finished environment or engine; or use route='native' with num_cpus=0, which needs no pickling"
        ) from error


def _serve(pipe: Connection, shelf: SharedArrays, factory: bytes, n: int, choice: EngineChoice | None) -> None:
    """Worker main loop: build the block at the first command, answer commands until None or the end of the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the parent decides
    block = None
    while True:
        try:
            request = pipe.recv()
        except (EOFError, OSError):
            break
        if request is None:
            break
        command, args = request
        try:
            if block is None:
                block = build_block(cloudpickle.loads(factory), n, choice)
            answer = shelf.put(getattr(block, command)(*args))
        except Exception as error:
            answer = shelf.put(Failure(error))
        try:
            pipe.send_bytes(answer)
        except OSError:
            break
    if block is not None:
        block.close()


@contextmanager
def _script_hidden() -> Iterator[None]:
    """Keep multiprocessing from running the user's script, with imports such as torch, again in each worker.

    Objects of the script that the factory needs are pickled by value by cloudpickle.
    """
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


class _Worker:
    """A block in a separate process: each call is one message in each direction."""

    def __init__(self, factory: bytes, copies: range, choice: EngineChoice | None) -> None:
        # not fork: a forked child inherits threads' locks and open engines in whatever state they are
        method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
        context = multiprocessing.get_context(method)
        self.copies = copies
        self._pipe, theirs = context.Pipe()
        self._shelf = SharedArrays(context)
        self._process = context.Process(  # type: ignore[attr-defined]
            target=_serve, args=(theirs, self._shelf, factory, len(copies), choice), daemon=True
        )
        with _script_hidden():
            self._process.start()
        theirs.close()  # otherwise the end of the worker would go unnoticed
        self._waiting = False

    def send(self, command: str, *args: Any) -> None:
        if self._waiting:  # last answer not fetched, as after Ctrl-C or a failure of another worker
            with suppress(Exception):
                self._answer()
        with suppress(BrokenPipeError):  # the worker is gone; receive reports it
            self._pipe.send((command, args))
        self._waiting = True

    def receive(self) -> Any:
        answer = self._answer()
        if isinstance(answer, Failure):
            answer.throw()
        return answer

    def close(self, patience_s: float = 10.0) -> None:
        with suppress(OSError):  # the worker may be gone
            self._pipe.send(None)  # closing the pipe is not enough: a process forked meanwhile may hold it open
        self._pipe.close()
        self._process.join(patience_s)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _answer(self) -> Any:
        try:
            answer = self._pipe.recv_bytes()
        except (EOFError, ConnectionError) as error:
            self._process.join(1)
            raise WorkerError(
                f"the worker of copies {self.copies.start} to {self.copies.stop - 1} ended without an answer, exit "
                f"code {self._process.exitcode}. Its output may show why; num_cpus=0 runs the same in this process"
            ) from error
        self._waiting = False  # before unpickling, which may fail on a class that only the worker knows
        return self._shelf.take(answer)


class _Here:
    """A block in this process, with the same interface."""

    def __init__(self, block: Block, copies: range) -> None:
        self.copies = copies
        self._block = block

    def send(self, command: str, *args: Any) -> None:
        self._call = (command, args)

    def receive(self) -> Any:
        command, args = self._call
        return getattr(self._block, command)(*args)

    def close(self) -> None:
        self._block.close()


def worthwhile_workers(make_env: MakeEnv, block: Block) -> int:
    """How many worker processes would step a block's copies faster than this one; 0 if none.

    Args:
        make_env: what built the copies, and would build them in the workers.
        block: the copies; reset, and stepped by a few random actions.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = min(cores, len(block.copies))
    if workers < 2:
        return 0
    layout = block.layouts()[0]
    rows = len(block.copies) * len(layout.agents)
    block.reset([(None, None)] * len(block.copies))
    times = []
    for _ in range(3):
        actions = np.array([layout.action_space.sample() for _ in range(rows)])
        start = time.perf_counter()
        block.step(actions)
        times.append(time.perf_counter() - start)
    if min(times) < _WORTH_S:
        return 0
    try:
        pickled(make_env)
    except ValueError:
        return 0
    return workers


class ParallelCopies:
    """Copies of one environment stepped together, in this process or distributed over workers.

    A copy that ends is reset within the same step. Its random stream starts with the seed of the first reset and
    continues through later ones. Call `close` at the end.

    Attributes:
        layout: the agents of a copy and their spaces.
        masks: (rows, choices) bool, current masks; None without masks.
        reset_infos: per row, the infos of its copy's last reset.
    """

    def __init__(
        self, make_env: MakeEnv, n_envs: int = 1, num_cpus: int | None = 0, choice: EngineChoice | None = None
    ) -> None:
        """Build the copies.

        Args:
            make_env: returns a new ParallelEnv at each call.
            n_envs: number of copies.
            num_cpus: worker processes; 0 uses this process; None measures a few steps here, and takes a worker for each
                core if a step of all copies takes more than 4 ms and the factory can be pickled.
            choice: a batch engine that solves the copies of a process together; with one, None takes no workers.

        Raises:
            ValueError: invalid counts, agents or copies with different spaces, a factory that cannot be pickled, or an
                engine that refuses the copies, or an open one for workers.
        """
        if n_envs < 1 or (num_cpus or 0) < 0:
            raise ValueError(f"n_envs must be at least 1 and num_cpus at least 0, not {n_envs} and {num_cpus}")
        built = None
        if choice is not None:
            num_cpus = num_cpus or 0
            if num_cpus and not isinstance(choice.engine, str):
                raise ValueError("an open engine stays in this process: give its name instead, or num_cpus=0")
        if num_cpus is None:
            built = build_block(make_env, n_envs)
            num_cpus = worthwhile_workers(make_env, built)
            if num_cpus:
                built.close()
        parts = max(1, min(num_cpus, n_envs))
        shares = [range(n_envs * i // parts, n_envs * (i + 1) // parts) for i in range(parts)]
        self._blocks: list[_Here | _Worker] = []
        try:
            factory = pickled(make_env) if num_cpus else b""
            for share in shares:
                if num_cpus:
                    self._blocks.append(_Worker(factory, share, choice))
                else:
                    self._blocks.append(_Here(built or build_block(make_env, len(share), choice), share))
            layouts: list[Layout] = list(chain(*self._exchange("layouts", [()] * parts)))
            if any(layout != layouts[0] for layout in layouts):
                raise ValueError(f"make_env built environments with different agents or spaces: {layouts}")
        except BaseException:
            self.close()
            raise
        self.layout = layouts[0]
        self.reset_infos: Infos = [{} for _ in range(n_envs * len(self.layout.agents))]
        self.masks: np.ndarray | None = None
        self._interruption = Interruption()

    def reset(self, starts: Sequence[Start]) -> Any:
        """Reset copy k with the seed and options of starts[k]; observations (rows, ...).

        After an error of one copy, steps are refused until a reset of all succeeds.
        """
        own = [(starts[block.copies.start : block.copies.stop],) for block in self._blocks]
        with self._interruption.noted():
            replies = self._exchange("reset", own)
        self._interruption.cause = ""
        seen, masks, infos = zip(*replies, strict=True)
        self.masks = np.concatenate(masks) if self.layout.mask_width else None
        self.reset_infos = [info for copies in infos for copy in copies for info in copy]
        return gather(self.layout.observation_space, seen, np.concatenate)

    def step_async(self, actions: np.ndarray) -> None:
        """Start a step of all copies with actions (rows, ...).

        Raises:
            ValueError: not one for each row, NaN, or a choice that there is not; no copy has moved.
            RuntimeError: an error in the last step or reset left some copies ahead of others; reset first.
        """
        self._interruption.check()
        if len(actions) != len(self.reset_infos):
            raise ValueError(f"{len(actions)} actions for {len(self.reset_infos)} rows (copies x agents)")
        actions = np.array(actions)  # a copy for the environments, as for those in workers
        check_rows(self.layout.action_space, actions)
        team = len(self.layout.agents)
        self._send("step", [(actions[b.copies.start * team : b.copies.stop * team],) for b in self._blocks])

    def step_wait(self) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, Infos]:
        """Finish the step.

        Returns:
            Observations (rows, ...), those of the reset where a copy ended; rewards (rows,) float32; terminated and
            truncated (rows,) bool; and per row the environment's infos with "TimeLimit.truncated" and, where the copy
            ended, "terminal_observation".
        """
        with self._interruption.noted():
            replies = [block.receive() for block in self._blocks]
        seen, masks, numbers, infos, reset_infos = zip(*replies, strict=True)
        self.masks = np.concatenate(masks) if self.layout.mask_width else None
        team = len(self.layout.agents)
        for block, ended in zip(self._blocks, reset_infos, strict=True):
            for k, fresh in ended.items():
                first = (block.copies.start + k) * team
                self.reset_infos[first : first + team] = fresh
        rewards, terminated, truncated = np.concatenate(numbers, axis=1)
        observations = gather(self.layout.observation_space, seen, np.concatenate)
        return observations, rewards.astype(np.float32), terminated > 0, truncated > 0, list(chain(*infos))

    def watch(self, watch: Watch) -> None:
        """Keep this of each step from now on.

        Raises:
            ValueError: the environments do not have it.
        """
        self._exchange("watch", [(watch,)] * len(self._blocks))

    def watched(self) -> Watched:
        """What was kept of the last step of all copies."""
        return Watched.joined(self._exchange("watched", [()] * len(self._blocks)))

    def ask(self, copies: Collection[int], question: str, *args: Any) -> dict[int, Any]:
        """Query some copies with one of QUESTIONS; returns the answer of each."""
        asked = [[k for k in block.copies if k in copies] for block in self._blocks]
        shifted = [[k - b.copies.start for k in ks] for b, ks in zip(self._blocks, asked, strict=True)]
        replies = self._exchange("ask", [(ks, question, *args) for ks in shifted])
        return dict(zip(chain(*asked), chain(*replies), strict=True))

    def close(self) -> None:
        """Close the environments and wait for the workers to end; a second call does nothing."""
        with ExitStack() as stack:
            while self._blocks:
                stack.callback(self._blocks.pop().close)

    def _exchange(self, command: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        self._send(command, arguments)
        return [block.receive() for block in self._blocks]

    def _send(self, command: str, arguments: Sequence[tuple[Any, ...]]) -> None:
        if not self._blocks:
            raise RuntimeError("these environments are closed; build new ones")
        for block, args in zip(self._blocks, arguments, strict=True):
            block.send(command, *args)
