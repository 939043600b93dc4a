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

from dss_marl.integrations.sb3.replay_state import contents, fill

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
        found[_BUFFER] = contents(getattr(model, _BUFFER))
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
            fill(getattr(model, _BUFFER), state[_BUFFER])
    except (KeyError, RuntimeError, ValueError) as error:
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
