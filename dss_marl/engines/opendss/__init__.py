"""OpenDSS: the truth. The one package that imports opendssdirect."""

from dss_marl.engines.opendss.engine import OpenDSSEngine
from dss_marl.engines.opendss.reader import NewInjection, read_feeder

__all__ = ["NewInjection", "OpenDSSEngine", "read_feeder"]
