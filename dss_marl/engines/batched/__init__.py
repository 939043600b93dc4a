"""Power flows of many copies of one feeder, computed together."""
