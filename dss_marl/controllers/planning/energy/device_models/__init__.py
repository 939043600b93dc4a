"""Models of device kinds in the day program: effect of entries on injections, and storage constraints."""

from dss_marl.controllers.planning.energy.device_models.base import DayOutlook, DeviceModel, InjectionColumns
from dss_marl.controllers.planning.energy.device_models.ev_model import EVModel
from dss_marl.controllers.planning.energy.device_models.flexible_load_model import FlexibleLoadModel
from dss_marl.controllers.planning.energy.device_models.power_models import BatteryModel, InverterModel

__all__ = [
    "BatteryModel",
    "DayOutlook",
    "DeviceModel",
    "EVModel",
    "FlexibleLoadModel",
    "InjectionColumns",
    "InverterModel",
]
