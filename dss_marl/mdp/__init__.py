"""The decision process: agents, observations, rewards, costs, sensing, communication, adversary."""
