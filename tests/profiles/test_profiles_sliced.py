"""Days cut from series without times: which load takes which part, and what is wrong with a folder."""

import numpy as np
import pytest
from pydantic import ValidationError

from dss_marl import build_task, load_scenario, read_feeder
from dss_marl.profiles import Profiles, SlicedProfiles

DAYS = 9


@pytest.fixture
def feeder():
    return read_feeder("ieee13")


def series(folder, feeder, days=DAYS, extra=5):
    """Two files that hold 0.01, 0.02, ... of nominal, joined by name, with some values left over."""
    folder.mkdir(exist_ok=True)
    values = (np.arange(days * 24 * len(feeder.loads) + extra) + 1) / 100 % 1.5
    for name, part in (("LoadShape1.CSV", values[:1000]), ("loadshape2.csv", values[1000:])):
        (folder / name).write_text("\n".join(f"{value:.2f}" for value in part) + "\n")
    (folder / "scale.csv").write_text("7\n")  # another file of the folder
    return values


def test_one_load_after_the_other_takes_all_its_days(tmp_path, feeder):
    values = series(tmp_path, feeder)
    profiles = Profiles(SlicedProfiles(kind="sliced", folder=str(tmp_path), scale=1.1), feeder, 1.0)
    assert profiles.days_in_all == DAYS
    for place, j in enumerate(feeder.loads):
        for day in (0, 4, DAYS - 1):
            own = 1.1 * values[(place * DAYS + day) * 24 :][:24]
            made = profiles.day(day, 0)
            assert made.kw[:24, j] == pytest.approx(own * feeder.nominal_kw[j])
            assert made.kvar[:24, j] == pytest.approx(own * feeder.nominal_kvar[j])


def test_a_scenario_plays_the_days_of_a_folder(tmp_path, feeder):
    series(tmp_path, feeder)
    task = build_task(load_scenario("powergym_13").replace(profiles={"kind": "sliced", "folder": str(tmp_path)}))
    assert {len(task.profiles.days(split)) > 0 for split in ("train", "validation", "test")} == {True}


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        (None, "", "clone it"),
        ("notes.csv", "1\n", r"no file \*loadshape\*.csv; PowerGym keeps"),
        ("loadshape.csv", "1\n2\n", "a day of the 15 loads of feeder 'ieee13' needs 360"),
        ("loadshape.csv", "0.5\nhalf\n", "row 2: 'half' is not a number"),
        ("loadshape.csv", "0.5\n-1\n", "row 2: -1 is no multiplier"),
        ("loadshape.csv", "version https://git-lfs.github.com/spec/v1\noid 1\n", "run 'git lfs pull'"),
    ],
)
def test_what_is_wrong_with_a_folder_is_told(tmp_path, feeder, name, text, told):
    folder = tmp_path / "loadshape"
    if name:
        folder.mkdir()
        (folder / name).write_text(text)
    with pytest.raises(ValueError, match=told):
        Profiles(SlicedProfiles(kind="sliced", folder=str(folder)), feeder, 1.0)


def test_a_scale_of_nothing_is_refused():
    with pytest.raises(ValidationError, match="scale"):
        SlicedProfiles(kind="sliced", folder="x", scale=0)
