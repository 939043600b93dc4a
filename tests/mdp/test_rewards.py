"""Reward terms and costs: by hand, by zone, all zones together, and many states at once."""

from dataclasses import replace

import numpy as np
import pytest
from common import SCENARIOS, task_of
from states import overloaded, stacked, steps, with_voltages

from dss_marl import ZoneEnv
from dss_marl.devices import OpenPoints, Switches
from dss_marl.mdp.rewards import COSTS, REWARDS
from dss_marl.zones import over_zones

TERMS = {**{f"reward {name}": f for name, f in REWARDS.items()}, **{f"cost {name}": f for name, f in COSTS.items()}}
TERMS = {name: f for name, f in TERMS.items() if not hasattr(f, "needs_market")}  # those: test_market.py
every_term = pytest.mark.parametrize("term", TERMS.values(), ids=TERMS)


def zone_values(term, task, before, after):
    return np.array([term(zone, before, after) for zone in task.zones], float)


# --- every term ------------------------------------------------------------------------------------------------------


@every_term
@pytest.mark.parametrize("name", SCENARIOS)
def test_one_call_for_all_zones_gives_what_each_gives(term, name):
    task = task_of(name)
    for before, after in steps(name):
        single = zone_values(term, task, before, after)
        together = np.broadcast_to(over_zones(term, task.zones, task.all_zones, before, after), single.shape)
        assert together == pytest.approx(single, rel=1e-12, abs=1e-15)


