"""Training: what learns, from which start, and what is kept of it."""
