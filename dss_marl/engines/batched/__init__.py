"""Power flows of many copies of one feeder at once, in NumPy or compiled: see ``BatchedEngine``.

The admittances are read once by ``engines.opendss.network``; what follows knows no OpenDSS.
"""
