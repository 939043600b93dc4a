"""The proof of a scenario: checks that fail where they should, and committed results that are still true."""

import json
from dataclasses import replace

import numpy as np
import pytest
from common import EVERY, ROOT, load_cached, task_of
from typer.testing import CliRunner

from dss_marl import ZoneEnv
from dss_marl.cli.app import app
from dss_marl.controllers import Greedy, NoControl, RandomControl, ZoneGreedy, is_local, reference
from dss_marl.devices import OpenPoints
from dss_marl.envs.scenario_files import load_scenario
from dss_marl.envs.task import build_task
from dss_marl.experiments.evaluation import available_controllers, environment_for, run_day
from dss_marl.experiments.metrics import FIGURES
from dss_marl.experiments.reports.suite_table import END, START, brief, committed, whole, write_suite
from dss_marl.experiments.validation import failures, prove
from dss_marl.experiments.validation.ablations import (
    ConstantController,
    PartialController,
    ReplayController,
    constants,
    devices_of,
)
from dss_marl.experiments.validation.budget import ValidationBudget, frozen_days
from dss_marl.experiments.validation.episodes import EpisodeCache, EpisodeResult, _Seen
from dss_marl.experiments.validation.physics import physical
from dss_marl.experiments.validation.ranking import partial_observation, strongest_wins
from dss_marl.experiments.validation.result_files import PROOF, load, save, scenario_digest
from dss_marl.experiments.validation.reward_terms import terms_fire
from dss_marl.experiments.validation.stress_splits import stress_changes, without_meaning
from dss_marl.profiles import STRESS_SPLITS

DAYS = tuple(range(10))
QUICKLY_PROVEN = (
    "case33_reconfiguration",
    "case33_volt_var",
    "ieee13_legacy",
    "ieee34_local_pv",
)
SCOPE = ValidationBudget(DAYS, DAYS[:4], slow=True, stress=(6, 12), tries=4, quick=False)


def games_of(returns, terms=None):
    """Games that nobody played: controller to returns, day by day."""
    games = EpisodeCache.__new__(EpisodeCache)
    games.task = task_of("ieee13_volt_var")
    games.kept = {
        name: {
            day: EpisodeResult(
                dict.fromkeys(FIGURES, 0.0) | {"team_return": earned}, (terms or {}).get(name, {}), 0.9, 1.1, 1e-6
            )
            for day, earned in enumerate(row)
        }
        for name, row in returns.items()
    }
    return games


def named(rows, text):
    (row,) = [row for row in rows if text in row.what]
    return row


def noon(**changes):
    """Four noon hours of the 13-bus task, which greedy plays best."""
    base = {"steps": 4, "start_hour": 11, "dt_h": 1.0, "reference_controller": "greedy", "tuned_droop": {}}
    return load_scenario("ieee13_volt_var").replace(**{**base, **changes})


# --- the checks, each on what should fail it


def test_the_strongest_must_gain_by_a_margin_on_both_zeros():
    players = {name: NoControl() for name in ("no_control", "opendss_controls", "best_known")}
    low = np.linspace(-11.0, -9.0, 10)
    returns = {"no_control": low, "opendss_controls": low + 1, "best_known": low + 1.1}
    rows = strongest_wins(games_of(returns), "best_known", players, SCOPE)
    assert named(rows, "gain on no_control").passed
    assert not named(rows, "gain on opendss_controls").passed  # 0.1 of 9 is 1.1 %
    noisy = {**returns, "best_known": low + 1 + np.array([9, -8] * 5)}  # the mean is far above, the days are not
    assert not named(strongest_wins(games_of(noisy), "best_known", players, SCOPE), "gain on opendss_controls").passed


def test_one_day_of_ten_is_too_many_and_a_tie_beats_nobody():
    players = {name: NoControl() for name in ("no_control", "droop", "best_known")}
    best = np.full(10, -10.0)
    better, tie = best.copy(), best.copy()
    better[3], tie[3] = -9.9, -10 + 5e-4
    for row, passed in ((better, False), (tie, True)):
        returns = {"no_control": best - 5, "droop": row, "best_known": best}
        rows = strongest_wins(games_of(returns), "best_known", players, SCOPE)
        assert named(rows, "not beaten by droop").passed is passed
        assert named(rows, "not beaten by any").passed is passed
        assert named(rows, "not beaten by no_control").passed


