"""The OpenDSS engine. The only package that imports opendssdirect."""

from dss_marl.engines.opendss.engine import OpenDSSEngine
from dss_marl.engines.opendss.reader import read_feeder

__all__ = ["OpenDSSEngine", "read_feeder"]
