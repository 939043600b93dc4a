"""Days with stores: plans against exact answers, and the rules that they must beat."""

import numpy as np
import pytest

import dss_marl
from dss_marl.controllers import LoadRationing, PlanReplay, Plans, TimeOfUse, ValleyFilling, reference
from dss_marl.controllers.base import record_requests
from dss_marl.controllers.optimization.sparse_qp import SparseQP
from dss_marl.controllers.planning.bounds import copper_plate
from dss_marl.controllers.planning.energy.commitment import shifted, switched
from dss_marl.controllers.planning.energy.plan import EnergyDay
from dss_marl.controllers.planning.plan_files import digest
from dss_marl.controllers.planning.solve import PLANNERS, play_plan, solve_day
from dss_marl.controllers.rules.time_of_use import timetable
from dss_marl.controllers.rules.valley_filling import _filled
from dss_marl.controllers.search.trial_solves import TrialSolver
from dss_marl.envs.simulator import Simulator
from dss_marl.envs.task import build_task
from dss_marl.experiments import evaluate
from dss_marl.experiments.metrics import EpisodeFigures
from dss_marl.grid.load_priorities import CLASSES

WORKDAY = 2
LEVELS = np.linspace(-1, 1, 7)
BATTERY = {"kind": "battery", "bus": 675, "kw": 200, "kwh": 400, "kva": 200}


def small(devices, **changes):
    """Four hours from 19 to 23 h on the 13-bus feeder: two dear ones, one at the middle price, one cheap one."""
    base = dss_marl.load_scenario("ieee13_volt_var")
    profiles = {"kind": "synthetic", "seed": 3, "tariff": "time_of_use", "mean_price": 0.1}
    changes = {"rewards": {"energy_cost": 1}, "steps": 4, "start_hour": 19, "dt_h": 1.0, **changes}
    scenario = {**base.model_dump(), "devices": devices, "zones": {"method": "balanced", "count": 1}, **changes}
    return dss_marl.Scenario.model_validate({**scenario, "profiles": profiles, "tuned_droop": {}})


def exhaustive(task, day, levels):
    """The best return of all sequences of these requests of a single entry, simulated."""
    trials = TrialSolver(Simulator(task, dss_marl.ZoneEnv(task).engine))

    def best(now):
        if now.step == task.scenario.steps:
            return 0.0
        returns = []
        for value in levels:
            after = trials.operate(now, np.array([value]))
            then = after.replace(step=now.step + 1)
            returns.append(trials.reward_model.team_reward(now, after) + best(then))
        return max(returns)

    return best(trials.simulator.begin(day, task.start))


def idle(scenario, day=WORKDAY):
    return evaluate(reference("no_control", scenario), scenario, [day])[0]["team_return"]


def test_a_programme_finds_the_corner_and_the_middle():
    pytest.importorskip("clarabel")
    program = SparseQP()
    x = program.add_variables(np.zeros(2), np.full(2, 10.0), np.array([-1.0, -4.0]))
    program.add_rows([0, 0], x, [1.0, 1.0], [-np.inf], [5.0])
    program.add_quadratic(x, np.diag([0.5, 2.0]))
    np.testing.assert_allclose(program.solve()[x], [2.0, 2.0], atol=1e-6)
    program.add_cost(x, np.array([-1.0, 0.0]))
    np.testing.assert_allclose(program.solve()[x], [3.2, 1.8], atol=1e-5)  # the row binds: equal slopes
    program.add_rows([0, 0], x, [1.0, -1.0], [0.0], [0.0])
    np.testing.assert_allclose(program.solve()[x], [2.4, 2.4], atol=1e-5)


def test_a_battery_sells_what_it_has_in_the_dear_hours():
    pytest.importorskip("clarabel")
    scenario = small([BATTERY])
    requests, earned = solve_day(build_task(scenario), WORKDAY)
    # 160 kWh above the minimum give 152 kWh to the grid at 0.17 a kWh, and spare a few per cent of losses.
    assert 1.0 < (earned - idle(scenario)) / (152 * 0.17) < 1.1
    assert np.maximum(requests[:2, 0], 0).sum() * 200 >= 151
    assert abs(requests[2:]).max() < 0.01
    assert earned == pytest.approx(exhaustive(build_task(scenario), WORKDAY, LEVELS), abs=0.2)