def test_partial_observation_needs_a_strongest_that_knows_more():
    players = {"no_control": NoControl(), "droop": NoControl(), "best_known": Greedy()}
    returns = {"no_control": np.full(10, -9.0), "droop": np.linspace(-4, -3, 10), "best_known": np.full(10, -2.9)}
    (row,) = partial_observation(games_of(returns), "best_known", players, SCOPE)
    assert row.passed and "droop" in row.what
    returns["droop"] = np.array([-2.5, -3.6] * 5)
    assert not partial_observation(games_of(returns), "best_known", players, SCOPE)[0].passed
    (row,) = partial_observation(games_of(returns), "droop", players, SCOPE)
    assert row.passed is False and "not local" in row.demanded


@pytest.mark.parametrize(("name", "passed"), [("ieee13_volt_var", False), ("ieee123_single_pv", True)])
def test_a_search_that_sees_the_only_zone_sees_everything(name, passed):
    """It falls short of nobody there, and hides nothing from itself."""
    players = {"no_control": NoControl(), "zone_greedy": ZoneGreedy(), "best_known": Greedy()}
    best = np.linspace(-4, -3, 10)
    games = games_of({"no_control": best - 5, "zone_greedy": best, "best_known": best})
    games.task = task_of(name)
    (row,) = partial_observation(games, "best_known", players, SCOPE)
    assert row.passed is passed and ("zone_greedy" in row.what) is not passed


def test_a_term_that_never_fires_or_is_the_same_for_all_fails():
    terms = {
        "no_control": {"reward/loss": -2.0, "cost/never": 0.0, "cost/same": 5.0},
        "best": {"reward/loss": -1.0, "cost/never": 0.0, "cost/same": 5.001},
    }
    rows = terms_fire(games_of({"no_control": np.zeros(10), "best": np.zeros(10)}, terms), list(terms), SCOPE)
    assert [named(rows, name).passed for name in ("loss", "never", "same")] == [True, False, False]


def test_terms_of_a_day_that_failed_tell_nothing():
    """A power flow that fails at once leaves sums of 0, which would look like a term that differs."""
    terms = {name: {"reward/loss": -2.0} for name in ("no_control", "best")} | {"constant": {"reward/loss": 0.0}}
    games = games_of(dict.fromkeys(terms, np.zeros(10)), terms)
    assert named(terms_fire(games, list(terms), SCOPE), "loss").passed
    game = games.kept["constant"][2]
    games.kept["constant"][2] = game._replace(figures={**game.figures, "failed": 1.0})
    assert not named(terms_fire(games, list(terms), SCOPE), "loss").passed


def test_voltages_are_scored_under_controllers_and_told_under_constants():
    games = games_of({"no_control": np.zeros(3), "constant": np.zeros(3)})
    games.kept["constant"][1] = games.kept["constant"][1]._replace(lowest=0.3)
    assert not failures(physical(games, ["no_control"]))
    assert "0.3000" in named(physical(games, ["no_control"]), "constants").measured
    games.kept["no_control"][2] = games.kept["no_control"][2]._replace(highest=1.6, imbalance=1e-3)
    assert [row.what for row in failures(physical(games, ["no_control"]))] == [
        "voltages, reference controllers",
        "energy imbalance",
    ]


def test_a_wrong_loss_is_an_imbalance():
    env = environment_for(NoControl(), load_cached("ieee123_hybrid").scenario, "test")
    env.reset(seed=1, options={"day": 20})
    env.step(env.task.encoding.encode(np.ones(env.task.agents.action_layout.size)))
    for wrong, low, high in ((0.0, 0.0, 2e-5), (5.0, 1e-3, 1.0)):
        seen, solution = _Seen(True, 1), env.after.solution
        fields = {name: getattr(solution, name) for name in solution.__dataclass_fields__}
        fields["loss_kw"] = solution.loss_kw + wrong
        seen.add(env.after.replace(solution=type(solution)(**fields)))
        assert low <= seen.imbalance(env) < high
    env.close()


def test_energy_balances_where_a_regulator_is_fed_from_behind():
    env = ZoneEnv(load_cached("ieee123_restoration_central", faults=("l52",)), "test")
    env.reset(seed=1, options={"day": 4})
    rule, seen = reference("nearest_tie", env.task.scenario), _Seen(True, env.task.scenario.steps)
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
    for day in (4, 49, 4004, 4049, 2004):
        run_day(env, NoControl(), day)
        faulted[day] = env.now.faulted if env.now is not None else env.after.faulted
    assert np.array_equal(faulted[4], faulted[4004]) and np.array_equal(faulted[4], faulted[2004])
    assert np.array_equal(faulted[49], faulted[4049]) and not np.array_equal(faulted[4], faulted[49])
    env.close()


