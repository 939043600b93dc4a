"""The benchmark of a batch engine beside OpenDSS: its actions, its figures, its command, and the table of the docs."""

import json
import sys

import numpy as np
import pytest
from common import ROOT, task_of
from stub_engines import Nearby
from typer.testing import CliRunner

import dss_marl
from dss_marl.cli.app import app
from dss_marl.experiments.benchmark import EngineBenchmark, engine_benchmark
from dss_marl.experiments.benchmark.engine_measure import measure_engine
from dss_marl.experiments.benchmark.memory import memory_of
from dss_marl.experiments.benchmark.part_times import ENGINE_PARTS
from dss_marl.experiments.benchmark.random_actions import RandomActions

sys.path.insert(0, str(ROOT / "benchmarks"))
import batched as script

NEARBY = "stub_engines:Nearby"
SHORT = ("--engine", NEARBY, "--copies", "2", "--rounds", "2", "--steps", "4", "--no-memory")


def output(*arguments):
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"})
    return result.exit_code, result.output


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("ieee13_volt_var", {}),
        ("ieee123_legacy", {"actions": "multidiscrete"}),
        ("ieee123_hybrid", {"actions": "native", "agents": "device"}),
        ("ieee123_hybrid", {"actions": "native"}),
    ],
)
def test_random_actions_are_within_their_spaces_and_the_same_for_the_first_copies(name, changes):
    task = dss_marl.build_task(task_of(name).scenario.replace(**changes))
    few, many = (dss_marl.BatchZoneEnv(task, copies) for copies in (2, 5))
    one, two = (RandomActions(batch, 3).next_steps(4, batch.copies) for batch in (few, many))
    assert np.array_equal(one, two[:, :2])
    assert two.std() > 0.3
    many.reset(seed=0)
    for rows in two:
        many.step(rows)  # which refuses what is in no space
    few.close()
    many.close()


def test_figures_add_up(rng):
    found = measure_engine(task_of("ieee13_volt_var"), NEARBY, 3, 2, 5, memory=False)
    assert (found.copies, found.opendss_copies, found.rounds, found.steps) == (3, 3, 2, 5)
    assert set(found.parts) == {*ENGINE_PARTS, "resets"}
    assert sum(found.parts.values()) == pytest.approx(1, abs=1e-3)
    assert found.parts["solver"] > 0.2
    assert found.solves_per_step == 2.0
    assert found.solves_per_s > found.env_steps_per_s > 0
    assert 1e-6 < found.largest_off_pu < 1e-3  # what the stub adds, through some steps
    assert found.same_positions > 0.6
    assert found.over_opendss == pytest.approx(found.env_steps_per_s / found.opendss_env_steps_per_s, rel=0.5)


def test_a_block_ends_before_the_day_does():
    task = dss_marl.build_task(task_of("ieee13_volt_var").scenario.replace(steps=6))
    assert measure_engine(task, "opendss", 2, 1, 96, memory=False).steps == 5


def test_opendss_beside_itself_is_the_same():
    found = measure_engine(task_of("ieee13_volt_var"), "opendss", 2, 1, 4, memory=False)
    assert (found.largest_off_pu, found.same_positions) == (0, 1)


def test_command_prints_and_writes(tmp_path):
    out = tmp_path / "b.json"
    code, text = output("bench", "--batched", "ieee13_volt_var", *SHORT, "--out", str(out))
    assert code == 0, text
    lines = [line for line in text.splitlines() if "ieee13_volt_var" in line]
    assert max(map(len, lines)) <= 84
    for word in ("OpenDSS", "ratio", "solver", "resets", "masks", "rest"):
        assert word in text
    data = json.loads(out.read_text())
    assert EngineBenchmark.model_validate(data).measured[0].engine == NEARBY
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(data, EngineBenchmark.model_json_schema())
    code, text = output("bench", "--batched", "ieee13_volt_var", *SHORT, "--out", str(out))  # its own file is replaced
    assert code == 0, text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--engine", "batchd"), "unknown engine 'batchd'"),
        (("--engine", "stub_engines:Refusing"), "load.671"),
        (("--copies", "64,x"), "such as 64,1024"),
        (("--copies", "0"), "such as 64,1024"),
        (("--batch", "4"), "--batch is of the benchmark without --batched"),
    ],
)
def test_mistakes_are_told_before_anything_is_measured(arguments, message):
    before = Nearby.opened
    code, text = output("bench", "--batched", "ieee13_volt_var", *arguments)
    assert code == 2, text
    assert message in text
    assert "measured" not in text
    assert Nearby.opened == before


def test_nothing_to_measure_is_an_error():
    for name in ("rounds", "steps"):
        with pytest.raises(ValueError, match=f"{name} must be at least 1"):
            engine_benchmark([], "opendss", (2,), **{name: 0})
    with pytest.raises(ValueError, match="copies must be at least 1"):
        engine_benchmark([], "opendss", ())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="resident memory is known on Linux alone")
def test_memory_of_a_copy_is_that_of_its_engine():
    assert 0.5 < memory_of(dss_marl.load_scenario("ieee13_volt_var"), 9, "opendss") < 15
    with pytest.raises(RuntimeError, match="unknown engine 'batchd'"):
        memory_of(dss_marl.load_scenario("ieee13_volt_var"), 9, "batchd")


def test_the_page_has_the_table_of_the_committed_figures():
    page = (ROOT / "docs" / "reference" / "speed.md").read_text()
    found = script.PLACE.search(page)
    assert found is not None
    if script.FIGURES.exists():
        assert found[0] == found[1] + script.table(script.read()) + found[2]
