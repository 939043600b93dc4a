"""What a user writes plays by its name, ``package.module:name``, wherever the package has a registry."""

import sys

import numpy as np
import pytest
import yaml
from common import in_new_process, task_of
from own_plugins import CountingEngine, HalfSun
from typer.testing import CliRunner

import dss_marl
from dss_marl._plugins import imported, locate_modules
from dss_marl.cli.app import app
from dss_marl.controllers import PlanReplay, Plans, reference, solve_day
from dss_marl.controllers.planning.plan_files import digest
from dss_marl.envs.scenario import scenario_from
from dss_marl.envs.task import build_task
from dss_marl.experiments.evaluation import evaluate

NAME = "ieee13_volt_var"
DAY = 172


@pytest.fixture(scope="module")
def short():
    return dss_marl.load_scenario(NAME).replace(steps=4)


# --- controllers -----------------------------------------------------------------------------------------------------


def test_an_own_controller_plays_a_day(short):
    by_name = evaluate(reference("own_plugins:HalfSun", short), short, [DAY])[0]
    assert by_name == evaluate(HalfSun(), short, [DAY])[0]
    assert by_name["team_return"] != evaluate(reference("no_control", short), short, [DAY])[0]["team_return"]


def test_a_factory_with_a_parameter_gets_the_scenario(short):
    assert reference("own_plugins:of_scenario", short).share == 1 / 4


def test_the_command_line_evaluates_an_own_controller(tmp_path, short):
    path = tmp_path / "short.yaml"
    path.write_text(yaml.safe_dump({"base": NAME, "steps": 4}))
    given = ["evaluate", str(path), "--controllers", "no_control,own_plugins:HalfSun", "--days", "1"]
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 0, result.output
    assert "own_plugins" in result.output


def test_what_is_no_controller_is_refused(short):
    with pytest.raises(ValueError, match="'own_plugins:Idle' has no reset, act"):
        reference("own_plugins:Idle", short)
    with pytest.raises(ValueError, match="'own_plugins:np' is neither a class nor a function"):
        reference("own_plugins:np", short)


# --- planners --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["argument", "scenario"])
def test_an_own_planner_solves_a_day_that_replays(short, where):
    scenario = short if where == "argument" else short.replace(planner="own_plugins:Idle")
    task = build_task(scenario)
    requests, earned = solve_day(task, DAY, planner="own_plugins:Idle" if where == "argument" else "")
    assert np.array_equal(requests, np.tile(task.default_action, (4, 1)))
    plans = Plans(digest(short))  # which planner found a plan does not matter to it
    plans.add(task, DAY, requests, earned)
    played = evaluate(PlanReplay(plans), scenario, [DAY])[0]["team_return"]
    assert played == pytest.approx(earned, rel=1e-9)
    assert played == pytest.approx(evaluate(reference("no_control", short), short, [DAY])[0]["team_return"], rel=1e-9)


def test_an_own_planner_says_what_it_does_not_plan():
    task = task_of("ieee123_volt_var_attack")
    with pytest.raises(ValueError, match=r"no planner: own_plugins:Idle: .*reference_controller: linear"):
        solve_day(task, DAY, planner="own_plugins:Idle")


def test_unknown_planners_name_the_known(short):
    with pytest.raises(
        ValueError,
        match=r"unknown planner 'exact'; did you mean 'exact_dp'\? .*or 'package.module:name'",
    ):
        solve_day(build_task(short), DAY, planner="exact")
    with pytest.raises(ValueError, match="planner 'own_plugins:HalfSun' has no unsupported_reason, plan_day"):
        solve_day(build_task(short), DAY, planner="own_plugins:HalfSun")


# --- engines ---------------------------------------------------------------------------------------------------------


def test_an_own_engine_solves_every_interval(short):
    env, plain = dss_marl.make(short, engine="own_plugins:CountingEngine"), dss_marl.make(short)
    assert isinstance(env.engine, CountingEngine)
    for one in (env, plain):
        one.reset(seed=1)
    assert env.engine.solves == 1
    actions = env.task.encoding.encode(env.task.default_action)
    counted, expected = env.step(actions), plain.step(actions)
    assert env.engine.solves == 3  # the interval as operated, and the coming one
    assert counted[1] == expected[1]
    env.close()
    plain.close()


def test_unknown_engines_name_the_known(short):
    with pytest.raises(ValueError, match=r"unknown engine 'gridlab'; known: opendss, or 'package.module:name'"):
        dss_marl.make(short, engine="gridlab")


# --- profiles --------------------------------------------------------------------------------------------------------

