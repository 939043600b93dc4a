"""Search one interval ahead, tried on the engine."""
