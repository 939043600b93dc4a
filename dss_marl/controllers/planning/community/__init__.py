"""Days of a community market: the plan that is best for all together, and the one in which each member plays for itself."""
