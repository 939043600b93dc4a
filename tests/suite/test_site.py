"""What the documentation site is written with: its pages, the scenario file's schema, the scripts of the chapters.

``make docs`` builds the site itself and runs the chapters.
"""

import json
import subprocess
import sys

import pytest
import yaml
from common import EVERY, ROOT

jupytext = pytest.importorskip("jupytext")  # the extra docs, from Python 3.11

import make_scripts  # noqa: E402
from _generate import REPOSITORY, execution_cache, fields, links, markdown, terms  # noqa: E402
from _generate.json_schema import scenario_schema  # noqa: E402

from dss_marl import Scenario, build_task  # noqa: E402
from dss_marl._assets import data_folder  # noqa: E402
from dss_marl.cli.app import COMMANDS  # noqa: E402
from dss_marl.devices import KINDS  # noqa: E402
from dss_marl.envs.training_settings import TrainingSettings  # noqa: E402
from dss_marl.mdp.observations import KNOWN  # noqa: E402
from dss_marl.mdp.rewards import COSTS, REWARDS  # noqa: E402

CHAPTER = """---
file_format: mystnb
kernelspec: {name: python3, display_name: Python 3}
---
# A first *chapter*

You will be able to add.

```{note}
# not a heading
```

## Adding

```{code-cell} python
total = 1 + 1
```

Words between.

```{code-cell} python
!dss-marl list
print(total)
```

## Nothing to run here
"""


# --- scripts of the chapters -----------------------------------------------------------------------------------------


@pytest.fixture
def chapter(tmp_path):
    path = tmp_path / "01_adding.md"
    path.write_text(CHAPTER)
    return path


def test_a_script_runs_and_has_the_code_under_its_headings(chapter, tmp_path):
    script = tmp_path / "adding.py"
    script.write_text(make_scripts.script(chapter))
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr
    text = script.read_text()
    assert "# Adding" in text and "# !dss-marl list" in text
    assert "not a heading" not in text and "Nothing to run" not in text and "Words between" not in text
    assert text.startswith('"""A first *chapter*: ')


def test_committed_scripts_are_those_of_the_chapters():
    written = {path.stem: path.read_text(encoding="utf-8") for path in make_scripts.SCRIPTS.glob("*.py")}
    now = {path.stem: make_scripts.script(path) for path in make_scripts.chapters()}
    assert written == now, "run 'python docs/make_scripts.py'"


def test_chapters_execute_again_when_the_code_has_changed(tmp_path):
    """jupyter-cache compares the cells only."""
    module, docs = tmp_path / "dss_marl" / "a.py", tmp_path / "docs"
    module.parent.mkdir()
    module.write_text("x = 1")
    first = execution_cache(docs)
    assert execution_cache(docs) == first
    first.mkdir(parents=True)
    module.write_text("x = 2")
    assert execution_cache(docs) != first
    assert not first.exists()