def test_a_stress_split_without_effect_is_found():
    class Same:
        """Every day alike."""

        circuit_controls = False

    games = games_of({})
    alike = EpisodeResult(dict.fromkeys(FIGURES, 1.0), {}, 0.9, 1.1, 1e-6)
    games.played = lambda controller, day, balance=False: alike
    rows = stress_changes(games, {"no_control": Same()}, SCOPE)
    assert [row.passed for row in rows] == [False] * len(STRESS_SPLITS)
    rng = np.random.default_rng(0)  # 5 % of rated losses more, in noise of the same size
    games.kept.clear()
    games.played = lambda controller, day, balance=False: alike._replace(
        figures={**alike.figures, "loss_kwh": rng.normal(100, 1) + 10 * (day > 1000)}
    )
    assert all(row.passed and "losses" in row.measured for row in stress_changes(games, {"no_control": Same()}, SCOPE))


@pytest.mark.parametrize("others_vary", [False, True])
def test_figures_that_never_vary_do_not_widen_the_intervals(others_vary):
    """A task without cars is not judged more strictly because the suite counts what cars go without."""
    games, rng = games_of({}), np.random.default_rng(0)
    count = 40
    steps = {}  # day to its place in its split

    def played(controller, day, balance=False):
        place = steps.setdefault(day, len(steps))
        losses = 100.0 if day < 1000 else 100.0 + 2.5 / np.sqrt(count) + (1 if place % 2 else -1)  # 2.5 sigma more
        figures = {figure: rng.normal() if others_vary else 1.0 for figure in FIGURES} | {"loss_kwh": losses}
        return EpisodeResult(figures, {}, 0.9, 1.1, 1e-6)

    games.played = played
    rows = stress_changes(games, {"no_control": NoControl()}, replace(SCOPE, stress=(count, count)))
    assert [bool(row.passed) for row in rows] == [not others_vary] * len(STRESS_SPLITS)


def test_more_sun_means_nothing_without_panels():
    assert not without_meaning(task_of("ieee13_volt_var"), "more_pv")
    task = task_of("ieee123_switching")
    assert "no photovoltaic" in without_meaning(task, "more_pv") and not without_meaning(task, "cold_evening")


# --- variants


def test_constants_cover_every_kind_of_entry_and_every_position():
    task = task_of("ieee123_hybrid")
    found = constants(task)
    assert not any(np.array_equal(joint_action, task.default_action) for joint_action in found.values())
    action_layout = task.agents.action_layout
    for group, part, (_, width) in zip(task.device_groups, action_layout.parts, action_layout.shapes, strict=True):
        for k in range(width):
            values = {joint_action[part][k] for joint_action in found.values()}
            assert values >= set(np.linspace(-1, 1, min(int(group.n_levels()[0, k]) or 3, 17)))


def test_a_part_moves_its_devices_and_no_others():
    task = task_of("ieee123_hybrid")
    whole = ConstantController(np.full(task.agents.action_layout.size, 0.5))
    device = devices_of(task)[3]
    for without in (False, True):
        env = environment_for(whole, task.scenario, "test")
        part = PartialController(whole, [device], without)
        env.reset(seed=0, options={"day": 20})
        part.reset(env)
        env.step(part.act(env, {}))
        own = task.agents.action_layout.entry_device == 3
        np.testing.assert_allclose(env.after.action[own ^ without], 0.5)
        np.testing.assert_allclose(env.after.action[~(own ^ without)], task.default_action[~(own ^ without)])
        env.close()
    with pytest.raises(ValueError, match="none of"):
        part = PartialController(whole, [("Inverters", "nowhere")])
        part.reset(env)


def test_a_recorded_controller_thinks_once_a_day_and_asks_the_same_again():
    task = task_of("ieee123_hybrid")

    class Thinking(RandomControl):
        """Counts its thoughts."""

        thoughts = 0

        def act(self, env, observations):
            self.thoughts += 1
            return super().act(env, observations)

    whole = Thinking()
    recorded, env = ReplayController(whole), environment_for(whole, task.scenario, "test")
    earned = [run_day(env, controller, 20)["team_return"] for controller in (whole, recorded, recorded)]
    assert earned[0] == earned[1] == earned[2]
    assert whole.thoughts == 2 * task.scenario.steps
    env.close()


# --- zone_greedy and what starts


