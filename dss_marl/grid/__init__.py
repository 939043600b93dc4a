"""Grid: the feeder as data, its topology, and the set points and solutions that travel."""
