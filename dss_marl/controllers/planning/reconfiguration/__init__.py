"""Planning of network reconfiguration."""