def test_a_zone_alone_is_greedy_and_zones_together_do_not_see_each_other():
    one = noon(zones={"method": "balanced", "count": 1})
    env = environment_for(Greedy(), one, "test")
    both = [run_day(env, controller, 175)["team_return"] for controller in (Greedy(solves=40), ZoneGreedy(solves=40))]
    assert both[0] == pytest.approx(both[1], abs=1e-6)  # one zone is the team
    env = environment_for(Greedy(), noon(), "test")
    team, zones = (run_day(env, controller, 175)["team_return"] for controller in (Greedy(), ZoneGreedy()))
    assert zones < team
    env.close()


def test_what_is_local_says_so():
    scenario = load_scenario("ieee34_volt_var")
    local = {name: is_local(reference(name, scenario)) for name in ("droop", "tuned_droop", "greedy", "best_known")}
    assert local == {"droop": True, "tuned_droop": True, "greedy": False, "best_known": False}
    assert is_local(ZoneGreedy()) and is_local(RandomControl()) and not is_local(object())


def test_only_what_starts_plays_and_the_rest_says_why(tmp_path):
    found, refused = available_controllers(load_scenario("ieee123_switching"), ["no_control", "droop", "tuned_droop"])
    assert list(found) == ["no_control"]
    assert "needs inverters" in refused["droop"] and "no tuned_droop" in refused["tuned_droop"]


def test_circuit_controls_may_take_all_devices_of_a_zone():
    """The inverter's zone stays, the regulators' has nothing left to move."""
    devices = [{"kind": "inverter", "bus": 675, "kw": 900}, {"kind": "regulator", "names": "all"}]
    scenario = noon(devices=devices, zones={"method": "cut", "kinds": [], "branches": ["632670"]})
    assert run_day(environment_for(reference("droop", scenario), scenario, "test"), NoControl(), 20)["failed"] == 0


# --- the whole


def test_a_scope_plays_frozen_days_and_refuses_one_day():
    task = task_of("ieee34_volt_var")
    days = frozen_days(task)
    assert len(days) >= 10 and set(ValidationBudget.of(task).few) < set(days) == set(ValidationBudget.of(task).days)
    assert len(frozen_days(load_cached("ieee34_volt_var", reference_controller="greedy"))) == 10
    with pytest.raises(ValueError, match="2 or more"):
        ValidationBudget.of(task, most=1)
    with pytest.raises(ValueError, match="no plans"):
        frozen_days(build_task(noon(name="ieee34_never", reference_controller="best_known")))


def test_a_quick_proof_makes_every_check_and_is_saved(tmp_path):
    proof = prove(noon(), quick=True)
    assert {row.check for row in proof.rows} == set("abcdefg")
    assert named(proof.rows, "gain on no_control").passed and named(proof.rows, "devices that move").passed
    assert named(proof.rows, "cost thermal_overload").check == "c" and named(proof.rows, "energy imbalance").passed
    assert list(proof.table.figures)[-1] == "greedy" and proof.table.zero == "opendss_controls"
    save(proof, tmp_path)
    result = load(tmp_path)
    assert result.rows == proof.rows and result.passed == proof.passed
    assert result.said["digest"] == scenario_digest(noon()) != scenario_digest(noon(tuned_droop={"v_ref_pu": 1.0}))
    for name in proof.table.figures:
        for figure in ("team_return", "loss_kwh"):
            np.testing.assert_allclose(result.table().column(name, figure), proof.table.column(name, figure), rtol=1e-4)
    page = whole({"ieee13_volt_var": result})
    assert "The scenario has changed since" in page and "| `greedy` |" in page


def test_a_task_that_needs_no_agents_fails_and_says_so(tmp_path):
    """Regulators that the circuit moves as well by itself, judged by a cost that cannot fire."""
    path = tmp_path / "idle.yaml"
    path.write_text(
        "base: ieee13_volt_var\nsteps: 3\nstart_hour: 11\ndt_h: 1.0\nreference_controller: opendss_controls\n"
        "costs: [voltage_violation_sum, unserved_kwh]\n"
    )
    result = CliRunner().invoke(app, ["validate", str(path), "--quick", "--out", str(tmp_path)], env={"COLUMNS": "200"})
    assert result.exit_code == 1, result.output
    assert "failed (f)" in result.output and "failed (a) gain on opendss_controls" in result.output
    assert "failed (c) cost unserved_kwh" in result.output and "failed: idle" in result.output
    said = json.loads((tmp_path / PROOF).read_text())
    assert said["passed"] is False and said["scenario"] == "idle"


