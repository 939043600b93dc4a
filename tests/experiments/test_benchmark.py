"""The benchmark: its command, its file, its baseline, and PowerGym beside it."""

import json
import subprocess
import sys

import pytest
from common import ROOT
from typer.testing import CliRunner

from dss_marl import load_scenario
from dss_marl.cli.app import app
from dss_marl.experiments.benchmark import PARTS, SCENARIOS, Benchmark, Ratios, benchmark, moved, read_ratios
from dss_marl.experiments.benchmark.figures import RATIO_NAMES, Measured
from dss_marl.experiments.benchmark.memory import memory_of
from dss_marl.experiments.benchmark.part_times import PartTimes
from dss_marl.experiments.benchmark.subjects import Batch, OneCopy

SHORT = ("--days", "1", "--steps", "4", "--no-memory")


def output(*arguments):
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"})
    return result.exit_code, result.output


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """One run of the command: its output, and the files it wrote."""
    folder = tmp_path_factory.mktemp("bench")
    out, plot = folder / "b.json", folder / "b.png"
    code, text = output("bench", "ieee13_volt_var", "--batch", "2", *SHORT, "--out", str(out), "--plot", str(plot))
    assert code == 0, text
    return text, out, plot


def measured(**changes):
    ratios = dict.fromkeys(RATIO_NAMES, 2.0)
    rest = {"scenario": "a", "copies": 1, "days": 1, "steps": 1, "solves_per_step": 2, "floor_us": 1, "step_us": 2,
            "steps_per_s": 1, "parts": {}, "memory_mb": None}  # fmt: skip
    return Measured(**{**rest, **ratios, **changes})


# --- the command ------------------------------------------------------------------------------------------------------


def test_tables_fit_80_columns_and_name_scenario_copies_and_parts(ran):
    text, _, plot = ran
    table = [line for line in text.splitlines() if not line.startswith("saved")]
    assert max(map(len, table)) <= 84  # sentences in a file are not broken
    rows = [line.split() for line in table if line.strip().startswith("ieee13_volt_var")]
    assert [row[1] for row in rows[:2]] == ["1", "2"] and all(float(row[4]) > 1 for row in rows[:2])
    for word in ("floor", "act", "devices", "engine", "states", "terms", "obs", "infos", "rest"):
        assert word in text
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_file_is_as_its_schema_says(ran):
    jsonschema = pytest.importorskip("jsonschema")
    _, out, _ = ran
    data = json.loads(out.read_text())
    jsonschema.validate(data, Benchmark.model_json_schema())
    alone, batch = data["measured"]
    assert (alone["copies"], batch["copies"], alone["steps"], alone["solves_per_step"]) == (1, 2, 4, 2.0)
    assert set(alone["parts"]) == set(PARTS) and sum(alone["parts"].values()) == pytest.approx(1, abs=1e-3)
    assert alone["step_over_floor"] > alone["engine_over_floor"] > 0.8
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**data, "measured": [{"scenario": "a"}]}, Benchmark.model_json_schema())


def test_against_says_what_moved_and_exits_well(ran, tmp_path):
    _, out, _ = ran
    now = Benchmark.model_validate_json(out.read_text()).ratios().ratios["ieee13_volt_var"]
    base = {**now, "step_over_floor": now["step_over_floor"] / 50}
    file = tmp_path / "base.json"
    file.write_text(Ratios(ratios={"ieee13_volt_var": base}).model_dump_json())
    code, text = output("bench", "ieee13_volt_var", *SHORT, "--against", str(file))
    assert code == 0 and "Moved by more than 20 %" in text and "step / floor" in text


def test_an_invalid_baseline_is_a_message_before_any_measuring(tmp_path):
    file = tmp_path / "base.json"
    file.write_text('{"ratios": {"a": {"step_over_floor": "much"}}}')
    code, text = output("bench", "ieee13_volt_var", "--against", str(file))
    assert code == 2 and "no baseline" in text and "base.json" in text and "measured" not in text


def test_a_file_of_another_kind_is_not_replaced(tmp_path):
    file = tmp_path / "notes.json"
    file.write_text('{"mine": 1}')
    code, text = output("bench", "ieee13_volt_var", *SHORT, "--out", str(file))
    assert code == 2 and "not replaced" in text and file.read_text() == '{"mine": 1}'


