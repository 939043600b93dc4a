"""The checks of a proof, each on what should fail it."""

from dataclasses import replace

import numpy as np
import pytest
from common import load_cached, task_of
from validation_cases import SCOPE, named, results_of

from dss_marl import ZoneEnv
from dss_marl.controllers import Greedy, NoControl, ZoneGreedy, reference
from dss_marl.experiments.evaluation import environment_for
from dss_marl.experiments.metrics import FIGURES
from dss_marl.experiments.validation import failures
from dss_marl.experiments.validation.episodes import EpisodeResult, _VoltageRange
from dss_marl.experiments.validation.physics import physical
from dss_marl.experiments.validation.ranking import partial_observation, reference_wins
from dss_marl.experiments.validation.reward_terms import active_terms
from dss_marl.experiments.validation.stress_splits import stress_changes, without_meaning
from dss_marl.profiles import STRESS_SPLITS
from dss_marl.profiles.splits import seed_of


def test_the_strongest_must_gain_by_a_margin_on_both_zeros():
    controllers = {name: NoControl() for name in ("no_control", "opendss_controls", "best_known")}
    low = np.linspace(-11.0, -9.0, 10)
    returns = {"no_control": low, "opendss_controls": low + 1, "best_known": low + 1.1}
    rows = reference_wins(results_of(returns), "best_known", controllers, SCOPE)
    assert named(rows, "gain on no_control").passed
    assert not named(rows, "gain on opendss_controls").passed  # 0.1 of 9 is 1.1 %
    noisy = {**returns, "best_known": low + 1 + np.array([9, -8] * 5)}  # the mean is far above, the days are not
    assert not named(
        reference_wins(results_of(noisy), "best_known", controllers, SCOPE), "gain on opendss_controls"
    ).passed


def test_one_day_of_ten_is_too_many_and_a_tie_beats_nobody():
    controllers = {name: NoControl() for name in ("no_control", "droop", "best_known")}
    best = np.full(10, -10.0)
    better, tie = best.copy(), best.copy()
    better[3], tie[3] = -9.9, -10 + 5e-4
    for row, passed in ((better, False), (tie, True)):
        returns = {"no_control": best - 5, "droop": row, "best_known": best}
        rows = reference_wins(results_of(returns), "best_known", controllers, SCOPE)
        assert named(rows, "not beaten by droop").passed is passed
        assert named(rows, "not beaten by any").passed is passed
        assert named(rows, "not beaten by no_control").passed


def test_partial_observation_needs_a_strongest_that_knows_more():
    controllers = {"no_control": NoControl(), "droop": NoControl(), "best_known": Greedy()}
    returns = {"no_control": np.full(10, -9.0), "droop": np.linspace(-4, -3, 10), "best_known": np.full(10, -2.9)}
    (row,) = partial_observation(results_of(returns), "best_known", controllers, SCOPE)
    assert row.passed and "droop" in row.what
    returns["droop"] = np.array([-2.5, -3.6] * 5)
    assert not partial_observation(results_of(returns), "best_known", controllers, SCOPE)[0].passed
    (row,) = partial_observation(results_of(returns), "droop", controllers, SCOPE)
    assert row.passed is False and "not local" in row.demanded


@pytest.mark.parametrize(("name", "passed"), [("ieee13_volt_var", False), ("ieee123_single_pv", True)])
def test_a_search_that_sees_the_only_zone_sees_everything(name, passed):
    """It falls short of nobody there, and hides nothing from itself."""
    controllers = {"no_control": NoControl(), "zone_greedy": ZoneGreedy(), "best_known": Greedy()}
    best = np.linspace(-4, -3, 10)
    episodes = results_of({"no_control": best - 5, "zone_greedy": best, "best_known": best})
    episodes.task = task_of(name)
    (row,) = partial_observation(episodes, "best_known", controllers, SCOPE)
    assert row.passed is passed and ("zone_greedy" in row.what) is not passed


def test_a_term_that_never_fires_or_is_the_same_for_all_fails():
    terms = {
        "no_control": {"reward/loss": -2.0, "cost/never": 0.0, "cost/same": 5.0},
        "best": {"reward/loss": -1.0, "cost/never": 0.0, "cost/same": 5.001},
    }
    rows = active_terms(results_of({"no_control": np.zeros(10), "best": np.zeros(10)}, terms), list(terms), SCOPE)
    assert [named(rows, name).passed for name in ("loss", "never", "same")] == [True, False, False]


def test_terms_of_a_day_that_failed_tell_nothing():
    """A power flow that fails at once leaves sums of 0, which would look like a term that differs."""
    terms = {name: {"reward/loss": -2.0} for name in ("no_control", "best")} | {"constant": {"reward/loss": 0.0}}
    episodes = results_of(dict.fromkeys(terms, np.zeros(10)), terms)
    assert named(active_terms(episodes, list(terms), SCOPE), "loss").passed
    result = episodes.results["constant"][2]
    episodes.results["constant"][2] = result._replace(figures={**result.figures, "failed": 1.0})
    assert not named(active_terms(episodes, list(terms), SCOPE), "loss").passed


