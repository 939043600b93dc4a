"""Planning of service restoration after faults."""