@pytest.mark.parametrize("name", ["batch", "days", "steps"])
def test_nothing_to_measure_is_an_error(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1"):
        benchmark([load_scenario("ieee13_volt_var")], **{name: 0})


# --- against a baseline -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("factor", "flagged"), [(1.19, False), (0.81, False), (1.21, True), (0.79, True)])
def test_a_fifth_is_noise_and_more_has_moved(factor, flagged):
    now = Ratios(ratios={"a": {"step_over_floor": 4.0 * factor, "engine_over_floor": 1.5}})
    base = Ratios(ratios={"a": {"step_over_floor": 4.0, "engine_over_floor": 1.5}})
    found = moved(now, base)
    assert [one.name for one in found] == ["step_over_floor"] * flagged
    assert all(one.change == pytest.approx(factor - 1) for one in found)


def test_only_what_both_have_is_compared():
    now = Ratios(ratios={"a": {"step_over_floor": 9.0}, "b": {"step_over_floor": 1.0}})
    assert moved(now, Ratios(ratios={"b": {"engine_over_floor": 9.0}, "c": {"step_over_floor": 1.0}})) == []


def test_a_result_is_a_baseline_too(tmp_path):
    one, sixteen = measured(), measured(copies=16, step_over_floor=1.5)
    found = Benchmark(version="1", opendss="1", python="3", platform="x", measured=[one, sixteen])
    file = tmp_path / "b.json"
    file.write_text(found.model_dump_json())
    assert read_ratios(file) == found.ratios()
    assert found.ratios().ratios["a x 16"]["step_over_floor"] == 1.5


def test_the_committed_baseline_has_the_scenarios_of_the_docs_alone_and_as_batches():
    base = read_ratios(ROOT / "benchmarks" / "baseline.json").ratios
    for name in SCENARIOS:
        assert set(base[name]) == set(base[f"{name} x 16"]) == set(RATIO_NAMES)


# --- what is measured -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("subject", [lambda s: OneCopy(s), lambda s: Batch(s, 3)], ids=["one", "batch"])
@pytest.mark.parametrize("name", ["ieee13_legacy", "ieee123_hybrid"])
def test_the_floor_solves_what_the_environment_solved(subject, name):
    """Voltages of the last floor solve are those of the environment: the same writes in the same order."""
    own = subject(load_scenario(name))
    own.play(int(own.env.task.profiles.days("train")[0]), 6)
    solves = own.floor()
    assert own.steps == 6 and len(solves) == own.solves == 12 * own.copies
    for solve in solves:
        solve()
    floors = [own._floor] if own.copies == 1 else own._floors
    for b, floor in enumerate(floors):
        engine = floor._engine
        v_pu = abs(engine._calls.voltages()[engine._places]) * engine._per_volt
        expected = own.env.now.solution.v_pu if own.copies == 1 else own.env.now.solution.v_pu[b]
        assert v_pu == pytest.approx(expected, abs=1e-4)
    own.close()


@pytest.mark.parametrize("subject", [lambda s: OneCopy(s), lambda s: Batch(s, 2)], ids=["one", "batch"])
def test_measuring_the_parts_changes_nothing_and_leaves_nothing(subject):
    own = subject(load_scenario("ieee13_legacy"))
    own.play(int(own.env.task.profiles.days("train")[0]), 4)
    before = own.env.now.solution.v_pu.copy()
    own.reset()
    with PartTimes(own.env) as times:
        own.replay()
    assert (own.env.now.solution.v_pu == before).all()
    shares = times.shares()
    assert sum(shares.values()) == pytest.approx(1) and min(shares.values()) >= 0
    own.replay()
    assert times.shares() == shares
    own.close()


on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="resident memory is known on Linux alone")


@on_linux
@pytest.mark.parametrize("copies", [1, 2])
def test_a_further_copy_takes_some_megabytes(copies):
    assert 0.5 < memory_of(load_scenario("ieee13_volt_var"), copies) < 15


@on_linux
def test_a_scenario_that_cannot_be_opened_ends_the_measuring_of_memory():
    broken = load_scenario("ieee13_volt_var").replace(feeder={"name": "nowhere"})
    with pytest.raises(RuntimeError, match=r"memory of 'ieee13_volt_var' could not be measured.*nowhere"):
        memory_of(broken, 1)


# --- PowerGym ---------------------------------------------------------------------------------------------------------

FAKE = """
class Env:
    num_profiles = 3
    def seed(self, seed): pass
    def reset(self, load_profile_idx): assert load_profile_idx < 3; print("noise")
    def random_action(self): return [0]
    def step(self, action): sum(range(200_000))
def make_env(name): return Env()
"""


def run_against(*arguments):
    script = ROOT / "benchmarks" / "against_powergym.py"
    return subprocess.run([sys.executable, str(script), *arguments], capture_output=True, text=True, check=False)


def test_without_powergym_it_says_how_to_get_it(tmp_path):
    done = run_against("13Bus", "--powergym", str(tmp_path))
    assert done.returncode == 1 and "git clone https://github.com/siemens/powergym" in done.stderr
    (tmp_path / "powergym").mkdir()
    done = run_against("13Bus", "--powergym", str(tmp_path))
    assert done.returncode == 1 and "env_register" in done.stderr and "git clone" in done.stderr


def test_with_an_environment_of_powergyms_interface_it_compares(tmp_path):
    (tmp_path / "powergym").mkdir()
    (tmp_path / "powergym" / "env_register.py").write_text(FAKE)
    done = run_against("13Bus", "--powergym", str(tmp_path), "--days", "1")
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith("13Bus")]
    assert [row[1] for row in rows] == ["one", "two"]
    assert all(float(row[k]) > 0.01 for row in rows for k in (3, 4))
