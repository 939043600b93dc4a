"""Switches and generators after a fault: one agent per device, masked choices, and the load restored at random."""

import dss_marl


def play(env, seed):
    """Unserved energy over an episode of random choices within the masks [kWh]."""
    observations, _ = env.reset(seed=seed)
    unserved = 0.0
    while env.agents:
        actions = {agent: env.action_space(agent).sample(observations[agent]["action_mask"]) for agent in env.agents}
        observations, _, _, _, infos = env.step(actions)
        assert all(info["illegal"] == 0 for info in infos.values())
        by_zone = dict(zip(env.task.agents.zone, infos.values(), strict=True))  # agents of a zone share its costs
        unserved += sum(info["cost/unserved_kwh"] for info in by_zone.values())
    return unserved


if __name__ == "__main__":
    env = dss_marl.make("ieee123_switching", agents="device")
    print(f"{len(env.possible_agents)} agents, such as {', '.join(env.possible_agents[:3])}")
    for seed in range(3):
        print(f"episode {seed}: {play(env, seed):.0f} kWh unserved")
    env.close()