def test_validate_wants_a_scenario_or_all():
    for arguments in (["validate"], ["validate", "ieee13_volt_var", "--all"], ["validate", "--all", "--out", "x"]):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 2 and "Traceback" not in result.output


# --- what is committed

RESULTS = {name: ROOT / "results" / name for name in EVERY if (ROOT / "results" / name / PROOF).is_file()}


@pytest.mark.parametrize("name", RESULTS)
def test_committed_results_are_of_this_scenario_and_can_be_played_again(name):
    result, scenario = load(RESULTS[name]), load_scenario(name)
    assert result.said["digest"] == scenario_digest(scenario), f"stale; run 'dss-marl validate {name}'"
    assert result.passed == (not failures(result.rows))
    assert f"`{name}`" in (ROOT / "docs" / "suite.md").read_text()  # which tells a proof that failed, and by how much
    assert set(result.said["days"]) == set(frozen_days(task_of(name)))
    assert (
        result.said["reference_controller"] == scenario.reference_controller
        and scenario.reference_controller in result.figures
    )
    day = result.said["days"][0]
    for controller in {"no_control", scenario.reference_controller} & {"no_control", "best_known"}:
        own = reference(controller, scenario)
        env = environment_for(own, scenario, "test")
        again = run_day(env, own, day)
        env.close()
        kept = result.table().column(controller, "team_return")[0]
        assert again["team_return"] == pytest.approx(kept, rel=1e-3, abs=1e-3)


def test_the_suites_table_is_that_of_the_results(tmp_path):
    results = committed(ROOT / "results")
    assert set(results) == set(RESULTS)
    readme = (ROOT / "README.md").read_text()
    assert readme.split(START)[1].split(END)[0].strip().startswith(brief(results).strip()), "run 'dss-marl suite'"
    assert (ROOT / "docs" / "suite.md").read_text() == whole(results), "run 'dss-marl suite'"
    with pytest.raises(ValueError, match="not a checkout"):
        write_suite(tmp_path)


def test_the_readme_keeps_what_is_outside_the_markers(tmp_path):
    (tmp_path / "results").mkdir()
    for name, folder in RESULTS.items():
        (tmp_path / "results" / name).mkdir()
        for file in folder.glob("*.json"):
            (tmp_path / "results" / name / file.name).write_text(file.read_text())
    readme = tmp_path / "README.md"
    readme.write_text(f"above\n{START}\nold\n{END}\nbelow\n")
    write_suite(tmp_path)
    text = readme.read_text()
    assert text.startswith(f"above\n{START}\n") and text.endswith(f"{END}\nbelow\n") and "old" not in text
    assert all(f"`{name}`" in text for name in RESULTS)
    readme.write_text("no markers")
    with pytest.raises(ValueError, match="once each"):
        write_suite(tmp_path)


# Seconds each, and of four families; the proofs on all days are in results/.
@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in QUICKLY_PROVEN if name in RESULTS])
def test_a_shipped_scenario_passes_a_quick_proof(name):
    proof = prove(load_scenario(name), quick=True)
    assert not failures(proof.rows)
    assert {row.check for row in proof.rows if row.passed} >= set("abcdfg")


@pytest.mark.parametrize(
    ("name", "label"),
    [("case33_reconfiguration", "open point [index]"), ("ieee123_state_estimation", "estimation error [pu]")],
)
def test_pictures_show_what_the_task_is_about(name, label):
    from dss_marl.experiments.validation.day_figure import panels_of

    env, states = ZoneEnv(task_of(name), "test"), []
    env.reset(seed=1, options={"day": 4})
    for _ in range(3):
        env.step({agent: env.action_space(agent).sample() for agent in env.agents})
        states.append((env.before, env.after))
    shown = panels_of(env.task, states)[label]
    if name == "case33_reconfiguration":
        places = next(group for group in env.task.device_groups if isinstance(group, OpenPoints)).places
        for k, (_, after) in enumerate(states):
            assert not any(after.setpoints.closed[places[int(line[k])]] for line in shown.values())
    else:
        assert (shown["worst"] > 1.5 * shown["mean"]).all() and (shown["mean"] > 0.003).all()
    env.close()


def test_a_picture_of_a_day_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    from dss_marl.experiments.validation.day_figure import picture

    path = picture(noon(), 175, tmp_path / "day.png")
    assert path.read_bytes()[:4] == b"\x89PNG" and path.stat().st_size > 20_000
