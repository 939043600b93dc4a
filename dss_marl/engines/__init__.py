"""Power-flow engines: set points in, solution out. ``open_engine`` opens one; circuits are read here too.

OpenDSS names, text and calls are confined to ``engines.opendss``; the rest of the package imports from here.
"""

from dss_marl.engines.base import BatchEngine, Engine, PowerFlowError
from dss_marl.engines.opendss import OpenDSSEngine, read_feeder
from dss_marl.engines.opendss.allowed_commands import check_command
from dss_marl.engines.opendss.bank_controls import read_controlled_banks
from dss_marl.engines.opendss.circuit_edits import circuit_edits, regulator_band
from dss_marl.engines.opendss.circuit_files import circuit_files
from dss_marl.engines.opendss.floor import Floor
from dss_marl.engines.opendss.loadshapes import LoadShape, read_load_shapes
from dss_marl.engines.opendss.own_units import read_own_power
from dss_marl.engines.opendss.synthetic_feeder import SyntheticSpec, synthetic_feeder, synthetic_path
from dss_marl.engines.registry import (
    BATCH_ENGINES,
    ENGINES,
    batch_of,
    open_batch_engine,
    open_engine,
    setpoint_gradients,
)
from dss_marl.grid.solution_slopes import SolutionSlopes

__all__ = [
    "BATCH_ENGINES",
    "ENGINES",
    "BatchEngine",
    "Engine",
    "Floor",
    "LoadShape",
    "OpenDSSEngine",
    "PowerFlowError",
    "SolutionSlopes",
    "SyntheticSpec",
    "batch_of",
    "check_command",
    "circuit_edits",
    "circuit_files",
    "open_batch_engine",
    "open_engine",
    "read_controlled_banks",
    "read_feeder",
    "read_load_shapes",
    "read_own_power",
    "regulator_band",
    "setpoint_gradients",
    "synthetic_feeder",
    "synthetic_path",
]