def test_a_battery_buys_what_is_worth_more_at_the_end():
    pytest.importorskip("clarabel")
    scenario = small([BATTERY], rewards={"energy_cost": 1, "stored_energy": 130, "battery_use": 5})
    task = build_task(scenario)
    requests, earned = solve_day(task, WORKDAY)
    best = exhaustive(task, WORKDAY, LEVELS)
    assert best - 1e-3 <= earned <= best + 0.1 * (best - idle(scenario))  # between the grid's steps, and no more
    assert requests[0, 0] > 0.1 and requests[3, 0] < -0.5


def test_a_store_does_not_burn_energy_where_its_price_is_negative():
    pytest.importorskip("clarabel")
    scenario = small([BATTERY], rewards={"energy_cost": -1, "stored_energy": 1})  # drawing is paid
    task = build_task(scenario)
    _, earned = solve_day(task, WORKDAY)
    best = exhaustive(task, WORKDAY, LEVELS)
    assert earned >= best - 0.01 * abs(best - idle(scenario))


def test_a_demand_charge_is_as_good_as_trying_everything():
    """At a flat price, the highest of four imports decides; the floor is billed in any case."""
    pytest.importorskip("clarabel")
    meter = {"kind": "demand_meter", "floor_kw": 1500}
    rewards = {"energy_cost": 0.01, "peak_increase": 100, "stored_energy": 2}
    scenario = small([BATTERY, meter], rewards=rewards).replace(profiles={"tariff": "flat"})
    task = build_task(scenario)
    requests, earned = solve_day(task, WORKDAY)
    best, nothing = exhaustive(task, WORKDAY, LEVELS), idle(scenario)
    assert best - nothing > 1
    assert best - 0.01 * (best - nothing) <= earned <= best + 0.2 * (best - nothing)  # between the grid's steps
    assert not np.allclose(requests[:, 0], requests[0, 0]), "it discharges where the import is highest"


def test_a_request_is_met_as_well_as_trying_everything():
    pytest.importorskip("clarabel")
    asked = {"kind": "flexibility_request", "kw": 150, "kvar": [-100, 100], "count": 6, "tolerance_kw": 5}
    scenario = small(
        [BATTERY, {**asked, "kvar_weight": 0}], rewards={"energy_cost": 0.01, "unserved_device_energy": 500}
    )
    task = build_task(scenario)
    _, earned = solve_day(task, WORKDAY)
    best, nothing = exhaustive(task, WORKDAY, np.linspace(-1, 1, 9)), idle(scenario)
    assert best - nothing > 5
    assert earned >= best - 0.02 * (best - nothing)


def test_a_start_beyond_the_bounds_of_an_entry_does_not_end_the_search():
    """A rule may ask for less curtailment than none; its plan was kept, as the program around it had no solution."""
    pytest.importorskip("clarabel")
    pv = {"kind": "inverter", "bus": 680, "kw": 500, "curtail": True}
    task = build_task(small([BATTERY, pv], start_hour=10, rewards={"energy_cost": 1, "stored_energy": 130}))
    day = EnergyDay(task, WORKDAY)
    day.plan[:, :] = 0.5
    day.total, day._befores, day._afters = day.play(day.plan)
    assert (day.plan[:, day._stores.places] > day._stores.high).any()
    assert day.improve() > 0
    day.trials.simulator.engine.close()


@pytest.mark.parametrize("mode", ["shift", "shed"])
def test_a_flexible_load_is_as_good_as_trying_everything(mode):
    pytest.importorskip("clarabel")
    device = {"kind": "flexible_load", "names": ["671"], "most": 0.5, "mode": mode, "payback": 1.1}
    task = build_task(small([device], rewards={"energy_cost": 1, "unserved_device_energy": 120, "stored_energy": 80}))
    _, earned = solve_day(task, WORKDAY)
    best = exhaustive(task, WORKDAY, np.linspace(-1, 1, 7))
    assert earned >= best - 1e-3 * abs(best)


def cars(**changes):
    homes = [{"kind": "ev_charger", "bus": bus, "kw": 7.4} for bus in (671, 634, 675)]
    rewards = {"energy_cost": 1, "unserved_device_energy": 1000}
    return small(homes, rewards=rewards, steps=24, start_hour=12, **changes)


