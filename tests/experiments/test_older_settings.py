"""Records of runs that were made before some settings existed."""

from typing import Annotated

import pytest
from pydantic import BaseModel, Field

from dss_marl.envs.training_settings import SETTINGS_VERSION, Added, SlopeSettings, TeacherSettings, TrainingSettings
from dss_marl.experiments.runs.older_settings import completed

# keys of the first version of the settings: every other one must say when it was added
FIRST = {
    TrainingSettings: {
        "algorithm", "sharing", "agent_steps", "n_envs", "n_steps", "batch_size", "n_epochs", "learning_rate",
        "final_learning_rate", "gamma", "gae_lambda", "clip_range", "ent_coef", "log_std_init", "log_std_final",
        "entries", "hold_probability", "temperature_final", "ratio", "critic", "slope", "ignore_padding", "net_arch",
        "teacher", "evaluations", "guard", "evaluation_days", "early_stop", "checkpoint_episodes",
    },
    TeacherSettings: {
        "name", "days", "rounds", "epochs", "batch_size", "learning_rate", "log_std", "critic_warmup",
    },
    SlopeSettings: {"weight", "step", "clip", "margin_pu", "kinds"},
}  # fmt: skip


class Part(BaseModel):
    old: int = 1
    new: Annotated[int, Added(2)] = Field(default=2, description="leaves things as they were")


class Whole(BaseModel):
    a: int = 1
    part: Part | None = None
    b: Annotated[int, Added(2, before=7)] = 5
    c: Annotated[Part, Added(3)] = Part()


@pytest.mark.parametrize("model", FIRST)
def test_every_key_of_the_settings_says_since_when_there_is_one(model):
    """A key without would make the records of all runs before it unreadable."""
    added = {
        name: one.version
        for name, field in model.model_fields.items()
        for one in field.metadata
        if isinstance(one, Added)
    }
    assert {*model.model_fields} - {*added} == FIRST[model]
    assert all(1 < version <= SETTINGS_VERSION for version in added.values())


def test_later_keys_read_as_what_was_done_before():
    found, later = completed(Whole, {"a": 3, "part": {"old": 4}}, 1)
    assert found == {"a": 3, "part": {"old": 4, "new": 2}, "b": 7, "c": {"old": 1, "new": 2}}
    assert later == ["part.new", "b", "c"]


def test_complete_settings_stay_as_they_are():
    whole = Whole(a=2, part=Part()).model_dump()
    assert completed(Whole, whole, 1) == (whole, [])
    assert completed(Whole, {"a": 3, "part": None, "b": 1}, 2)[1] == ["c"]


@pytest.mark.parametrize(
    ("settings", "version", "says"),
    [
        ({"part": {"old": 4}}, 1, "settings: a missing"),
        ({"a": 3, "part": {}}, 1, r"settings: part\.old missing"),
        ({"a": 3, "part": None}, 2, "settings: b missing"),
        ({"a": "x"}, 1, "a"),
    ],
)
def test_a_key_that_existed_then_must_be_there(settings, version, says):
    with pytest.raises(ValueError, match=says):
        completed(Whole, settings, version)
