"""A scenario's name names files and folders, so it is a name and not a path."""

from pathlib import Path

import pytest

import dss_marl
from dss_marl.controllers.planning.plan_files import plans_path


@pytest.mark.parametrize(
    "name", ["../x", "..", ".", ".hidden", "a/b", "a\\b", "/tmp/x", "C:x", "", "x\n", "-x", "x" * 101]
)
def test_a_name_is_not_a_path(name, tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(f"base: ieee13_volt_var\nname: {name!r}\n")
    with pytest.raises(ValueError, match=r"name: .*at most 100 letters, digits, '_', '-' and '\.'"):
        dss_marl.load_scenario(path)
    with pytest.raises(ValueError, match="as files and folders are named by it"):
        dss_marl.load_scenario("ieee13_volt_var").replace(name=name)


@pytest.mark.parametrize("name", ["x", "ieee13_volt-var.2", "2024", "Süd_1"])
def test_a_plain_name_is_accepted(name):
    scenario = dss_marl.load_scenario("ieee13_volt_var").replace(name=name)
    assert plans_path(scenario).parent == Path("results") / name


@pytest.mark.parametrize(
    ("stem", "name"), [("my own scenario", "my_own_scenario"), (".hidden", "hidden"), ("(1)", "_1_")]
)
def test_a_file_without_a_name_gets_one_from_its_own(stem, name, tmp_path):
    path = tmp_path / f"{stem}.yaml"
    path.write_text("base: ieee13_volt_var\n")
    assert dss_marl.load_scenario(path).name == name