@every_term
@pytest.mark.parametrize("name", SCENARIOS)
def test_many_states_at_once_give_what_each_gives(term, name):
    task, pairs = task_of(name), steps(name)
    before, after = (stacked([pair[k] for pair in pairs]) for k in (0, 1))
    expected = np.array([zone_values(term, task, *pair) for pair in pairs])
    together = over_zones(term, task.zones, task.all_zones, before, after)
    assert np.broadcast_to(together, expected.shape) == pytest.approx(expected, rel=1e-12, abs=1e-15)
    for z, zone in enumerate(task.zones):
        assert np.asarray(term(zone, before, after)) == pytest.approx(expected[:, z], rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("name", SCENARIOS)
def test_rewards_punish_and_costs_count(name):
    """Terms are <= 0, costs >= 0, finite, and each of them is not 0 somewhere."""
    task = task_of(name)
    fired = dict.fromkeys(TERMS, False)
    for label, term in TERMS.items():
        for before, after in steps(name):
            values = zone_values(term, task, before, after)
            assert np.isfinite(values).all()
            if label not in (
                "reward energy_cost",
                "reward excess_cost",
                "reward stored_energy",
            ):  # export, saving and charging earn
                assert (values <= 0).all() if label.startswith("reward") else (values >= 0).all()
            fired[label] |= bool((values != 0).any())
    kinds = {spec["kind"] for spec in task.scenario.devices}
    needs = {
        "peak_increase": "demand_meter" in kinds,
        "crew_cost": "crew" in kinds,
        "capacitor_moves": any(row.kind == "capacitor" for row in task.feeder.switches),
        "switch_moves": bool(kinds & {"switch", "open_point"}),
        "tap_moves": "regulator" in kinds or task.scenario.circuit_controls,
        "curtailment": any(spec.get("curtail") for spec in task.scenario.devices),
        "curtailed_kwh": any(spec.get("curtail") for spec in task.scenario.devices),
        "reactive_power": "inverter" in kinds,
        "converter_loss": "inverter" in kinds or any(spec.get("reactive") for spec in task.scenario.devices),
        "unserved": bool(kinds & {"switch", "ev_charger", "flexible_load"}),
        "unserved_kwh": bool(kinds & {"switch", "ev_charger", "flexible_load"}),
        "unserved_device_energy": bool(kinds & {"ev_charger", "flexible_load"}),
        "stored_energy": bool(kinds & {"battery", "stepped_battery", "flexible_load"}),
        "fairness": len(task.remembered_pv) > 0,  # test_pv_sharing.py
        "import_excess": False,  # needs a limit and a heavy day; by hand below
        "fuel": "generator" in kinds,
        "battery_use": bool(kinds & {"battery", "stepped_battery"})
        or any(spec.get("v2g_kwh") for spec in task.scenario.devices),
        "generation": bool(kinds & {"battery", "stepped_battery", "generator", "feeder_tie"}),
        "discharge": bool(kinds & {"battery", "stepped_battery"}),
        **dict.fromkeys(("estimation_error", "estimation_worst", "misclassified_nodes"), "estimator" in kinds),
    }
    silent = {label for label, did in fired.items() if not did}
    assert {label for label in silent if needs.get(label.split()[1], True)} == set()


# --- by hand ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCENARIOS)
def test_voltage_terms_by_hand(name):
    """One node at 0.93, one at 1.06, one at the very limit, the rest at 1 pu."""
    task = task_of(name)
    before, after = steps(name)[0]
    zone = task.zones[-1]
    low, high, limit = zone.scored_nodes[:3]
    v = np.ones(len(task.feeder.nodes))
    v[[low, high, limit]] = 0.93, 1.06, 1.05
    seen = with_voltages(after, v)
    count = sum(len(z.scored_nodes) for z in task.zones)
    for term, expected in (
        (REWARDS["voltage_violation"], -0.03 / count),
        (REWARDS["violating_share"], -2 / count),
        (REWARDS["voltage_deviation"], -(0.07**2 + 0.06**2 + 0.05**2) / count),
        (COSTS["voltage_violation_sum"], 0.03),
    ):
        values = zone_values(term, task, before, seen)
        assert values[-1] == pytest.approx(expected, rel=1e-9)
        assert (values[:-1] == 0).all()


@pytest.mark.parametrize("name", ["ieee13_volt_var", "ieee34_volt_var"])
def test_of_each_bus_the_worst_phase_counts_once_above_and_once_below(name):
    """Two phases of a bus at 1.06 and 1.08 count 0.03, a phase at 0.9 beside them 0.05 more."""
    task = task_of(name)
    before, after = steps(name)[0]
    zone = task.zones[-1]
    bus = np.asarray(task.feeder.node_bus)
    whole = next(b for b in bus[zone.scored_nodes] if (bus == b).sum() == 3)
    other = next(n for n in zone.scored_nodes if bus[n] != whole)
    v = np.ones(len(task.feeder.nodes))
    v[np.flatnonzero(bus == whole)] = 1.06, 1.08, 0.9
    v[other] = 0.93
    values = zone_values(REWARDS["bus_violation"], task, before, with_voltages(after, v))
    assert values[-1] == pytest.approx(-(0.03 + 0.05 + 0.02), rel=1e-9)
    assert (values[:-1] == 0).all()


def test_losses_over_the_source_are_cut_to_0_to_1():
    task = task_of("ieee13_legacy")
    before, after = steps("ieee13_legacy")[0]
    for lost, given, expected in ((50.0, 1000.0, 0.05), (50.0, 40.0, 1.0), (50.0, -10.0, 0.0), (50.0, 0.0, 0.0)):
        flow = replace(after.solution, loss_kw=np.float64(lost), source_kw=np.float64(given))
        values = zone_values(REWARDS["loss_ratio"], task, before, after.replace(solution=flow))
        assert values.sum() == pytest.approx(-expected)


def test_discharge_counts_each_battery_by_its_rating():
    """Of 200 kW, 50 kW to the grid are a quarter, and 50 kW from it nothing."""
    task = task_of("ieee13_legacy")
    before, after = steps("ieee13_legacy")[0]
    battery = next(j for j, row in enumerate(task.feeder.injections) if row.kind == "battery")
    for kw, expected in ((50.0, 0.25), (-50.0, 0.0)):
        points = after.setpoints.copy()
        points.kw[battery] = kw
        assert zone_values(REWARDS["discharge"], task, before, after.replace(setpoints=points)).sum() == -expected


@pytest.mark.parametrize("name", SCENARIOS)
def test_dead_nodes_are_not_in_violation(name):
    """A voltage of 0 where the node is de-energised is no low voltage; where it is energised it is."""
    task = task_of(name)
    before, after = steps(name)[0]
    node = task.zones[0].scored_nodes[0]
    v = np.ones(len(task.feeder.nodes))
    v[node] = 0.0
    alive = np.ones(len(v), bool)
    alive[node] = False
    for term in ("voltage_violation", "violating_share", "voltage_deviation"):
        assert (zone_values(REWARDS[term], task, before, with_voltages(after, v, alive)) == 0).all()
        assert zone_values(REWARDS[term], task, before, with_voltages(after, v))[0] < 0
    assert (zone_values(COSTS["voltage_violation_sum"], task, before, with_voltages(after, v, alive)) == 0).all()


@pytest.mark.parametrize("name", SCENARIOS)
def test_nobody_is_punished_for_the_source(name):
    task = task_of(name)
    before, after = steps(name)[0]
    at_source = [n.rsplit(".", 1)[0] == task.feeder.source_bus for n in task.feeder.nodes]
    v = np.where(at_source, 1.2, 1.0)
    for term in (
        REWARDS["voltage_violation"],
        REWARDS["violating_share"],
        REWARDS["voltage_deviation"],
        COSTS["voltage_violation_sum"],
    ):
        assert (zone_values(term, task, before, with_voltages(after, v)) == 0).all()


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_teams_sums(name):
    """Over the zones: mean excursion of scored nodes, losses [MW], moves of taps and capacitors, curtailed PV [MWh]."""
    task = task_of(name)
    scored = np.concatenate([zone.scored_nodes for zone in task.zones])
    units = np.concatenate([zone.pv_units for zone in task.zones])
    for before, after in steps(name):
        v, alive = after.solution.v_pu[scored], after.solution.energised[scored]
        outside = np.maximum(np.maximum(v - 1.05, 0.95 - v), 0) * alive
        moves = np.abs(after.setpoints.tap - before.setpoints.tap).sum()
        banks = [s for s, row in enumerate(task.feeder.switches) if row.kind == "capacitor"]
        movers = [group.switches for group in task.device_groups if isinstance(group, Switches | OpenPoints)]
        lines = sorted({int(s) for rows in movers for s in rows.ravel()})
        moved = after.setpoints.closed != before.setpoints.closed
        switchings, openings = moved[banks].sum(), moved[lines].sum()
        converters = after.setpoints.lost_kw
        alive_rows = (after.solution.served_kw != 0) | (after.setpoints.kw == 0)
        lost = (after.forecast[0, units] - after.setpoints.kw[units] - converters[units]).sum()
        for label, expected in (
            ("reward voltage_violation", -outside.sum() / len(scored)),
            ("reward violating_share", -(outside > 0).sum() / len(scored)),
            ("reward loss", -after.solution.loss_kw / 1000),
            ("reward tap_moves", -moves),
            ("reward capacitor_moves", -switchings),
            ("reward converter_loss", -converters[alive_rows].sum() / 1000),
            ("reward curtailment", -lost * after.dt_h / 1000),
            ("cost voltage_violation_sum", outside.sum()),
            ("reward switch_moves", -openings),
            ("reward energy_cost", -after.solution.source_kw * after.price[0] * after.dt_h),
            (
                "reward excess_cost",
                -(after.solution.source_kw + after.forecast[0].sum()) * after.price[0] * after.dt_h,
            ),
            ("cost operations", moves + switchings + openings),
            ("cost curtailed_kwh", lost * after.dt_h),
        ):
            assert zone_values(TERMS[label], task, before, after).sum() == pytest.approx(
                expected, rel=1e-9, abs=1e-12
            ), label


def test_dark_loads_and_owed_energy_by_hand():
    """What dead loads would draw, and what devices owe, in the zone where they are."""
    task = task_of("ieee34_volt_var")
    before, after = steps("ieee34_volt_var")[0]
    zone = task.zones[2]
    dark = zone.loads[:3]
    served = after.solution.served_kw.copy()
    served[dark] = 0.0
    alive = after.solution.energised.copy()
    alive[[n for j in dark for n in task.feeder.injections[j].nodes]] = False
    owed = np.arange(1.0, 1.0 + sum(group.size for group in task.device_groups))
    state = after.replace(solution=replace(after.solution, served_kw=served, energised=alive), unmet_kwh=owed)
    lost = -after.setpoints.kw[dark].sum() * after.dt_h
    assert lost > 0
    unmet = zone_values(REWARDS["unserved_device_energy"], task, before, state)
    assert -1000 * unmet == pytest.approx([owed[z.devices].sum() for z in task.zones])
    assert -1000 * unmet.sum() == pytest.approx(owed.sum())
    kwh = zone_values(COSTS["unserved_kwh"], task, before, state)
    assert kwh == pytest.approx([owed[z.devices].sum() + (lost if z is zone else 0.0) for z in task.zones])
    assert zone_values(REWARDS["unserved"], task, before, state) == pytest.approx(-kwh / 1000)


def test_wear_is_of_units_that_the_sun_does_not_feed():
    task = task_of("ieee34_volt_var")
    before, after = steps("ieee34_volt_var")[0]
    assert (zone_values(REWARDS["battery_use"], task, before, after) == 0).all()
    zone = task.zones[1]
    blind = zone.with_rows(unworn_units=zone.rows["unworn_units"].take([]))
    points = after.setpoints.copy()
    points.kw[zone.units], points.converter_kw = -40.0, None
    state = after.replace(setpoints=points)
    assert REWARDS["battery_use"](blind, before, state) == pytest.approx(-40 * len(zone.units) * 0.25 / 1000)


def test_fuel_is_burnt_by_units_that_follow_and_by_those_that_form_an_island():
    task = task_of("ieee123_restoration")
    env = ZoneEnv(task)
    env.reset(seed=0, options={"day": 20, "faults": ["l52"]})
    flat = task.default_action.copy()
    entries = dict(
        zip(
            (type(group).__name__ for group in task.device_groups),
            task.agents.action_layout.by_group(flat),
            strict=True,
        )
    )
    groups = {type(group).__name__: group for group in task.device_groups}
    entries["Switches"][groups["Switches"].names.index("l45"), 0] = -1.0  # 47 to 51 by themselves, ...
    entries["LoadShedders"][groups["LoadShedders"].names.index("section_47"), 0] = 1.0  # ... critical loads alone
    for unit in ("generator_48", "generator_78", "generator_35"):  # in the island, in the dark, and where the grid is
        entries["Generators"][groups["Generators"].names.index(unit)] = 0.5, 0.0
    env.step(task.encoding.encode(flat))
    given = env.after.solution.served_kw[groups["Generators"].injections]
    assert np.flatnonzero(given > 20).tolist() == [0, 1]
    assert zone_values(REWARDS["generation"], task, env.before, env.after).sum() == pytest.approx(
        -given.sum() * env.after.dt_h / 1000
    )
    env.close()


def test_a_tap_move_is_counted_in_the_zone_of_its_bus():
    task = task_of("ieee34_volt_var")
    before, _ = steps("ieee34_volt_var")[0]
    for r, tap in enumerate(task.feeder.taps):
        moved = before.setpoints.copy()
        moved.tap[r] -= 3
        after = before.replace(setpoints=moved)
        expected = [-3.0 if tap.bus2 in zone.buses else 0.0 for zone in task.zones]
        assert zone_values(REWARDS["tap_moves"], task, before, after).tolist() == expected
        assert zone_values(COSTS["operations"], task, before, after).tolist() == [-x for x in expected]
        assert sum(expected) == -3


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_thermal_cost_is_the_worst_overload(name):
    task = task_of(name)
    before, after = steps(name)[0]
    hot = after.replace(solution=overloaded(after.solution, 0.25))
    assert zone_values(COSTS["thermal_overload"], task, before, hot) == pytest.approx([0.25] * len(task.zones))
    cool = after.replace(solution=overloaded(after.solution, -0.1))
    assert (zone_values(COSTS["thermal_overload"], task, before, cool) == 0).all()


@pytest.mark.parametrize("name", SCENARIOS)
def test_terms_only_read(name):
    task = task_of(name)
    before, after = steps(name)[-1]
    kept = [state.setpoints.copy() for state in (before, after)], after.solution.v_pu.copy()
    for term in TERMS.values():
        zone_values(term, task, before, after)
        over_zones(term, task.zones, task.all_zones, before, after)
    for state, points in zip((before, after), kept[0], strict=True):
        assert np.array_equal(state.setpoints.kw, points.kw)
        assert np.array_equal(state.setpoints.tap, points.tap)
    assert np.array_equal(after.solution.v_pu, kept[1])


@pytest.mark.parametrize(
    ("true", "told", "wrong"),
    [(0.95, 0.949, 1), (0.949, 0.95, 1), (0.95, 0.951, 0), (0.951, 0.95, 0), (1.05, 1.051, 1), (1.051, 1.05, 1),
     (1.05, 1.049, 0), (1.049, 1.05, 0), (0.94, 1.06, 1), (1.06, 0.94, 1), (0.94, 0.93, 0), (0.95, 1.05, 0)],
)  # fmt: skip
def test_a_node_at_the_limit_is_within_the_band(true, told, wrong):
    """0.95 and 1.05 pu themselves are no violation, and telling them is not either."""
    task = task_of("ieee123_state_estimation")
    env = ZoneEnv(task)
    env.reset(seed=0, options={"day": 20})
    env.step(task.encoding.encode(task.default_action))
    everywhere = np.full(len(task.feeder.nodes), 1.0)
    everywhere[task.all_zones.estimated] = true
    before = with_voltages(env.before, everywhere)
    state = env.after.device_state.copy()
    state[task.all_zones.estimates] = told
    count = sum(len(zone.estimated) for zone in task.zones)
    found = zone_values(COSTS["misclassified_nodes"], task, before, env.after.replace(device_state=state))
    assert found.sum() == wrong * count > -1
    env.close()
