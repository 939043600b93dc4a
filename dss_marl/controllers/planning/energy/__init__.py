"""Plans of batteries, flexible loads, chargers and generators."""
