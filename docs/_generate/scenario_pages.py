"""scenarios/NAME.md: card, map, proof, recipe and results of each shipped scenario; scenarios/index.md lists them."""

from __future__ import annotations

import io
from collections.abc import Iterator

from _generate import REPOSITORY
from _generate.markdown import details, table, yaml
from _generate.usage import scenarios
from dss_marl import Task, build_task
from dss_marl._assets import data_folder
from dss_marl.envs.scenario import Scenario
from dss_marl.experiments.reports.scenario_card import CardTable, card
from dss_marl.experiments.reports.suite_table import checks_table, figures_table, provenance
from dss_marl.experiments.validation.result_files import Result, load, results_folder
from dss_marl.plots import feeder_figure

# Families in the order in which a newcomer meets them, with what their agents control; a scenario belongs to the first
# whose words its name holds.
FAMILIES = {
    "Introductory: one agent": (("local_pv", "single_pv"), "one inverter"),
    "Volt-var control": (
        ("volt_var", "34_var"),
        "reactive power and curtailment of inverters, regulators, capacitor banks; up to 10,000 nodes",
    ),
    "Volt-var control under attack": (
        ("attack",),
        "the same, with the inverters of one zone compromised and lossy communication",
    ),
    "Comparable with MAPDN": (
        ("mapdn",),
        "reactive power of PV inverters every three minutes, by the rules of a published environment: see [comparability](../comparability.md)",
    ),
    "Comparable with PowerGym": (
        ("powergym",),
        "regulators, capacitor banks and batteries by levels, in the numbers of a published environment: see [comparability](../comparability.md)",
    ),
    "Legacy devices, hourly": (
        ("legacy",),
        "regulators, capacitor banks and batteries, as many as in the published volt-var gym",
    ),
    "Two time scales": (
        ("two_timescale", "hybrid"),
        "taps, capacitor banks, switches and batteries hourly, inverters every few minutes",
    ),
    "Energy and flexibility": (
        ("dispatch", "demand_response", "_ev"),
        "batteries, shiftable and sheddable loads, 55 EV chargers; prices, import limits, a transformer rating",
    ),
    "Microgrid": (
        ("microgrid",),
        "an island for a day: PV, batteries, a diesel generator that trips on overload, limited fuel, load priorities",
    ),
    "Reconfiguration": (
        ("reconfiguration",),
        "open points, each along its loop: radial and connected by construction",
    ),
    "Restoration": (
        ("restoration", "switching", "crews"),
        "switches, feeder ties, grid-forming generators, load shedders, repair crews; cold-load pickup and priorities",
    ),
    "State estimation": (
        ("state_estimation",),
        "nothing: agents estimate the voltages of 94 unmetered nodes",
    ),
}
OTHERS = "Others"
SIZES = ("agents", "devices", "nodes")
ORDER = ("attack", "local_pv", "single_pv")  # words that decide before the others
DPI = 110
INDEX = """# Scenarios

Each scenario is a task: a feeder, its zones and devices, days, observations, rewards and costs. `dss_marl.make("NAME")` opens it and `dss-marl train NAME` trains on it with the recommended
settings. Every one has been [proven worth learning](../suite.md) on frozen test days; those marked as tutorials are for learning the package, since simple rules play them nearly as well as plans.

"""


def pages() -> Iterator[tuple[str, str | bytes]]:
    """The overview; a page and a map for each."""
    yield "scenarios/index.md", index_page()
    for name, scenario in scenarios().items():
        task = build_task(scenario)
        yield f"scenarios/{name}.md", page(task)
        yield f"scenarios/{name}.png", _map(task)


def family(name: str) -> str:
    """The family of a scenario."""
    decisive = [word for word in ORDER if word in name]
    for title, (words, _) in FAMILIES.items():
        if any(word in (decisive or [name])[0] for word in words):
            return title
    return OTHERS


