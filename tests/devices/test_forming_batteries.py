"""Islands that a battery forms, on ieee123 behind sw3 (755 kW of load), alone or with a generator."""

from functools import cache

import numpy as np
import pytest

from dss_marl import OpenDSSEngine, read_feeder
from dss_marl.devices import device_kind
from dss_marl.engines import open_batch_engine
from dss_marl.grid.copies import rows_of
from dss_marl.grid.state import Interval, Setpoints

OFF, ON = -1.0, 1.0


@cache
def built(**changes):
    """A battery at bus 48 and a generator of 240 kW at bus 35, both behind sw3, and the switches."""
    switch, diesel, battery = (device_kind(name) for name in ("switch", "generator", "battery"))
    units = [diesel.Spec(kind="generator", name="dg", bus="35", kw=240, forming=True)]
    stores = [
        battery.Spec.model_validate(
            {
                "kind": "battery",
                "name": "bess",
                "bus": "48",
                "kw": 400,
                "kva": 450,
                "kwh": 1000,
                "forming": True,
                **changes,
            }
        )
    ]
    added = [*diesel.added_units(units), *battery.added_units(stores)]
    feeder = read_feeder("ieee123", ["batchedit load..* vminpu=0.5 vmaxpu=1.3"], added)
    groups = (
        switch.build([switch.Spec(kind="switch")], feeder),
        diesel.build(units, feeder),
        battery.build(stores, feeder),
    )
    return groups, feeder, OpenDSSEngine(feeder, 1e-8)


class Island:
    """Stepped as the environment does: switches, generators, batteries, one solve, then the checks."""

    def __init__(self, scale, dt_h=0.25, **changes):
        (self.switches, self.units, self.stores), self.feeder, self.engine = built(**changes)
        self.setpoints, self.dt_h, self.number = self.feeder.setpoints(), dt_h, 0
        self.setpoints.kw[self.feeder.loads] *= scale
        self.setpoints.kvar[self.feeder.loads] *= scale
        self.running, self.charge = self.units.initial(), self.stores.initial()

    def step(self, diesel=OFF, battery=0.0, faulted=None, **lines):
        interval = Interval(self.number, 0.0, self.dt_h, faulted)
        self.number += 1
        asked = np.zeros((self.switches.size, 1))
        for name, value in lines.items():
            asked[self.switches.names.index(name)] = value
        self.switches.act(asked, self.switches.initial(), self.setpoints, interval)
        self.running, _ = self.units.act(np.array([[diesel, 0.0]]), self.running, self.setpoints, interval)
        self.charge, limited = self.stores.act(np.array([[battery]]), self.charge, self.setpoints, interval)
        self.solution = self.engine.solve(self.setpoints)
        self.running, _ = self.units.check(self.running, self.setpoints, self.solution)
        self.charge, tripped = self.stores.check(self.charge, self.setpoints, self.solution)
        return bool(limited[0]), bool(tripped[0])

    @property
    def forming(self):
        closed = self.setpoints.closed
        units = zip(("dg", "bess"), (self.units.grid_forming_units[0], self.stores.roles.switches[0]), strict=True)
        return {name for name, s in units if closed[s]}

    @property
    def soc(self):
        return float(self.charge[0, 2])

    @property
    def battery_kw(self):
        return float(self.solution.served_kw[self.stores.injections[0]])

    def volts(self, bus):
        return self.solution.v_pu[[self.feeder.node_index[f"{bus}.{p}"] for p in (1, 2, 3)]]


def test_batteries_choose_after_generators_if_they_can_form_an_island():
    battery, generator = device_kind("battery"), device_kind("generator")
    plain = battery.Spec(kind="battery", bus="48", kw=1, kwh=1)
    forming = plain.model_copy(update={"forming": True})
    assert battery.order_of([plain]) == 0 < generator.order_of([]) < battery.order_of([plain, forming])


def test_a_battery_holds_an_island_and_its_charge_follows_what_the_island_draws():
    """A third of 755 kW: about 252 kW and losses, whatever was asked; a quarter of an hour at 95 % out of 1000 kWh."""
    island = Island(1 / 3)
    limited, tripped = island.step(battery=-0.5, sw3=OFF)
    assert island.forming == {"bess"} and not limited and not tripped
    assert island.volts("48") == pytest.approx(1.0, abs=1e-3)
    assert island.battery_kw == pytest.approx(252, rel=0.05)
    assert 0.5 - island.soc == pytest.approx(island.battery_kw / 4 / 0.95 / 1000)
    assert island.stores.worn_kwh(island.charge)[0] == pytest.approx(island.battery_kw / 4)
    assert island.stores.telemetry(island.charge, island.setpoints, None)[0].tolist() == [island.soc, 1, 0]


def test_it_follows_on_the_grid_and_in_the_island_of_a_running_generator():
    island = Island(0.2)
    island.step(battery=0.5)
    assert island.forming == set() and island.battery_kw == pytest.approx(200)
    assert island.stores.worn_kwh(island.charge)[0] == 0
    island.step(diesel=ON, battery=-0.1, sw3=OFF)
    assert island.forming == {"dg"} and island.battery_kw == pytest.approx(-40)
    island.step(diesel=OFF, battery=-0.1)
    assert island.forming == {"bess"} and island.battery_kw == pytest.approx(151, rel=0.05)
    island.step(diesel=ON, battery=-0.1)
    assert island.forming == {"dg"} and island.battery_kw == pytest.approx(-40)