def test_cars_are_full_when_they_leave_and_charge_when_it_is_cheap():
    pytest.importorskip("clarabel")
    scenario = cars()
    task = build_task(scenario)
    _, earned = solve_day(task, WORKDAY)
    plans = Plans(digest(scenario))
    plans.add(task, WORKDAY, *solve_day(task, WORKDAY))
    figures = evaluate(PlanReplay(plans), scenario, [WORKDAY])[0]
    assert figures["team_return"] == pytest.approx(earned, abs=1e-6)
    assert figures["unserved_kwh"] < 1e-3
    for name in ("no_control", "valley_filling", "random"):
        assert earned > evaluate(reference(name, scenario), scenario, [WORKDAY])[0]["team_return"]


def lending(v2g_kwh, wear):
    """The same with wear in money and energy at the price that charging adds to the bill."""
    homes = [{"kind": "ev_charger", "bus": bus, "kw": 7.4, "v2g_kwh": v2g_kwh} for bus in (671, 634, 675)]
    rewards = {"excess_cost": 1, "unserved_device_energy": 1000, "battery_use": wear}
    return build_task(small(homes, rewards=rewards, steps=24, start_hour=12))


def test_evs_lend_in_the_dear_hours_take_it_back_in_the_cheap_ones_and_gain_what_the_prices_say():
    """Two come, one of them with time to charge a little more for the peak; losses spared make a tenth more of it."""
    pytest.importorskip("clarabel")
    task, plain = lending(8, 25), lending(0, 25)
    plan, earned = solve_day(task, WORKDAY)
    gain = earned - solve_day(plain, WORKDAY)[1]
    worth = copper_plate.day_return(task, WORKDAY) - copper_plate.day_return(plain, WORKDAY)
    by_hand = 2 * (8 * 0.95 * (0.17 - 0.05) - 8 / 0.95 * 0.06)
    assert by_hand < worth < by_hand + 0.02 and 1 < gain / worth < 1.15
    env = dss_marl.ZoneEnv(task)
    env.reset(options={"day": WORKDAY})
    lent, price, unmet = [], [], 0.0
    for requests in plan:
        env.step(task.encoding.encode(requests))
        after = env.after
        lent.append(np.maximum(after.setpoints.kw[task.device_groups[0].injections], 0).sum())
        price.append(after.price[0])
        unmet += after.unmet_kwh.sum()
    lent, price = np.array(lent), np.array(price)
    assert lent[price < 0.16].sum() < 0.01 * lent.sum() and lent.sum() == pytest.approx(2 * 8 * 0.95, rel=0.15)
    assert unmet < 1e-3


def test_evs_do_not_lend_where_wear_costs_more_than_the_prices_differ():
    pytest.importorskip("clarabel")
    plan, earned = solve_day(lending(8, 100), WORKDAY)
    assert plan.min() > -1e-3
    assert earned == pytest.approx(solve_day(lending(0, 100), WORKDAY)[1], abs=1e-3)


def test_time_of_use_lends_in_the_dearest_hour_and_waits_in_the_dear_ones():
    """8 kWh last for 1.03 h at 7.4 kW, in whole hours 2; dearer than the rest are 17 to 20 h, then the first ones."""
    table = timetable(lending(8, 25))
    assert (table == table[:, :1]).all()
    assert np.flatnonzero(table[:, 0] == -1).tolist() == [17, 18]
    assert np.flatnonzero(table[:, 0] == 0).tolist() == [12, 13, 19, 20]
    assert (np.delete(table[:, 0], [12, 13, 17, 18, 19, 20]) == 1).all()
    with pytest.raises(ValueError, match="EVs that lend"):
        TimeOfUse().reset(dss_marl.ZoneEnv(lending(0, 25)))


def test_the_bound_of_charging_holds_for_the_sessions_that_the_day_brings():
    task = lending(0, 25)
    env = dss_marl.ZoneEnv(task)
    env.reset(options={"day": WORKDAY})
    group, price = task.device_groups[0], task.profiles.day(WORKDAY, 1).price[12:36]
    stays = group.stays(env.now.device_state.reshape(3, -1), 24, 1.0)
    cost = 0.0
    for kwh, stay_h, leaves in zip(stays.kwh, stays.stay_h, stays.leaves, strict=True):
        left = kwh / 0.95 if leaves else 0.0
        for step in np.argsort(price, kind="stable"):
            drawn = min(left, 7.4 * stay_h[step])
            left, cost = left - drawn, cost + drawn * price[step]
    assert copper_plate.day_return(task, WORKDAY) == pytest.approx(-cost)


