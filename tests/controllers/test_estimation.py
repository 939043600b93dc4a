"""State estimation: hidden true voltages, no effect on the power flow, and least squares as theory predicts."""

import dataclasses

import numpy as np
import pytest
from common import load_cached, task_of

from dss_marl import ZoneEnv, load_scenario
from dss_marl.controllers import NearestMeter, WeightedLeastSquares, reference
from dss_marl.controllers.estimation.estimators import read_measurements
from dss_marl.controllers.estimation.least_squares import fit
from dss_marl.envs.task import build_task
from dss_marl.experiments.evaluation import run_day

NAME = "ieee123_state_estimation"


@pytest.fixture(scope="module")
def env():
    env = ZoneEnv(task_of(NAME))
    env.reset(seed=0, options={"day": 172})
    return env


def estimators(task):
    return task.device_groups[task.scenario.devices[0]["kind"] != "estimator"]


def shifted(state, nodes, by):
    v = state.solution.v_pu.copy()
    v[nodes] += by
    return state.replace(solution=dataclasses.replace(state.solution, v_pu=v))


# --- the task --------------------------------------------------------------------------------------------------------


def test_agents_see_nothing_of_what_they_estimate(env):
    """Any voltage without a meter may change unseen; one with a meter may not."""
    task, group = env.task, estimators(env.task)
    rows = task.observer.observe(env.now)
    unmetered = np.setdiff1d(np.arange(len(task.feeder.nodes)), group.metered)
    assert np.isin(group.nodes, unmetered).all()
    assert np.array_equal(task.observer.observe(shifted(env.now, unmetered, 0.03)), rows)
    for node in group.metered:
        assert not np.array_equal(task.observer.observe(shifted(env.now, node, 0.03)), rows)


def test_nor_do_the_measured_state_and_the_infos_tell(env):
    """Two seeds of noise on one day: other observations of the same truth, and infos alike."""
    group = estimators(env.task)
    looks = []
    for seed in (1, 2):
        rows, infos = env.reset(seed=seed, options={"day": 30})
        looks.append((np.array(list(rows.values())), env.now.solution.v_pu[group.nodes], infos))
    assert not np.allclose(looks[0][0], looks[1][0])
    assert np.array_equal(looks[0][1], looks[1][1])
    assert looks[0][2] == looks[1][2]


def test_estimates_move_nothing():
    env, rng = ZoneEnv(load_cached(NAME, steps=6)), np.random.default_rng(0)
    ways = []
    for size in (0.0, 1.0):
        env.reset(seed=0, options={"day": 172})
        states = []
        while env.agents:
            env.step(env.task.encoding.encode(size * rng.uniform(-1, 1, env.task.agents.action_layout.size)))
            states.append((env.after.solution.v_pu, env.after.setpoints.tap, env.now.solution.v_pu))
        ways.append(states)
    for still, moved in zip(*ways, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(still, moved, strict=True))


def test_the_reward_is_the_mean_error_over_nodes_and_the_truth_earns_nothing():
    env, rng = ZoneEnv(load_cached(NAME, steps=4)), np.random.default_rng(0)
    group, weight = estimators(env.task), env.task.rewards["estimation_error"][0]
    env.reset(seed=0, options={"day": 172})
    for noise in (0.0, 0.01, 0.03):
        truth = env.now.solution.v_pu[group.nodes]
        told = truth + noise * rng.standard_normal(group.size)
        joint_action = env.task.default_action.copy()
        joint_action[env.task.agents.action_layout.parts[0]] = group.entries(told)
        _, rewards, _, _, infos = env.step(env.task.encoding.encode(joint_action))
        told = (
            group.v_centre_pu + group.span_pu * joint_action[env.task.agents.action_layout.parts[0]]
        )  # what the span lets through
        assert env.team_reward == pytest.approx(-weight * np.mean(np.abs(told - truth)), abs=1e-5)
        assert sum(rewards.values()) == pytest.approx(env.team_reward)
        worst = max(info["cost/estimation_worst"] for info in infos.values())
        assert worst == pytest.approx(np.abs(told - truth).max(), abs=1e-7)
        wrong = ((told < 0.95) != (truth < 0.95)) | ((told > 1.05) != (truth > 1.05))
        assert sum(info["cost/misclassified_nodes"] for info in infos.values()) == wrong.sum()


def test_the_figures_are_the_errors_of_the_day():
    env, rng = ZoneEnv(load_cached(NAME, steps=5)), np.random.default_rng(0)
    group, errors = estimators(env.task), []

    class ReplayController:
        circuit_controls = False

        def reset(self, env):
            pass

        def act(self, env, observations):
            joint_action = rng.uniform(-0.5, 0.5, env.task.agents.action_layout.size)
            errors.append(group.v_centre_pu + group.span_pu * joint_action - env.now.solution.v_pu[group.nodes])
            return env.task.encoding.encode(joint_action)

    figures = run_day(env, ReplayController(), 100)
    assert figures["estimation_error_pu"] == pytest.approx(np.sqrt(np.mean(np.square(errors))))
    assert figures["estimation_worst_pu"] == pytest.approx(np.abs(errors).max())


