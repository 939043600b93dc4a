"""Environments: a scenario becomes a task, a simulator operates it, and agents step it."""
