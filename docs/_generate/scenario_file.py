"""reference/scenario_file.md: every key of a scenario's YAML file; and the file's JSON Schema."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator

from pydantic import BaseModel

from _generate import SITE
from _generate.fields import as_yaml, fields_table, models_below, models_in, section
from _generate.json_schema import scenario_schema
from _generate.markdown import details, table, text_of, yaml
from dss_marl._assets import data_folder
from dss_marl.envs.scenario import Scenario
from dss_marl.profiles.sources import PROFILE_KINDS
from dss_marl.zones.registry import METHODS

SCHEMA = "scenario.schema.json"
_ELSEWHERE = {
    "devices": "a list of devices, each with its `kind`: [devices](devices.md)",
    "zones": "`method` and its options: [methods](#zones)",
    "profiles": "`kind` and its settings: [kinds](#profiles)",
    "observations": "names of [observations](observations.md), or `module:function`",
    "rewards": "[reward terms](rewards.md), or `module:function`, and their weights",
    "costs": "names of [costs](costs.md), or `module:function`",
    "training": "[training settings](training.md)",
}
HEAD = f"""# Scenario file

A scenario is a YAML file, usually of 15 to 45 lines: `dss_marl.make("my_task.yaml")`, `dss-marl train my_task.yaml`. Every key is
checked before the feeder is read; an unknown or impossible one raises an error that names it and the known ones.

Editors complete and check the keys by the file's [JSON Schema]({SITE}/{SCHEMA}). With the YAML extension of VS Code, begin the file with:

```yaml
# yaml-language-server: $schema={SITE}/{SCHEMA}
```

`base: NAME` starts from another scenario, shipped or a file beside it, and overrides the keys that follow. `feeder`, `profiles` and
`training` are merged key by key, but another feeder or another kind of profiles replaces the old one whole. Paths are relative to
the file. `name` is the file's name if it is not given.
"""


def pages() -> Iterator[tuple[str, str]]:
    """The page, and the schema as a file of its own."""
    yield f"_extra/{SCHEMA}", json.dumps(scenario_schema(), indent=1) + "\n"
    yield "reference/scenario_file.md", page()


def page() -> str:
    """Keys of the file, then those of what it holds."""
    example = (data_folder("scenarios") / "ieee34_volt_var.yaml").read_text(encoding="utf-8")
    rows = [(f"`{key}`", text) for key, text in _ELSEWHERE.items()]
    parts = [
        HEAD,
        details("A shipped one in full: ieee34_volt_var", yaml(example)),
        "## Keys of the file\n",
        fields_table(Scenario, without=tuple(_ELSEWHERE)),
        "These have pages or sections of their own:\n",
        table(("key", "content"), rows),
    ]
    parts += [_section(model) for model in models_below(Scenario) if model.__name__ not in ("ProfileSpec",)]
    parts += [_zones(), _profiles()]
    return "\n".join(parts)


def _section(model: type[BaseModel]) -> str:
    key = next((name for name, field in Scenario.model_fields.items() if model in models_in(field.annotation)), "")
    title = f"`{key}`" if key else f"`{_inner_key(model)}`"
    return section(model, f"## {title}", text_of(model))


def _inner_key(model: type[BaseModel]) -> str:
    """Where a model within another model stands, such as feeder: synthetic."""
    for outer in models_below(Scenario):
        names = [name for name, field in outer.model_fields.items() if model in models_in(field.annotation)]
        if names:
            where = next(key for key, field in Scenario.model_fields.items() if outer in models_in(field.annotation))
            return f"{where}: {', '.join(names)}"
    raise LookupError(model)


def _zones() -> str:
    rows = []
    for name, function in METHODS.items():
        options = [
            f"`{one.name}`" + ("" if one.default is inspect.Parameter.empty else f" ({as_yaml(one.default)})")
            for one in list(inspect.signature(function).parameters.values())[1:]
        ]
        rows.append((f"`{name}`", text_of(function).split("\n\n")[0].replace("\n", " "), ", ".join(options)))
    heads = ("method", "zones", "options (default)")
    return (
        "(zones)=\n## `zones`\n\n`zones: {method: balanced, count: 4}`; your own method is `module:function`, from the feeder's "
        "`networkx.Graph` to sets of buses.\n\n" + table(heads, rows)
    )


def _profiles() -> str:
    parts = [
        "(profiles)=\n## `profiles`\n\n[How the days are made](../guide/profiles.md), and how to bring your own.\n"
    ]
    for kind, model in PROFILE_KINDS.items():
        parts.append(section(model, f"### `kind: {kind}`", text_of(model), without=("kind",)))
    return "\n".join(parts)
