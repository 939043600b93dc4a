"""Devices: what agents move. Each kind is written once, for all devices of the kind together."""

from dss_marl.devices.base import KINDS, DeviceGroup, DeviceSpec, device_kind
from dss_marl.devices.capacitor import Capacitors
from dss_marl.devices.inverter import Inverters
from dss_marl.devices.regulator import Regulators

KINDS |= {"inverter": Inverters, "regulator": Regulators, "capacitor": Capacitors}

__all__ = ["KINDS", "Capacitors", "DeviceGroup", "DeviceSpec", "Inverters", "Regulators", "device_kind"]
