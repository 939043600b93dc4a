"""Plans of switches after a fault."""
