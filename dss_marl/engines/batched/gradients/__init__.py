"""Slopes of a power flow by implicit differentiation; ``flow_gradients`` first."""
