"""dss_marl."""
