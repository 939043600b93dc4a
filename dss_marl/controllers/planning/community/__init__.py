"""Days of a community market: the plan that is best for all together, and each member playing for itself."""
