"""reference/training.md: settings of a training run."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel

from _generate.fields import as_yaml, fields_table, section
from _generate.markdown import table, text_of
from _generate.usage import scenarios
from dss_marl.envs.training_settings import (
    OffPolicySettings,
    RecurrentSettings,
    SlopeSettings,
    TeacherSettings,
    TrainingSettings,
)

HEAD = """# Training settings

`training: {agent_steps: 300000, gamma: 0.9}` in a scenario, and options of `dss-marl train`, which win: `--algo`, `--sharing`, `--copies`, `--steps`, and `--set training.gamma=0.95` for the others. What they mean for
learning, and results with them: [learning](../guide/learning.md).

"""


def pages() -> Iterator[tuple[str, str]]:
    """The one page."""
    yield "reference/training.md", page()


def page() -> str:
    """The settings, and what the shipped scenarios recommend."""
    rows = [(f"[{name}](../scenarios/{name}.md)", f"`{as_yaml(one.training)}`") for name, one in scenarios().items()]
    parts = [HEAD, f"{text_of(TrainingSettings)}\n", fields_table(TrainingSettings)]
    titles: dict[type[BaseModel], str] = {
        OffPolicySettings: "Off-policy",
        RecurrentSettings: "Recurrent",
        TeacherSettings: "Teacher",
        SlopeSettings: "Slope",
    }
    for model, title in titles.items():
        parts.append(section(model, f"## {title}", text_of(model)))
    return "\n".join([*parts, "## Recommended by the shipped scenarios\n", table(("scenario", "training"), rows)])