def index_page() -> str:
    """A table for each family."""
    families: dict[str, list[str]] = {title: [] for title in (*FAMILIES, OTHERS)}
    for name in scenarios():
        families[family(name)].append(name)
    parts = [INDEX]
    for title, names in families.items():
        if names:
            rows = [(f"[{name}]({name}.md)", _title(scenarios()[name]), *_sizes(name)) for name in names]
            controlled = f"Agents control {FAMILIES[title][1]}.\n\n" if title in FAMILIES else ""
            parts.append(f"## {title}\n\n{controlled}{table(('scenario', 'task', *SIZES), rows)}")
    toctree = "\n".join(name for names in families.values() for name in names)
    return "\n".join([*parts, f"```{{toctree}}\n:hidden:\n\n{toctree}\n```\n"])


def _title(scenario: Scenario) -> str:
    return f"{scenario.title} (tutorial)" if scenario.tutorial else scenario.title


def _sizes(name: str) -> list[str]:
    result = _result(name)
    return [str(result.metadata[key]) if result else "" for key in SIZES]


def _result(name: str) -> Result | None:
    folder = results_folder(name)
    return load(folder) if folder else None


def page(task: Task) -> str:
    """Everything about one scenario."""
    scenario = task.scenario
    text, tables = _card(task)
    parts = [
        f"# {scenario.name}\n\n{scenario.title}.\n",
        f"![Map of the feeder with zones and devices]({scenario.name}.png)\n",
        _recipe(scenario),
        _results(scenario),
        f"## The decision process\n\n{text}\n",
        *tables,
        "## Scenario file\n",
        yaml((data_folder("scenarios") / f"{scenario.name}.yaml").read_text(encoding="utf-8")),
        f"[scenarios/{scenario.name}.yaml]({REPOSITORY}/blob/main/scenarios/{scenario.name}.yaml); its keys: "
        "[scenario file](../reference/scenario_file.md).\n",
    ]
    return "\n".join(parts)


def _card(task: Task) -> tuple[str, list[str]]:
    """Lines of the card as a list, and its tables; results stand elsewhere on the page."""
    lines, tables = [], []
    for part in card(task):
        if isinstance(part, str):
            lines.append(f"* {part[:1].upper()}{part[1:]}" if not part.startswith("Feeder") else f"* `{part}`")
        elif not part.title.startswith("references"):
            tables.append(_card_table(part))
    return "\n".join(lines), tables


def _card_table(part: CardTable) -> str:
    body = table(part.heads, part.rows)
    title = part.title[:1].upper() + part.title[1:]
    if len(part.rows) > 12:
        return details(title, body)
    return f"### {title}\n\n{body}"


def _recipe(scenario: Scenario) -> str:
    steps = scenario.training.get("agent_steps")
    size = f" {steps:,} agent-steps with the [recommended settings](../reference/training.md)." if steps else ""
    return (
        f"## Train and evaluate\n\n```bash\ndss-marl train {scenario.name} --out runs/{scenario.name}\n"
        f"dss-marl evaluate runs/{scenario.name}\n```\n\n{size.strip()} {_minutes(scenario)}\n"
    )


# Measured: two cores, Python 3.11. Others are left out until they are.
MINUTES = {"ieee34_volt_var": 1.3}


def _minutes(scenario: Scenario) -> str:
    if scenario.name not in MINUTES:
        return "How fast steps are: [speed](../reference/speed.md)."
    return f"About {MINUTES[scenario.name]:g} minutes on two cores."


def _results(scenario: Scenario) -> str:
    result = _result(scenario.name)
    if result is None:
        return "## Results\n\nNot validated so far: `dss-marl validate` writes the proof.\n"
    return (
        f"## Results\n\n{provenance(result, scenario)}\n\nMeans over days with 95 % bootstrap intervals. Score: 0 is "
        "`opendss_controls` (without it `no_control`), 1 the reference controller, each over the days that a controller "
        "played. What the controllers do: "
        f"[controllers](../guide/controllers.md).\n\n{figures_table(result)}\n"
        f"{details('The proof: all checks', checks_table(result))}\nWhat checks (a) to (k) require: [the suite](../suite.md).\n"
    )


def _map(task: Task) -> bytes:
    figure, buffer = feeder_figure(task), io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, bbox_inches="tight", metadata={"Software": None})
    return buffer.getvalue()
