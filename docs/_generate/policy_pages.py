"""policies/NAME.md: the model card of each policy that ships; policies/index.md lists them."""

from __future__ import annotations

from collections.abc import Iterator

from _generate.markdown import table
from dss_marl._assets import data_folder, known_names
from dss_marl.experiments import list_policies
from dss_marl.experiments.runs.run_record import load_run
from dss_marl.experiments.shipped.learned_table import ABOUT, HEADS, learned_table
from dss_marl.experiments.shipped.model_card import CARD
from dss_marl.experiments.shipped.shipping import overview

INDEX = """# Trained policies

```python
policy = dss_marl.load_policy("NAME")  # or the folder of a run
policy.evaluate(days=2)
```

`load_policy` checks that the networks, the scenario and its days are those of the policy's record, and `print(policy)` says on which version it was trained. The policy is a controller: `policy.act(env, observations)`,
after `policy.reset(env)`. How they were trained and compared: [benchmarks of learning](../guide/benchmark.md).

"""
LEARNED = """## What their recipes learn

"""
NONE = (
    "This version ships no policy. `dss-marl train` makes one, and `dss-marl ship RUN` writes it with its model card.\n"
)


def pages() -> Iterator[tuple[str, str]]:
    """The overview, and a page for each."""
    names = list_policies()
    yield "policies/index.md", index_page(names)
    for name in names:
        yield f"policies/{name}.md", page(name)


def index_page(names: list[str]) -> str:
    """A line for each policy."""
    if not names:
        return INDEX + NONE
    heads, rows = overview([data_folder("policies") / name for name in names])
    linked = [(f"[{row[0]}]({row[0]}.md)", f"[{row[1]}](../scenarios/{row[1]}.md)", *row[2:]) for row in rows]
    toctree = "\n".join(names)
    learned = table(HEADS, learned_table([data_folder("policies") / name for name in names]))
    return f"{INDEX}{table(heads, linked)}\nReturn and score: means of the frozen test days.\n\n{LEARNED}{learned}\n{ABOUT}\n```{{toctree}}\n:hidden:\n\n{toctree}\n```\n"


def page(name: str) -> str:
    """The card, with a link to the scenario's page."""
    place = data_folder("policies") / name
    task = str(load_run(place).scenario["name"])
    text = (place / CARD).read_text(encoding="utf-8")
    if task in known_names("scenarios"):
        text = text.replace(f"for scenario `{task}`", f"for scenario [{task}](../scenarios/{task}.md)", 1)
    return text