CONSTANT = {"kind": "own_plugins:ConstantDays", "share": 0.5}


def constant(**changes):
    data = dss_marl.load_scenario(NAME).model_dump() | {"steps": 4, "profiles": CONSTANT | changes}
    return scenario_from(data)


def test_an_own_profile_source_makes_the_days():
    scenario = constant()
    env = dss_marl.make(scenario, split="test")
    env.reset(seed=0)
    loads = env.task.feeder.loads
    assert env.now.setpoints.kw[loads] == pytest.approx(0.5 * env.task.feeder.nominal_kw[loads])
    assert set(env.days) <= set(range(60))
    assert not any(env.step(env.task.encoding.encode(env.task.default_action))[2].values())
    env.close()


def test_own_profiles_survive_a_round_trip_as_data():
    scenario = constant()
    assert scenario.model_dump()["profiles"] == CONSTANT | {"days": 60}
    assert dss_marl.Scenario.model_validate(scenario.model_dump(mode="json")) == scenario
    assert scenario.replace(profiles={"share": 0.7}).profiles.share == 0.7


def test_wrong_keys_of_own_profiles_are_named_when_the_scenario_is_read():
    with pytest.raises(ValueError, match=r"profiles\.shar: unknown key; did you mean 'share'\? known: days, kind"):
        constant(shar=1)
    with pytest.raises(ValueError, match=r"profiles\.share: Input should be greater than 0"):
        constant(share=-1)
    with pytest.raises(ValueError, match=r"profiles\.kind: kind of profiles 'own_plugins:Day' is not a subclass of"):
        constant(kind="own_plugins:Day")
    with pytest.raises(ValueError, match=r"profiles\.kind: kind of profiles 'no_such:Days' cannot be imported"):
        constant(kind="no_such:Days")


# --- encodings -------------------------------------------------------------------------------------------------------


def test_an_own_encoding_decodes_and_encodes(short, rng):
    env = dss_marl.make(short, actions="own_plugins:SquaredBox")
    env.reset(seed=0)
    wanted = rng.uniform(-1, 1, env.task.agents.action_layout.size)
    actions = env.task.encoding.encode(wanted)
    assert all(actions[agent] in env.action_space(agent) for agent in env.agents)
    env.step(actions)
    assert env.after.action == pytest.approx(wanted, abs=1e-6)
    env.close()
    central = dss_marl.gym_env(short, actions="own_plugins:SquaredBox")
    central.reset(seed=0)
    assert central.step(central.action_space.sample())[2] is False
    central.close()


def test_what_is_no_encoding_is_refused(short):
    with pytest.raises(ValueError, match=r"unknown encoding 'boxes'; did you mean 'box'\? .*multidiscrete, native, or"):
        short.replace(actions="boxes")
    with pytest.raises(ValueError, match="encoding 'own_plugins:HalfSun' is not a subclass"):
        short.replace(actions="own_plugins:HalfSun")


# --- modules in a scenario's folder ----------------------------------------------------------------------------------

TERMS = '''
from beside_helper import SHARE


def quiet(zone, before, after):
    """Reactive power of the zone's units, negated."""
    return -SHARE * abs(after.setpoints.kvar[zone.units]).sum()
'''


@pytest.fixture
def beside(tmp_path):
    (tmp_path / "beside_terms.py").write_text(TERMS)
    (tmp_path / "beside_helper.py").write_text("SHARE = 0.25\n")
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump({"base": NAME, "steps": 4, "rewards": {"loss": 1.0, "beside_terms:quiet": 2.0}}))
    yield path
    sys.modules.pop("beside_helper", None)


def test_a_module_in_the_scenarios_folder_is_found(beside):
    searched = list(sys.path)
    env = dss_marl.make(beside)
    assert [path for path in sys.path if path not in searched] in ([], sys.path[-1:])  # after all others
    assert "beside_terms" not in sys.modules
    assert set(env.task.rewards) == {"loss", "quiet"}
    env.reset(seed=0)
    _, _, _, _, infos = env.step(env.task.encoding.encode(np.ones(env.task.agents.action_layout.size)))
    assert all(info["reward/quiet"] < 0 for info in infos.values())
    env.close()


def test_two_folders_may_have_modules_of_one_name(tmp_path):
    found = []
    for name in ("one", "other"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "terms.py").write_text(f"NAME = {name!r}\n")
        found.append(imported(locate_modules(["terms:NAME"], folder)[0], "name", ()))
    assert found == ["one", "other"]