# --- the schema ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def check():
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(json.dumps(scenario_schema()))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def shipped(name):
    return yaml.safe_load((data_folder("scenarios") / f"{name}.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", EVERY)
def test_the_schema_accepts_shipped_scenarios(check, name):
    data = json.loads(json.dumps(shipped(name)))  # as an editor reads it: lists, no tuples
    assert not [f"{list(error.path)}: {error.message}" for error in check.iter_errors(data)]


@pytest.mark.parametrize(
    "change",
    [
        {"stepps": 3},
        {"steps": 0},
        {"devices": [{"kind": "inverter", "bus": "812", "kva": 3}]},  # no kw
        {"devices": [{"kind": "inverter", "bus": "812", "kw": 3, "moves": 2}]},
        {"devices": [{"kind": "invertor", "bus": "812", "kw": 3}]},
        {"profiles": {"kind": "csv", "seed": 1}},
        {"profiles": {"seed": -1}},
        {"rewards": {"voltage_violations": 1}},
        {"observations": ["lod"]},
        {"training": {"gama": 0.9}},
        {"zones": {"method": "cutt"}},
    ],
    ids=str,
)
def test_the_schema_rejects_what_the_scenario_rejects(check, change):
    data = shipped("ieee34_volt_var") | change
    assert not check.is_valid(data)
    with pytest.raises(ValueError):
        build_task(Scenario.model_validate(data | {"name": "changed"}))


def test_the_schema_accepts_things_of_ones_own(check):
    data = shipped("ieee34_volt_var") | {
        "devices": [{"kind": "my_module:Mine", "anything": 1}],
        "rewards": {"my_module:term": 1},
        "profiles": {"kind": "my_module:Days", "level": 2},
        "zones": {"method": "my_module:split", "some": 1},
    }
    assert check.is_valid(data)
    assert check.is_valid({"base": "ieee34_volt_var", "steps": 4})
    assert not check.is_valid({"steps": 4})


# --- pages -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("term", [*REWARDS.values(), *COSTS.values()], ids=lambda term: term.__name__)
def test_every_reward_and_cost_has_a_unit_and_a_formula(term):
    first = markdown.text_of(term).split("\n\n")[0]
    assert markdown.unit_of(first) or term.__name__ == "operations", first
    assert markdown.formula_of(term).startswith("$"), term.__name__


@pytest.fixture(scope="module")
def pages():
    pytest.importorskip("stable_baselines3")
    from _generate import api, command_line, device_kinds, run_files, scenario_file, training, versions

    families = (command_line, scenario_file, terms, device_kinds, training, run_files, versions, api)
    return dict(page for family in families for page in family.pages())


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("cli", ["list", *(command.__name__ for command in COMMANDS)]),
        ("scenario_file", [*Scenario.model_fields, "noise_v_pu", "load_scale", "weather", "balanced"]),
        ("observations", [name for name, one in KNOWN.items() if one.function.__module__.startswith("dss_marl.")]),
        ("rewards", REWARDS),
        ("costs", COSTS),
        ("devices", KINDS),
        ("training", TrainingSettings.model_fields),
        ("run_files", ["record.json", "policy.safetensors", "history"]),
        ("versions", ["numpy", "sphinx", "torch"]),
        ("api/dss_marl", ["make", "ZoneEnv"]),
    ],
)
def test_a_page_has_every_name(pages, page, names):
    text = pages[f"reference/{page}.md"]
    assert [name for name in names if str(name) not in text] == []


def test_units_types_and_defaults_of_a_field(pages):
    rows = pages["reference/scenario_file.md"].splitlines()
    assert any(row.startswith("| `source_pu` | number or null, > 0.5, < 1.5 | `null` | pu |") for row in rows)
    assert any(row.startswith("| `hops` | integer or `all` | `0` |") for row in rows)
    assert fields.as_yaml({"a": (1, 2.5), "b": None, "c": True, "d": ""}) == '{a: [1, 2.5], b: null, c: true, d: ""}'


def test_action_entries_of_a_device_follow_its_settings(pages):
    rows = pages["reference/devices.md"].splitlines()
    assert any("mode: volt_var" in row and "dead band" in row for row in rows)
    assert any("absolute: true" in row and "positions" in row for row in rows)


def test_links_out_of_the_site_go_to_the_repository():
    docs = ROOT / "docs"
    text = "[a](../../examples/own_reward.py) [b](../glossary.md) [c](../../none.py) [d](data.md#x)"
    found = links.with_repository_links(text, docs / "guide", docs)
    assert found.startswith(f"[a]({REPOSITORY}/blob/main/examples/own_reward.py) [b](../glossary.md)")
    assert found.endswith("[c](../../none.py) [d](data.md#x)")


def test_tables_and_texts_of_docstrings():
    assert markdown.table(("a",), [("x|y\nz",)]) == "| a |\n| --- |\n| x\\|y<br>z |\n"

    def documented():
        """First ``line`` [kW].

        More.

        Formula: $x$

        Args:
            a: b
        """

    assert markdown.text_of(documented) == "First `line` [kW].\n\nMore."
    assert markdown.formula_of(documented) == "$x$"
    assert markdown.unit_of("power [kW] over [h]") == "h" and markdown.unit_of("none", "fall_h") == "h"