def test_the_sun_on_rooftops_shines_whatever_agents_do(env):
    task = env.task
    env.reset(seed=0, options={"day": 172})
    units = [j for j, row in enumerate(task.feeder.injections) if row.kind == "inverter"]
    assert len(units) == sum(spec["kind"] == "pv" for spec in task.scenario.devices) > 5
    for _ in range(50):
        env.step({agent: env.action_space(agent).sample() for agent in env.agents})
    sun = task.profiles.day(172).kw[49, units]
    assert (sun > 0).all()
    assert np.array_equal(env.after.setpoints.kw[units], sun)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"meters": ["nowhere"]}, "bus 'nowhere' does not exist"),
        ({"nodes": ["13", "7"]}, "node '13.1' is metered"),
        ({"nodes": ["7", "7"]}, "'v_7.1' is defined twice"),
        ({"meters": []}, "at least 1 item"),
        ({"span_pu": 0}, "greater than 0"),
    ],
)
def test_wrong_estimators_are_explained(changes, message):
    spec = {"kind": "estimator", "meters": ["13", "60"], "nodes": ["7"]} | changes
    with pytest.raises(ValueError, match=message):
        build_task(load_scenario(NAME).replace(devices=[spec]))


# --- least squares ---------------------------------------------------------------------------------------------------


def problem(rng, meters=12, unknowns=30, noise=0.3):
    """Prior, slopes, noise, and a draw of state and measurements from them."""
    root = rng.standard_normal((unknowns, unknowns)) / np.sqrt(unknowns)
    covariance = root @ root.T + 0.1 * np.eye(unknowns)
    slopes, sigma = rng.standard_normal((meters, unknowns)), noise * rng.uniform(0.5, 2, meters)
    x0 = rng.standard_normal(unknowns)
    x = x0 + np.linalg.cholesky(covariance) @ rng.standard_normal(unknowns)
    return x, x0, covariance, slopes, slopes @ x + sigma * rng.standard_normal(meters), sigma


def test_the_fit_solves_the_normal_equations(rng):
    """Both forms are equal by the matrix inversion lemma; the other one is written out here."""
    _, x0, covariance, slopes, z, sigma = problem(rng)
    weight, prior = np.diag(sigma**-2.0), np.linalg.inv(covariance)
    gain = np.linalg.solve(slopes.T @ weight @ slopes + prior, slopes.T @ weight @ (z - slopes @ x0))
    found = fit(x0, covariance, slopes, z, sigma, bad=np.inf)
    assert np.allclose(found.x, x0 + gain)
    off = found.x - x0
    left = z - slopes @ found.x
    assert found.misfit == pytest.approx(off @ prior @ off + left @ weight @ left)


def test_the_misfit_is_chi_square_and_good_data_are_kept():
    rng = np.random.default_rng(3)
    misfits, kept = [], []
    for _ in range(400):
        _, *given = problem(rng)
        found = fit(*given)
        kept.append(found.used.mean())
        misfits.append(fit(*given, bad=np.inf).misfit)
    assert np.mean(misfits) == pytest.approx(12, rel=0.05)  # mean m and variance 2 m
    assert np.var(misfits) == pytest.approx(24, rel=0.25)
    assert np.mean(kept) > 0.999  # 4 standard deviations are exceeded once in 16,000


def test_a_gross_error_is_set_aside_and_nothing_else():
    rng = np.random.default_rng(4)
    for k in range(12):
        _, x0, covariance, slopes, z, sigma = problem(rng)
        z[k] += 30 * np.sqrt((slopes[k] ** 2).sum())
        found = fit(x0, covariance, slopes, z, sigma)
        others = np.arange(12) != k
        assert np.array_equal(found.used, others)
        assert np.allclose(found.x, fit(x0, covariance, slopes[others], z[others], sigma[others]).x)


def test_more_meters_less_error_and_right_weights_matter():
    rng = np.random.default_rng(5)
    errors = np.zeros((200, 4))
    for row in errors:
        x, x0, covariance, slopes, z, sigma = problem(rng, meters=24)
        for k, m in enumerate((6, 12, 24)):
            row[k] = ((fit(x0, covariance, slopes[:m], z[:m], sigma[:m], np.inf).x - x) ** 2).sum()
        row[3] = ((fit(x0, covariance, slopes, z, sigma[::-1] ** 3, np.inf).x - x) ** 2).sum()
    few, some, many, misweighted = errors.mean(axis=0)
    assert few > 1.1 * some > 1.2 * many
    assert misweighted > 1.02 * many


# --- the references --------------------------------------------------------------------------------------------------


def error(controller, **changes):
    """RMS error over two hours around a summer noon [pu]."""
    scenario = load_scenario(NAME).replace(start_hour=11, steps=8, **changes)
    return run_day(ZoneEnv(scenario), controller, 172)["estimation_error_pu"]


