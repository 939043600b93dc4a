"""PartTimes: how a step's CPU time is shared among its parts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

PARTS = ("decode", "devices", "engine", "states", "terms", "observations", "infos", "rest")
_FLEET = ("act", "hold", "hold_waiting", "respond", "trip", "hold_tripping", "check", "telemetry", "unmet_kwh",
          "stored_kwh", "zeros")  # fmt: skip
# (what is asked for it, by attributes of the environment; method; part). The time of a method is that of its part
# without the methods in it that are listed themselves.
_COMMON = (
    *(("simulator.fleet", method, "devices") for method in _FLEET),
    ("engine", "solve", "engine"),
    ("simulator", "operate", "states"),
    ("simulator", "observe_next", "states"),
    ("task.reward_model", "zone_terms", "terms"),
    ("reward_assignment", "agent_rewards", "terms"),
    ("observation_model", "observe", "observations"),
)
_ONE = (
    ("task.encoding", "decode", "decode"),
    ("masks", "enforce", "decode"),
    ("masks", "levels", "observations"),
    ("masks", "observations", "observations"),
    ("step_info", "of_step", "infos"),
)
Place = tuple[str, str, str]
_BATCH: tuple[Place, ...] = (
    ("action_rows", "decode", "decode"),
    ("action_masks", "enforce", "decode"),
    ("action_masks", "levels", "observations"),
    ("mask_rows", "of", "observations"),
    ("step_info", "values_of_step", "infos"),
)
# The same with masks and the conditions of the interval by themselves, as they are where the solver is fast.
ENGINE_PARTS = (
    "decode",
    "devices",
    "conditions",
    "solver",
    "states",
    "terms",
    "observations",
    "masks",
    "infos",
    "rest",
)
_CONDITIONS = ("interval", "injections_kw", "setpoints", "protected", "outlook")
_MASKS = (("action_masks", "levels", "masks"), ("mask_rows", "of", "masks"))
ENGINE_PLACES: tuple[Place, ...] = (
    *(("simulator.many", method, "conditions") for method in _CONDITIONS),
    *(place for place in (*_COMMON, *_BATCH) if place[:2] not in [own[:2] for own in _MASKS] + [("engine", "solve")]),
    *_MASKS,
    ("engine", "solve", "solver"),
)


class PartTimes:
    """Measures the parts of an environment's steps while it is open: ``with PartTimes(env) as times: ...``.

    What is called between the parts, and the measuring itself, is ``rest``.

    Args:
        env: a ZoneEnv or BatchZoneEnv.
        places: what is asked for it, method and part of each method that is timed; None takes those of PARTS.
        clock: CPU time [ns]: of this thread, or of the process where others work too.
    """

    def __init__(
        self, env: Any, places: Sequence[Place] | None = None, clock: Callable[[], int] = time.thread_time_ns
    ) -> None:
        batch, self._clock = hasattr(env, "action_rows"), clock
        given = (*_COMMON, *(_BATCH if batch else _ONE)) if places is None else places
        self._ns = dict.fromkeys(PARTS if places is None else dict.fromkeys([*(part for *_, part in given), "rest"]), 0)
        self._inner = [0]  # of each method that runs: what those in it took
        self._watched: list[tuple[Any, str]] = []
        self._places = [(env, "step", "rest")]
        for path, method, part in given:
            owner = env
            for name in path.split("."):
                owner = getattr(owner, name)
            self._places.append((owner, method, part))

    def __enter__(self) -> PartTimes:
        for owner, method, part in self._places:
            vars(owner)[method] = self._timed(getattr(owner, method), part)
            self._watched.append((owner, method))
        return self

    def __exit__(self, *_: object) -> None:
        while self._watched:
            owner, method = self._watched.pop()
            vars(owner).pop(method, None)

    def shares(self) -> dict[str, float]:
        """Share of each part in all of them."""
        total = sum(self._ns.values()) or 1
        return {part: spent / total for part, spent in self._ns.items()}

    def _timed(self, method: Callable[..., Any], part: str) -> Callable[..., Any]:
        clock, ns, inner = self._clock, self._ns, self._inner

        def timed(*given: Any, **named: Any) -> Any:
            inner.append(0)
            begun = clock()
            try:
                return method(*given, **named)
            finally:
                spent = clock() - begun
                ns[part] += spent - inner.pop()
                inner[-1] += spent

        return timed