def test_stays_are_those_that_the_day_brings():
    task = build_task(cars())
    simulator = Simulator(task, dss_marl.ZoneEnv(task).engine)
    group, device_state = task.device_groups[0], simulator.begin(WORKDAY, task.start).device_state.reshape(3, -1)
    stays = group.stays(device_state, 24, 1.0)
    drawn, unmet = np.zeros(3), np.zeros(3)
    for step in range(24):
        setpoints, interval = task.start.copy(), simulator.conditions.interval(step)
        before = device_state
        device_state, _ = group.act(np.ones((3, 1)), device_state, setpoints, interval)
        drawn -= setpoints.kw[group.injections]
        unmet += group.unmet_kwh(before, device_state, interval)
    assert unmet.max() < 1e-9
    assert drawn * group.efficiency == pytest.approx(np.bincount(stays.device, stays.kwh, 3))
    assert (stays.stay_h.sum(1) * group.kw[stays.device] * 0.95 >= stays.kwh - 1e-9).all()


def test_a_valley_is_filled_evenly():
    power = _filled(np.array([5.0, 1.0, 2.0, 9.0]), np.ones(4), 5.0, 10.0)
    np.testing.assert_allclose(power, [0, 3, 2, 0], atol=1e-6)
    np.testing.assert_allclose(_filled(np.zeros(3), np.array([1.0, 1.0, 0.0]), 99.0, 4.0), [4, 4, 0], atol=1e-6)


def test_uncontrolled_cars_are_those_of_no_control():
    """They draw all they can from when they come; filling valleys delivers as much, and lowers the peak."""
    scenario = cars()
    peaks, energy = {}, {}
    for name in ("no_control", "valley_filling"):
        controller, env = reference(name, scenario), dss_marl.ZoneEnv(scenario)
        observations, _ = env.reset(options={"day": WORKDAY})
        controller.reset(env)
        drawn = []
        while env.agents:
            observations, *_ = env.step(controller.act(env, observations))
            own = env.task.device_groups[0].injections
            loads = env.after.setpoints.kw[env.task.feeder.loads]
            drawn.append([-env.after.setpoints.kw[own].sum(), -loads.sum() - env.after.setpoints.kw[own].sum()])
        peaks[name], energy[name] = np.max(drawn, axis=0)[1], np.sum(drawn, axis=0)[0]
    assert energy["valley_filling"] == pytest.approx(energy["no_control"], rel=1e-6)
    assert peaks["valley_filling"] < peaks["no_control"]


def hybrid(**changes):
    """Six hours of an evening with stores, an inverter that may hold back, and taps and a bank that move hourly."""
    devices = [
        {"kind": "inverter", "bus": 675, "kw": 900, "curtail": True},
        {**BATTERY, "kva": 260, "reactive": True},
        {"kind": "regulator", "names": "all", "moves": 2, "act_every": 2},
        {"kind": "capacitor", "names": "all", "act_every": 2},
    ]
    rewards = {
        "energy_cost": 0.1,
        "import_excess": 100,
        "voltage_violation": 100,
        "violating_share": 5,
        "stored_energy": 8,
    }
    rewards |= {"tap_moves": 0.01, "capacitor_moves": 0.05}
    feeder = {"name": "ieee13", "source_pu": 1.03, "import_limit_kw": 1800}
    return small(devices, rewards=rewards, feeder=feeder, steps=12, start_hour=15, dt_h=0.5, **changes)


def test_beside_autonomous_regulators_a_plan_is_at_least_the_timetable_of_prices():
    pytest.importorskip("clarabel")
    scenario = dss_marl.Scenario.model_validate(
        {
            "name": "priced",
            "feeder": {"name": "ieee13", "load_v_pu": [0.8, 1.2]},
            "circuit_controls": True,
            "devices": [{"kind": "battery", "bus": bus, "kw": 400, "kwh": 1600} for bus in (675, 671)],
            "zones": {"method": "balanced", "count": 1},
            "profiles": {"kind": "synthetic", "seed": 13, "load_scale": [0.5, 0.9]},
            "steps": 24,
            "dt_h": 1.0,
            "observations": ["telemetry"],
            "rewards": {"energy_cost": 0.1, "stored_energy": 8, "battery_use": 1},
        }
    )
    planned = solve_day(build_task(scenario), 4)[1]
    assert planned > evaluate(TimeOfUse(), scenario, [4])[0]["team_return"] > idle(scenario, 4)


