"""Rendering of a running environment; passed to it, so that environments do not import plots."""

from __future__ import annotations

import numpy as np

from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.plots.feeder_map import feeder_image


def render_feeder(env: ZoneEnv) -> np.ndarray:
    """(H, W, 3) uint8: the feeder's map of the last interval as operated; after a reset, of the coming one.

    Raises:
        RuntimeError: before ``reset``.
    """
    state = env.after or env.now
    if state is None:
        raise RuntimeError("render_feeder needs an episode; call reset first")
    return feeder_image(env.task, state)