def test_a_module_beside_the_scenario_goes_to_other_processes(tmp_path):
    """What is pickled for a worker brings the functions of such modules along, since it cannot import them by name."""
    from dss_marl.integrations.vector import pickled

    (tmp_path / "alone.py").write_text("def term(zone, before, after):\n    return -1.0\n")
    term = imported(f"{tmp_path / 'alone.py'}:term", "reward", ())
    (tmp_path / "made.pkl").write_bytes(pickled(lambda: term))
    call = f"load(open({str(tmp_path / 'made.pkl')!r}, 'rb'))()(0, 0, 0)"
    assert in_new_process(call, "cloudpickle") == "-1.0"


def test_a_module_that_fails_is_not_kept(tmp_path):
    (tmp_path / "broken.py").write_text("import no_such_library\n")
    for _ in range(2):
        with pytest.raises(ValueError, match="imports 'no_such_library', which is neither installed nor beside it"):
            imported(f"{tmp_path / 'broken.py'}:term", "reward", ())
    with pytest.raises(ValueError, match="cannot be imported"):
        imported(f"{tmp_path / 'missing.py'}:term", "reward", ())


def test_the_working_folder_is_searched_last(tmp_path, monkeypatch):
    (tmp_path / "in_the_working_folder.py").write_text("VALUE = 3\n")
    monkeypatch.chdir(tmp_path)
    assert imported("in_the_working_folder:VALUE", "value", ()) == 3
    assert "in_the_working_folder" not in sys.modules


TERM = """
import own_factors


def quiet(zone, before, after):
    import own_offset

    return -own_factors.TIMES * abs(after.setpoints.kvar[..., zone.units]).sum(-1) - own_offset.OFFSET


class Holding:
    circuit_controls = False

    def reset(self, env):
        pass

    def act(self, env, observations):
        return env.task.encoding.encode(env.task.default_action)
"""


@pytest.fixture
def project(tmp_path):
    """A scenario with a package beside it, whose modules import others: at once, when called, and from the package."""
    folder = tmp_path / "project"
    (folder / "terms").mkdir(parents=True)
    (folder / "own_factors.py").write_text("TIMES = 0.001\n")
    (folder / "own_offset.py").write_text("OFFSET = 0.0\n")
    (folder / "terms" / "__init__.py").write_text("")
    (folder / "terms" / "inner.py").write_text("NAME = 'inner'\n")
    (folder / "terms" / "own.py").write_text("from .inner import NAME\n" + TERM)
    data = {"base": NAME, "steps": 4, "rewards": {"voltage_violation": 100, "terms.own:quiet": 0.5}}
    data["training"] = {"n_envs": 2, "evaluations": 1, "evaluation_days": 1}
    (folder / "mine.yaml").write_text(yaml.safe_dump(data))
    return folder


def run(*arguments):
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    return result.exit_code, " ".join(result.output.split())


def test_a_package_beside_the_scenario_trains_in_workers_and_is_found_after_a_move(project, tmp_path, monkeypatch):
    pytest.importorskip("stable_baselines3")
    monkeypatch.chdir(tmp_path)
    trained = ("train", project / "mine.yaml", "--steps", 100, "--num-cpus", 2, "--out", project / "runs" / "a")
    assert run(*trained)[0] == 0
    compared = ("--days", 1, "--controllers", "no_control,terms.own:Holding")
    code, text = run("evaluate", project / "mine.yaml", *compared)
    assert code == 0 and "terms.own:Holding" in text
    moved = project.rename(tmp_path / "moved")
    code, text = run("evaluate", moved / "runs" / "a", "--days", 1, "--controllers", "no_control")
    assert code == 0 and "learned" in text
    (moved / "terms" / "own.py").unlink()
    code, text = run("evaluate", moved / "runs" / "a", "--days", 1)
    assert code == 2 and "put own.py there, or, for a run whose project moved, into the working folder" in text


def test_a_missing_module_says_where_it_was_looked_for(project, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (project / "mine.yaml").write_text(yaml.safe_dump({"base": NAME, "rewards": {"own_factor:quiet": 1}}))
    code, text = run("train", project / "mine.yaml")
    assert code == 2 and "Traceback" not in text
    for part in ("no module 'own_factor'", str(tmp_path), str(project), "did you mean 'own_factors'", "own_factor.py"):
        assert part in text, part


def test_an_error_of_the_scenario_comes_before_training_starts(project, tmp_path):
    (project / "mine.yaml").write_text(
        yaml.safe_dump({"base": NAME, "devices": [{"kind": "no_device:Mine", "bus": 634}]})
    )
    code, text = run("train", project / "mine.yaml", "--out", tmp_path / "run")
    assert code == 2 and "there is no module 'no_device'" in text and not (tmp_path / "run").exists()