def test_a_hybrid_day_beats_the_rules_and_replays():
    pytest.importorskip("clarabel")
    scenario = hybrid()
    task = build_task(scenario)
    assert PLANNERS["volt_var"].unsupported_reason(task) and not PLANNERS["energy"].unsupported_reason(task)
    requests, earned = solve_day(task, WORKDAY)
    assert play_plan(task, WORKDAY, requests) == pytest.approx(earned, abs=1e-9)
    for name in ("no_control", "opendss_controls", "time_of_use", "droop", "greedy"):
        assert earned > evaluate(reference(name, scenario), scenario, [WORKDAY])[0]["team_return"]
    action_layout = task.agents.action_layout
    for kind in ("Regulators", "Capacitors"):
        place = next(k for k, group in enumerate(task.device_groups) if type(group).__name__ == kind)
        assert not requests[1::2, action_layout.parts[place]].any(), "they may not move in these steps"


def test_switches_are_held_beside_what_is_planned():
    pytest.importorskip("clarabel")
    switched = [BATTERY, {"kind": "switch", "names": "all"}]
    task = build_task(small(switched))
    requests, earned = solve_day(task, WORKDAY)
    place = next(k for k, group in enumerate(task.device_groups) if type(group).__name__ == "Switches")
    assert not requests[:, task.agents.action_layout.parts[place]].any()
    assert earned == pytest.approx(solve_day(build_task(small([BATTERY])), WORKDAY)[1], abs=1e-6)
    alone = build_task(small(switched[1:]))
    assert "no storage" in PLANNERS["energy"].unsupported_reason(alone)


@pytest.mark.parametrize(("discharge_h", "planned"), [(1.0, True), (1.5, False)])
def test_banks_that_are_discharged_when_they_may_act_again_are_planned(discharge_h, planned):
    """Every other half hour: an hour is over by then."""
    devices = [BATTERY, {"kind": "capacitor", "names": "all", "act_every": 2, "discharge_h": discharge_h}]
    task = build_task(small(devices, steps=8, dt_h=0.5))
    assert bool(PLANNERS["energy"].unsupported_reason(task)) != planned
    if planned:  # a bank that opens in its turn may close in the next
        env, group = dss_marl.ZoneEnv(task), next(g for g in task.device_groups if type(g).__name__ == "Capacitors")
        place = next(k for k, g in enumerate(task.device_groups) if g is group)
        env.reset(options={"day": WORKDAY})
        for entry, closed in ((-1.0, False), (0.0, False), (1.0, True)):
            flat = task.default_action.copy()
            flat[task.agents.action_layout.parts[place]] = entry
            env.step(task.encoding.encode(flat))
            assert (env.after.setpoints.closed[group.switches] == closed).all()
        env.close()


def test_a_plan_holds_where_a_store_may_not_act():
    pytest.importorskip("clarabel")
    scenario = small([{**BATTERY, "act_every": 2}])
    requests, earned = solve_day(build_task(scenario), WORKDAY)
    assert requests[1, 0] == pytest.approx(requests[0, 0], abs=1e-3)
    assert earned > idle(scenario) + 10


def island(tank_l, hours=3, **changes):
    """Hours of an evening on the islanded 13-bus feeder, all batteries following, half full, and so much fuel.

    Twice the load of the scenario, some 1,900 kW, and a diesel of 900 kW that burns a third of a litre per kWh.
    """
    scenario = dss_marl.load_scenario("ieee13_microgrid")
    diesel, *others = scenario.devices
    curve = {"kw": 900, "kva": 1125, "kw_min": 0, "no_load_l_per_kwh": 0, "slope_l_per_kwh": 1 / 3, "start_l": 0}
    devices = [{**diesel, **curve, "tank_l": tank_l, **changes}]
    devices += [{**one, "forming": False} if one["kind"] == "battery" and one.get("forming") else one for one in others]
    profiles = {**scenario.profiles.model_dump(), "load_scale": [0.5, 0.65]}
    return scenario.replace(devices=devices, profiles=profiles, steps=2 * hours, dt_h=0.5, start_hour=18, horizon=2)


def watched(controller, scenario, day=WORKDAY):
    """The return, whether all was alive throughout, energy not served by class, and fuel burned [l]."""
    env = dss_marl.ZoneEnv(scenario, "test")
    observations, _ = env.reset(seed=day, options={"day": day})
    figures, total, alive, burned = EpisodeFigures(env.task), 0.0, True, 0.0
    controller.reset(env)
    while env.agents:
        observations = env.step(controller.act(env, observations))[0]
        figures.add(env.before, env.after, env.team_reward)
        total, alive = total + env.team_reward, alive and bool(env.after.solution.energised.all())
        burned += float(env.after.fuel_l.sum())
    told = figures.result()
    env.close()
    return total, alive, [told[f"unserved_{name}_kwh"] for name in CLASSES], burned


