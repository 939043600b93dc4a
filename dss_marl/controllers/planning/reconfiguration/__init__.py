"""Plans of open points."""
