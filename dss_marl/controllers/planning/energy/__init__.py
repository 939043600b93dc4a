"""Energy planning of batteries, flexible loads, EV chargers and generators."""