@pytest.mark.parametrize("tank_l", [500.0, 3000.0])
def test_an_island_is_planned_within_its_units_rating_and_fuel(tank_l):
    """3 h of some 1,900 kW from 900 kW and batteries of 1,700 kWh: little fuel ends, else the rating binds."""
    pytest.importorskip("clarabel")
    scenario = island(tank_l)
    task = build_task(scenario)
    requests, earned = solve_day(task, WORKDAY)
    plans = Plans(digest(scenario))
    plans.add(task, WORKDAY, requests, earned)
    total, alive, (critical, important, normal), burned = watched(PlanReplay(plans), scenario)
    assert total == pytest.approx(earned) and alive
    assert critical < 1 and important < 1 < normal, "who matters least goes without"
    assert (burned > 0.99 * tank_l) == (tank_l < 900)
    ruled, alive, unserved, _ = watched(LoadRationing(), scenario)
    assert earned > ruled and alive and unserved[0] < 1
    dark, alive, unserved, _ = watched(reference("no_control", scenario), scenario)
    assert ruled > dark and not alive and unserved[0] > 100


def test_what_a_controller_asks_earns_what_it_earns():
    scenario = island(3000.0, hours=1)
    task = build_task(scenario)
    assert play_plan(task, WORKDAY, record_requests(task, WORKDAY, LoadRationing())) == pytest.approx(
        watched(LoadRationing(), scenario)[0]
    )
    assert record_requests(task, WORKDAY, ValleyFilling()) is None


def with_a_former(**changes):
    """Six hours from midnight of an island whose battery of 3 MWh can hold it; the diesel runs at first."""
    scenario = dss_marl.load_scenario("ieee13_microgrid")
    diesel, *others = scenario.devices
    return scenario.replace(devices=[{**diesel, **changes}, *others], steps=12, dt_h=0.5, start_hour=0, horizon=2)


def test_a_diesel_is_stopped_where_a_battery_holds_the_island():
    """Free fuel at no load and free starts leave it running; with the curve it stops, and the batteries take over."""
    pytest.importorskip("clarabel")
    runs = []
    for curve in ({}, {"no_load_l_per_kwh": 0.0, "kw_min": 0, "start_l": 0}):
        task = build_task(with_a_former(**curve))
        entry = switched(task)[0]
        requests, earned = solve_day(task, WORKDAY)
        on = requests[:, entry] > -1
        runs.append(on.sum())
        always = np.where(np.arange(requests.shape[1]) == entry, 1.0, requests)
        assert play_plan(task, WORKDAY, always) <= earned + 1e-9
    assert 0 < runs[0] < runs[1]


def test_a_schedule_has_neighbours_with_one_start_or_stop_moved():
    on = np.array([True, True, False, False, True])
    found = {"".join("01"[int(x)] for x in other) for other in shifted(on)}
    assert found == {"11101", "10001", "11111", "00001", "11000", "11011"}


@pytest.mark.parametrize("changes", [{"running": False}, {"forming": False}])
def test_units_that_do_not_feed_an_island_by_themselves_are_not_planned(changes):
    assert "do not each form an island" in PLANNERS["energy"].unsupported_reason(build_task(island(3000.0, **changes)))


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (TimeOfUse, "batteries, flexible loads or EVs that lend"),
        (ValleyFilling, "chargers"),
        (LoadRationing, "generators with a tank and flexible loads"),
    ],
)
def test_a_rule_refuses_what_it_does_not_move(rule, text):
    env = dss_marl.make("ieee34_volt_var")
    env.reset(options={"day": 3})
    with pytest.raises(ValueError, match=text):
        rule().reset(env)


def test_a_timetable_charges_cheap_and_sells_dear():
    scenario = small([BATTERY], steps=24, start_hour=0)
    env = dss_marl.ZoneEnv(scenario)
    observations, _ = env.reset(options={"day": WORKDAY})
    rule, charged, sold = TimeOfUse(), [], []
    rule.reset(env)
    while env.agents:
        price = env.now.price[0]
        observations, *_ = env.step(rule.act(env, observations))
        kw = float(env.after.setpoints.kw[env.task.device_groups[0].injections[0]])
        charged += [price] * (kw < 0)
        sold += [price] * (kw > 0)
    assert charged and sold and max(charged) <= 0.1 < max(sold)
