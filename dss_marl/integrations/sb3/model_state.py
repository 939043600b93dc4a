"""All that an SB3 model has learned and counted, as plain data: to write it down, and to go on from it."""

from __future__ import annotations

import json
import random
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.save_util import recursive_getattr, recursive_setattr

_COUNTERS = ("num_timesteps", "_n_updates", "_episode_num", "_current_progress_remaining")
_BUFFER = "replay_buffer"  # of off-policy algorithms; rollouts of the others end before a checkpoint


def state_of(model: Any) -> dict[str, Any]:
    """Networks, optimisers, other tensors, counters, episode statistics and replay buffer of a model.

    Tensors, numbers, text, and lists and dicts of these: what ``torch.load(weights_only=True)`` reads. A model with
    more state than SB3's own has the methods ``own_state() -> dict`` and ``restore_own_state(dict)``.
    """
    found: dict[str, Any] = {
        "parameters": model.get_parameters(),
        "variables": {name: recursive_getattr(model, name).detach().clone() for name in _variables(model)},
        "counters": {name: getattr(model, name) for name in _COUNTERS},
        "episodes": [{"r": float(one["r"]), "l": int(one["l"])} for one in model.ep_info_buffer or ()],
        "action_stream": json.dumps(model.action_space.np_random.bit_generator.state),
    }
    if getattr(model, _BUFFER, None) is not None:
        found[_BUFFER] = _contents(getattr(model, _BUFFER))
    if hasattr(model, "own_state"):
        found["own"] = model.own_state()
    return found


def restore(model: Any, state: Mapping[str, Any]) -> None:
    """Put a state into a model that was made with the same settings, for the same copies.

    Raises:
        ValueError: the state is of another network or algorithm.
    """
    try:
        model.set_parameters(state["parameters"], exact_match=True, device="cpu")
        for name in _variables(model):
            recursive_setattr(model, f"{name}.data", state["variables"][name].data)
        if getattr(model, _BUFFER, None) is not None:
            _fill(getattr(model, _BUFFER), state[_BUFFER])
    except (KeyError, RuntimeError) as error:
        raise ValueError(f"the checkpoint is of another network or algorithm: {error}") from None
    for name, value in state["counters"].items():
        setattr(model, name, value)
    model.ep_info_buffer = deque(state["episodes"], maxlen=model._stats_window_size)
    model.ep_success_buffer = deque(maxlen=model._stats_window_size)
    model.action_space.np_random.bit_generator.state = json.loads(state["action_stream"])
    if hasattr(model, "own_state"):
        model.restore_own_state(state["own"])


def streams() -> dict[str, Any]:
    """Positions of the random streams of torch, NumPy and Python that all models share."""
    kind, keys, place, has_gauss, gauss = np.random.get_state(legacy=True)
    return {
        "torch": th.get_rng_state(),
        "numpy": [str(kind), th.from_numpy(np.asarray(keys).astype(np.int64)), place, has_gauss, gauss],
        "python": json.dumps(random.getstate()),
    }


def restore_streams(found: Mapping[str, Any]) -> None:
    """Continue the shared random streams from these positions."""
    th.set_rng_state(found["torch"])
    kind, keys, *rest = found["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    version, numbers, gauss = json.loads(found["python"])
    random.setstate((version, tuple(numbers), gauss))


def _variables(model: Any) -> list[str]:
    """Names of the tensors that belong to no network, such as SAC's temperature."""
    return list(model._get_torch_save_params()[1])


def _contents(buffer: Any) -> dict[str, Any]:
    """The rows of a replay buffer that are filled, and where the next goes."""
    rows = buffer.buffer_size if buffer.full else buffer.pos
    return {"pos": buffer.pos, "full": buffer.full, "rows": {
        name: th.from_numpy(array[:rows]) for name, array in _arrays(buffer).items()
    }}  # fmt: skip


def _fill(buffer: Any, contents: Mapping[str, Any]) -> None:
    for name, array in _arrays(buffer).items():
        rows = contents["rows"][name].numpy()
        array[: len(rows)] = rows
    buffer.pos, buffer.full = contents["pos"], contents["full"]


def _arrays(buffer: Any) -> dict[str, np.ndarray]:
    """Arrays of a replay buffer by name, also those of each part of an observation."""
    found: dict[str, np.ndarray] = {}
    for name, value in vars(buffer).items():
        parts = value.items() if isinstance(value, dict) else (("", value),)
        found |= {f"{name}/{key}": part for key, part in parts if isinstance(part, np.ndarray)}
    return found
