"""Slow and fast devices together: two time scales."""

import numpy as np
import pytest

from dss_marl import ZoneEnv, load_scenario

NAME = "ieee34_volt_var"


@pytest.mark.parametrize("actions", ["box", "multidiscrete"])
def test_slow_devices_act_only_at_their_steps(actions):
    plain = load_scenario(NAME)
    devices = [{**d, "act_every": 4} if d["kind"] == "regulator" else d for d in plain.devices]
    env = ZoneEnv(plain.replace(devices=devices, actions=actions))
    env.reset(seed=0)
    regulators = next(k for k, g in enumerate(env.task.device_groups) if type(g).__name__ == "Regulators")
    part = env.task.agents.action_layout.parts[regulators]
    moved = []
    for step in range(12):
        tap = env.now.setpoints.tap.copy()
        joint_action = np.zeros(env.task.agents.action_layout.size)
        joint_action[part] = 1.0 if step % 8 < 4 else -1.0
        if actions == "multidiscrete":
            allowed = env.episode.levels.allowed[part].sum(-1)
            assert (allowed == 1).all() if step % 4 else (allowed > 1).all()
        *_, infos = env.step(env.task.encoding.encode(joint_action))
        moved.append(bool((env.now.setpoints.tap != tap).any()))
        assert all(info["limited"] == 0 for info in infos.values()) or step % 4 == 0
    assert moved == [True, False, False, False] * 3
    env.close()
