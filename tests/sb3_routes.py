"""Routes from PettingZoo to SB3, in this process and in workers, and rollouts under fixed actions."""

import numpy as np
import pytest

ROUTES = ["native", "supersuit"]
both_routes = pytest.mark.parametrize("route", ROUTES)
places = [("native", 0), ("supersuit", 0), ("supersuit", 2)]
in_place = pytest.mark.parametrize(("route", "num_cpus"), places)
everywhere = pytest.mark.parametrize(("route", "num_cpus"), [*places, ("native", 2)])  # whose workers start slowly


def small():
    """Settings of a small seeded model; new ones each time, as SB3 writes into `policy_kwargs`."""
    return {"policy_kwargs": {"net_arch": [16]}, "device": "cpu", "seed": 0}


def rollout(venv, steps):
    """Observations (steps + 1, rows, 3), rewards and dones (steps, rows), infos, under fixed random actions."""
    rng = np.random.default_rng(7)
    seen, rewards, dones, infos = [venv.reset()], [], [], []
    for _ in range(steps):
        step = venv.step(rng.uniform(-1, 1, (venv.num_envs, 2)).astype(np.float32))
        for kept, new in zip((seen, rewards, dones, infos), step, strict=True):
            kept.append(new)
    return np.array(seen), np.array(rewards), np.array(dones), infos
