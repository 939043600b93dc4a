"""The decision process: agents, actions, observations, rewards, costs, sensing, communication, adversary."""