def metered(*buses, **spec):
    base = load_scenario(NAME)
    others = [one for one in base.devices if one["kind"] != "estimator"]
    return [{"kind": "estimator", "meters": list(buses), **spec}, *others]


def test_references_stand_in_the_order_of_what_they_know():
    names = ("no_control", "nearest_meter", "local_wls", "wls")
    found = {name: error(reference(name, load_scenario(NAME))) for name in names}
    assert found["no_control"] > 1.5 * found["nearest_meter"] > 3 * found["local_wls"] > 4 * found["wls"]
    assert error(reference("typical_loads", load_scenario(NAME))) > 2 * found["wls"]
    assert found["wls"] > 0.0002, "meters are noisy: who does better knows more than agents may"


def test_meters_without_noise_everywhere_give_the_truth():
    """By the power flow equations, not their linear model."""
    estimated = ["35", "50", "64", "76", "101", "1", "19"]  # one in each zone
    every = sorted({row.bus for row in task_of(NAME).feeder.injections} - set(estimated))
    full, few = (
        error(WeightedLeastSquares(), sensing={}, devices=metered(*buses, nodes=estimated))
        for buses in (every, ["150r", "25", "42", "160r", "87", "105"])
    )
    assert full < 5e-5
    assert full < 0.2 * few


def test_noise_costs_as_it_should():
    """More noise, more error; but many meters average it."""
    quiet, loud = (
        error(WeightedLeastSquares(), sensing={"noise_v_pu": noise, "noise_power": 0.03}) for noise in (0.0005, 0.008)
    )
    assert 1.3 * quiet < loud < 0.5 * 0.008


def test_lost_readings_are_survived():
    lossy = {"noise_v_pu": 0.002, "noise_power": 0.03, "missing": 0.3}
    assert error(WeightedLeastSquares(), sensing=lossy) < 0.3 * error(NearestMeter(), sensing=lossy)


def test_no_tap_is_estimated_beyond_its_end(env):
    """Meters that read a fifth too much ask for taps that no regulator has."""
    observations, _ = env.reset(seed=3, options={"day": 10})
    rule, asked = WeightedLeastSquares(meters="own"), []
    rule.reset(env)
    predict, telemetry = rule._network.predict, read_measurements(env.task, observations)

    def watched(powers, tap):
        asked.append(tap.copy())
        return predict(powers, tap)

    rule._network.predict = watched
    rule._estimates(env, dataclasses.replace(telemetry, v_pu=1.2 * telemetry.v_pu))
    taps = env.task.feeder.taps
    low, high = np.min(asked, axis=0), np.max(asked, axis=0)
    assert all(tap.minimum <= a and b <= tap.maximum for tap, a, b in zip(taps, low, high, strict=True))
    assert any(b == tap.maximum for tap, b in zip(taps, high, strict=True)), "one comes to its end"


def test_the_nearest_meter_is_of_the_same_phase_and_zone(env):
    observations, _ = env.reset(seed=3, options={"day": 10})
    rule = NearestMeter()
    rule.reset(env)
    actions = rule.act(env, observations)
    telemetry = read_measurements(env.task, observations).v_pu
    group, names = estimators(env.task), env.task.feeder.nodes
    joint_action = env.task.encoding.decode(actions).joint_action[env.task.agents.action_layout.parts[0]]
    told = group.v_centre_pu + group.span_pu * joint_action
    home = {node: zone for zone in env.task.zones for node in zone.nodes.tolist()}
    for node, v in zip(group.nodes.tolist(), told, strict=True):
        same = [m for m in home[node].meters if names[m][-1] == names[node][-1]]
        assert np.isclose(telemetry[same], v, atol=1e-6).any()


def test_what_agents_saw_is_read_back_with_its_noise(env):
    observations, _ = env.reset(seed=3, options={"day": 10})
    telemetry = read_measurements(env.task, observations)
    group = estimators(env.task)
    off = telemetry.v_pu[group.metered] - env.now.solution.v_pu[group.metered]
    assert 0.0005 < off.std() < 0.004
    assert np.isnan(np.delete(telemetry.v_pu, group.metered)).all()
    assert np.array_equal(telemetry.tap, env.now.setpoints.tap)
    net = [env.now.solution.served_kw[np.r_[zone.loads, zone.units]].sum() for zone in env.task.zones]
    assert np.allclose(telemetry.zone_kw, net, rtol=0.1, atol=5)


def test_estimating_needs_estimators_and_meters():
    with pytest.raises(ValueError, match="ieee13_volt_var' has none"):
        WeightedLeastSquares().reset(ZoneEnv(task_of("ieee13_volt_var")))
    with pytest.raises(ValueError, match="reads 'meters'"):
        NearestMeter().reset(ZoneEnv(load_scenario(NAME).replace(observations=["time_of_day"])))
    with pytest.raises(ValueError, match="meters must be all, own or none"):
        WeightedLeastSquares(meters="some")