def test_voltages_are_scored_under_controllers_and_told_under_constants():
    episodes = results_of({"no_control": np.zeros(3), "constant": np.zeros(3)})
    episodes.results["constant"][1] = episodes.results["constant"][1]._replace(lowest=0.3)
    assert not failures(physical(episodes, ["no_control"]))
    assert "0.3000" in named(physical(episodes, ["no_control"]), "constants").measured
    episodes.results["no_control"][2] = episodes.results["no_control"][2]._replace(highest=1.6, imbalance=1e-3)
    assert [row.what for row in failures(physical(episodes, ["no_control"]))] == [
        "voltages, reference controllers",
        "energy imbalance",
    ]


def test_a_wrong_loss_is_an_imbalance():
    env = environment_for(NoControl(), load_cached("ieee123_hybrid").scenario, "test")
    env.reset(seed=1, options={"day": 20})
    env.step(env.task.encoding.encode(np.ones(env.task.agents.action_layout.size)))
    for wrong, low, high in ((0.0, 0.0, 2e-5), (5.0, 1e-3, 1.0)):
        seen, solution = _VoltageRange(True, 1), env.after.solution
        fields = {name: getattr(solution, name) for name in solution.__dataclass_fields__}
        fields["loss_kw"] = solution.loss_kw + wrong
        seen.add(env.after.replace(solution=type(solution)(**fields)))
        assert low <= seen.imbalance(env) < high
    env.close()


def test_energy_balances_where_a_regulator_is_fed_from_behind():
    env = ZoneEnv(load_cached("ieee123_restoration_central", faults=("l52",)), "test")
    env.reset(seed=1, options={"day": 4})
    rule, seen = reference("nearest_tie", env.task.scenario), _VoltageRange(True, env.task.scenario.steps)
    rule.reset(env)
    for _ in range(2):
        env.step(rule.act(env, {}))
        seen.add(env.after)
    assert not np.array_equal(env.after.solution.tap, env.after.setpoints.tap)
    assert seen.imbalance(env) < 2e-5
    env.close()


def test_a_stress_day_has_the_accidents_of_its_namesake():
    """Two controllers, or two climates, are compared under the same fault."""
    env = ZoneEnv(load_cached("ieee123_restoration"), "test")
    faulted = {}
    for day in (4, 94, 4004, 4094, 2004):
        env.reset(seed=seed_of(day), options={"day": day})
        faulted[day] = env.now.faulted  # before the repair
        assert faulted[day].any()
    assert np.array_equal(faulted[4], faulted[4004]) and np.array_equal(faulted[4], faulted[2004])
    assert np.array_equal(faulted[94], faulted[4094]) and not np.array_equal(faulted[4], faulted[94])
    env.close()


def test_a_stress_split_without_effect_is_found():
    class Same:
        """Every day alike."""

        circuit_controls = False

    episodes = results_of({})
    alike = EpisodeResult(dict.fromkeys(FIGURES, 1.0), {}, 0.9, 1.1, 1e-6)
    episodes.simulate = lambda controller, day, balance=False: alike
    rows = stress_changes(episodes, {"no_control": Same()}, SCOPE)
    assert [row.passed for row in rows] == [False] * len(STRESS_SPLITS)
    rng = np.random.default_rng(0)  # 5 % of rated losses more, in noise of the same size
    episodes.results.clear()
    episodes.simulate = lambda controller, day, balance=False: alike._replace(
        figures={**alike.figures, "loss_kwh": rng.normal(100, 1) + 10 * (day > 1000)}
    )
    assert all(
        row.passed and "losses" in row.measured for row in stress_changes(episodes, {"no_control": Same()}, SCOPE)
    )


@pytest.mark.parametrize("others_vary", [False, True])
def test_figures_that_never_vary_do_not_widen_the_intervals(others_vary):
    """A task without cars is not checked more strictly because the suite counts undelivered energy of cars."""
    episodes, rng = results_of({}), np.random.default_rng(0)
    count = 40
    steps = {}  # day to its place in its split

    def simulate(controller, day, balance=False):
        place = steps.setdefault(day, len(steps))
        losses = 100.0 if day < 1000 else 100.0 + 2.5 / np.sqrt(count) + (1 if place % 2 else -1)  # 2.5 sigma more
        figures = {figure: rng.normal() if others_vary else 1.0 for figure in FIGURES} | {"loss_kwh": losses}
        return EpisodeResult(figures, {}, 0.9, 1.1, 1e-6)

    episodes.simulate = simulate
    rows = stress_changes(episodes, {"no_control": NoControl()}, replace(SCOPE, stress=(count, count)))
    assert [bool(row.passed) for row in rows] == [not others_vary] * len(STRESS_SPLITS)


def test_more_sun_means_nothing_without_panels():
    assert not without_meaning(task_of("ieee13_volt_var"), "more_pv")
    task = task_of("ieee123_switching")
    assert "no photovoltaic" in without_meaning(task, "more_pv") and not without_meaning(task, "cold_evening")
