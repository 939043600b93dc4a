"""Stable-Baselines3: vectorised environments, models, trained policies as controllers."""
