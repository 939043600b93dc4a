"""reference/unit_costs.md: what things cost in the shipped scenarios, and what each of their weights is in money."""

from __future__ import annotations

from collections.abc import Iterator

from _generate.markdown import table
from dss_marl import load_scenario
from dss_marl._assets import known_names
from dss_marl.experiments.reports.scenario_money import device_kinds
from dss_marl.mdp.reward_money import money_of
from dss_marl.mdp.unit_costs import DOLLARS, UNIT_COSTS

HEAD = f"""# Unit costs

In every shipped scenario 1 of reward stands for {DOLLARS:g} $. Weights follow from the costs below and the length of a step: losses in MW over
steps of 15 minutes weigh 0.25 h times 80 $/MWh over 10 $, that is 2. `dss_marl.mdp.unit_costs` has the table,
`dss_marl.mdp.reward_money.money_of` says what a weight is in money, and `python -m dss_marl.experiments.reports.scenario_money` lists weights that
differ by more than a tenth.

Terms of voltage, overload and estimation are penalties, not money: nobody pays for an excursion, and what it damages is not known. They are chosen
so that leaving the band costs more than what an agent could save by it; the tables say what they count as, for comparison only.

"""
HEADS = ("cost", "value", "range", "why", "sources")


def pages() -> Iterator[tuple[str, str]]:
    """The page."""
    rows = []
    for name, cost in UNIT_COSTS.items():
        sources = "\n".join(f"{k}. {source}" for k, source in enumerate(cost.sources, start=1))
        span = f"{cost.low:g} to {cost.high:g}"
        rows.append((f"`{name}`: {cost.meaning}", str(cost), span, cost.why, sources))
    text = f"{HEAD}{table(HEADS, rows)}\n## Weights of the scenarios\n\n{_weights()}"
    yield "reference/unit_costs.md", text.replace("$", r"\$")  # else formulas


def _weights() -> str:
    rows = []
    for name in known_names("scenarios"):
        scenario = load_scenario(name)
        for term, weight in scenario.rewards.items():
            money = money_of(term, weight, scenario.dt_h, device_kinds(scenario)).text
            rows.append((f"[`{name}`](../scenarios/{name}.md)", f"`{term}`", f"{weight:g}", money))
    return table(("scenario", "term", "weight", "in money"), rows)