def test_surplus_in_the_island_charges_it():
    """Load of 76 kW against 200 kW of PV at bus 47 leave 124 kW, of which 95 % are stored."""
    island = Island(0.1)
    pv = next(j for j in island.feeder.loads if island.feeder.injections[j].bus == "47")
    island.setpoints.kw[pv] += 200
    island.step(sw3=OFF)
    assert island.battery_kw == pytest.approx(-124, abs=4)
    assert island.soc - 0.5 == pytest.approx(-island.battery_kw / 4 * 0.95 / 1000)


def test_an_island_that_draws_too_much_trips_it_for_its_lockout():
    """755 kW are beyond 400; after half an hour it is ready again and trips again."""
    island = Island(1.0, restart_h=0.5)
    _, tripped = island.step(sw3=OFF)
    assert tripped and island.soc == 0.5 and island.battery_kw > 400
    for _ in range(2):
        limited, tripped = island.step(battery=0.2)
        assert limited and not tripped and island.forming == set() and island.volts("48").max() == 0
    assert island.step()[1]


def test_it_goes_dark_when_empty_and_when_full():
    """252 kW take 66 kWh out in a quarter hour: 0.2 of 1000 kWh above the reserve of 0.1 lasts once; likewise in."""
    island = Island(1 / 3, initial=0.2)
    assert [island.step(sw3=OFF)[1], island.step()[1]] == [False, True]
    assert island.soc == pytest.approx(0.2 - 0.0665, abs=0.004)
    full = Island(0.0, initial=0.85)
    pv = next(j for j in full.feeder.loads if full.feeder.injections[j].bus == "47")
    full.setpoints.kw[pv] = 150.0  # 36 kWh stored at a time, 50 fit
    assert [full.step(sw3=OFF)[1], full.step()[1]] == [False, True]


def test_it_feeds_no_fault():
    island = Island(0.3)
    faulted = np.isin(island.feeder.node_bus, [island.feeder.bus_index["44"]])
    island.step(faulted=faulted, sw3=OFF)
    assert island.forming == set() and island.volts("48").max() == 0 and island.soc == 0.5


def test_a_generator_that_cannot_form_an_island_follows_its_battery():
    """Its 120 kW leave the battery 132; with the battery locked out both are off and no fuel burns."""
    switch, diesel, battery = (device_kind(name) for name in ("switch", "generator", "battery"))
    units = [diesel.Spec(kind="generator", name="dg", bus="35", kw=240)]
    stores = [battery.Spec(kind="battery", bus="48", kw=400, kva=450, kwh=1000, forming=True)]
    feeder = read_feeder("ieee123", injections=[*diesel.added_units(units), *battery.added_units(stores)])
    group, bess, engine = diesel.build(units, feeder), battery.build(stores, feeder), OpenDSSEngine(feeder, 1e-8)
    lines = switch.build([switch.Spec(kind="switch")], feeder)
    setpoints = feeder.setpoints()
    setpoints.kw[feeder.loads] /= 3
    setpoints.kvar[feeder.loads] /= 3
    setpoints.closed[lines.switches[lines.names.index("sw3")]] = False
    for wait, fuel in ((0.0, (0.08415 * 240 + 0.246 * 120) / 4), (1.0, 0.0)):
        charge = bess.initial()
        charge[:, 5] = wait
        running, _ = group.act(np.array([[0.0, 0.0]]), group.initial(), setpoints, Interval(0, 0.0, 0.25))
        charge, _ = bess.act(np.array([[0.0]]), charge, setpoints, Interval(0, 0.0, 0.25))
        solution = engine.solve(setpoints)
        running, _ = group.check(running, setpoints, solution)
        assert group.fuel_l(running)[0] == pytest.approx(fuel)
        assert solution.served_kw[group.injections[0]] == pytest.approx(120 if fuel else 0, abs=1e-3)
    engine.close()


def test_both_engines_agree():
    """With the diesel, without it, charging, and dark."""
    island = Island(0.3)
    points, answers = [], []
    for diesel, lines in ((OFF, {"sw3": OFF}), (ON, {}), (OFF, {"sw3": ON})):
        island.step(diesel=diesel, **lines)
        points.append(island.setpoints.copy())
        answers.append(island.solution)
    batch = Setpoints(*(np.stack([getattr(p, name) for p in points]) for name in ("kw", "kvar", "tap", "closed")))
    engine = open_batch_engine(island.feeder, len(points), "batched")
    together, _ = engine.solve(batch)
    for k, alone in enumerate(answers):
        one = rows_of(together, k)
        assert one.v_pu == pytest.approx(alone.v_pu, abs=2e-5)
        assert one.grid_forming_kw == pytest.approx(alone.grid_forming_kw, abs=0.1)
    engine.close()
