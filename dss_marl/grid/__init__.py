"""The grid as data: feeder, topology, set points and solutions."""
