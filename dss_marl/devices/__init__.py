"""Devices that agents control. Each kind is implemented for all devices of the kind as arrays."""

from dss_marl.devices.base import KINDS, DeviceGroup, DeviceSpec, Goal, device_kind
from dss_marl.devices.battery import Batteries
from dss_marl.devices.capacitor import Capacitors
from dss_marl.devices.crew import Crews
from dss_marl.devices.demand_meter import DemandMeters
from dss_marl.devices.estimator import Estimators
from dss_marl.devices.ev_charger import EVChargers
from dss_marl.devices.feeder_tie import FeederTies
from dss_marl.devices.flexibility_request import FlexibilityRequests
from dss_marl.devices.flexible_load import FlexibleLoads
from dss_marl.devices.generator import Generators
from dss_marl.devices.guard import GuardSpec
from dss_marl.devices.inverter import Inverters
from dss_marl.devices.load_shedder import LoadShedders
from dss_marl.devices.open_point import OpenPoints
from dss_marl.devices.pv import PV
from dss_marl.devices.regulator import Regulators
from dss_marl.devices.stepped_battery import SteppedBatteries
from dss_marl.devices.stepped_inverter import SteppedInverters
from dss_marl.devices.switch import Switches
from dss_marl.grid.feeder import AddedSwitch, AddedUnit, find
from dss_marl.grid.state import Interval

KINDS |= {
    "inverter": Inverters,
    "regulator": Regulators,
    "capacitor": Capacitors,
    "battery": Batteries,
    "ev_charger": EVChargers,
    "flexible_load": FlexibleLoads,
    "switch": Switches,
    "generator": Generators,
    "open_point": OpenPoints,
    "pv": PV,
    "estimator": Estimators,
    "feeder_tie": FeederTies,
    "load_shedder": LoadShedders,
    "stepped_inverter": SteppedInverters,
    "demand_meter": DemandMeters,
    "crew": Crews,
    "flexibility_request": FlexibilityRequests,
    "stepped_battery": SteppedBatteries,
}

__all__ = [
    "KINDS",
    "PV",
    "AddedSwitch",
    "AddedUnit",
    "Batteries",
    "Capacitors",
    "Crews",
    "DemandMeters",
    "DeviceGroup",
    "DeviceSpec",
    "EVChargers",
    "Estimators",
    "FeederTies",
    "FlexibilityRequests",
    "FlexibleLoads",
    "Generators",
    "Goal",
    "GuardSpec",
    "Interval",
    "Inverters",
    "LoadShedders",
    "OpenPoints",
    "Regulators",
    "SteppedBatteries",
    "SteppedInverters",
    "Switches",
    "device_kind",
    "find",
]
