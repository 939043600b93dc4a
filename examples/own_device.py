"""Your own device kind: a group of arrays with `act`; here, loads that shed up to a share of their power."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

import dss_marl
from dss_marl.devices import DeviceGroup, DeviceSpec, find


class ShedSpec(DeviceSpec):
    load: str
    most: float = 0.3


@dataclass(frozen=True)
class SheddableLoads(DeviceGroup):
    injections: np.ndarray  # (D) index in the feeder's injections
    most: np.ndarray  # (D) highest share that can be shed

    action_labels: ClassVar[tuple[str, ...]] = ("share shed where positive",)
    Spec: ClassVar[type[DeviceSpec]] = ShedSpec

    def act(self, action, state, setpoints, interval):
        kept = 1 - self.most * np.maximum(action[..., 0], 0)
        setpoints.kw[..., self.injections] *= kept
        setpoints.kvar[..., self.injections] *= kept
        return state, np.zeros(kept.shape, dtype=int)

    @classmethod
    def build(cls, specs, feeder):
        rows = [find(feeder.injections, f"load.{spec.load}", "load", feeder.name) for spec in specs]
        buses = tuple(feeder.injections[j].bus for j in rows)
        names = tuple(spec.load for spec in specs)
        return cls(names, buses, np.array(rows), np.array([spec.most for spec in specs]))


if __name__ == "__main__":
    scenario = dss_marl.load_scenario("ieee34_volt_var")
    shed = {"kind": f"{__name__}:SheddableLoads", "load": "s844", "most": 0.5}
    env = dss_marl.make(scenario, devices=[*scenario.devices, shed])
    env.reset(seed=0)
    print(env.labels("zone_5")["action"])
    env.close()
