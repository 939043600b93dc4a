"""reference/observations.md, rewards.md and costs.md: every term with unit and formula, from its function."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from _generate.markdown import formula_of, table, text_of, unit_of
from _generate.usage import used_in
from dss_marl.mdp.observations import KNOWN, Feature
from dss_marl.mdp.rewards import COSTS, REWARDS, Term

SYMBOLS = """
| symbol | meaning | unit |
| --- | --- | --- |
| $z$, $Z$ | the zone; number of zones | |
| $\\mathcal N_z$, $N$ | the zone's scored nodes; number of scored nodes of the feeder | |
| $v_n$ | voltage of node $n$ after the step; a de-energised node counts as 1 pu | pu |
| $e_n$ | excursion, $\\max(0, v_n - v_n^\\mathrm{max}, v_n^\\mathrm{min} - v_n)$, by the limits of the node's band | pu |
| $p_u$, $q_u$ | active and reactive power of unit $u$, positive into the grid | kW, kvar |
| $p_u^\\mathrm{av}$ | available PV power | kW |
| $\\rho_u$, $U$ | share of its available PV energy that unit $u$ fed in so far; number of PV units of the feeder | 1 |
| $P^\\mathrm{src}$, $P^\\mathrm{loss}$ | import from the source, losses of the feeder | kW |
| $k_t$, $\\sigma_s$ | position of tap $t$; whether switch or capacitor step $s$ is closed | |
| $\\ell_b$ | loading of branch $b$, current over rating | 1 |
| $c$, $P^\\mathrm{max}$ | price; import limit | 1/kWh, kW |
| $E_i$, $m_i$ | energy stored in device $i$; energy that it owed and did not deliver, times its priority | kWh |
| $d_l$, $w_l$ | power that load $l$ would draw while it is de-energised, else 0; its priority | kW, 1 |
| $v_m^\\mathrm{est}$, $M$ | estimated voltage of node $m$; number of estimated nodes of the feeder | pu |
| $\\Delta t$ | length of the interval, `dt_h` | h |
| $[\\ldots]$ | 1 if true, else 0 | |
| $x$, $x^-$ | a quantity after and before the step | |
"""
OBSERVATIONS = """# Observations

`observations: [zone_voltage, load, ...]` in a scenario, or `make(..., observations=[...])`, concatenates these features in the
order given. All agents have the same columns: where a zone has fewer units, taps or switches than another, the rest is 0.
Values are scaled to order 1, as the unit says, and clipped to the range.
`env.labels("zone_1")` prints the meaning and unit of each entry of an agent's observation.
Agents observe the *coming* interval ([one step](../guide/environments.md)). Your own is a function of (zone, state):
[CONTRIBUTING](../../CONTRIBUTING.md).

"""
REWARD_HEAD = """# Reward terms

`rewards: {voltage_violation: 100, loss: 1}` weights terms $r_k$ of each zone $z$. The team's reward of a step is

$$R = \\sum_k w_k \\sum_{z=1}^{Z} r_{k,z}$$

`reward_sharing` decides what each agent gets of it: `team` all of $R$, `zone` the part $\\sum_k w_k r_{k,z}$ of its zone, `agent` the terms over
its own view, `difference` $R$ minus the $R$ had the agent held. A term is at most 0, except for revenues.
Your own is a function of (zone, before, after): [CONTRIBUTING](../../CONTRIBUTING.md).
"""
COST_HEAD = """# Costs

Costs are for constrained methods: `infos[agent]["cost/NAME"]` has those that the scenario lists under `costs`, for the agent's zone. They are at least 0, never part
of the reward. Your own is a function of (zone, before, after): [CONTRIBUTING](../../CONTRIBUTING.md).
"""


def pages() -> Iterator[tuple[str, str]]:
    """The three pages."""
    yield "reference/observations.md", observations_page()
    yield "reference/rewards.md", _terms_page(REWARD_HEAD, REWARDS, "rewards")
    yield "reference/costs.md", _terms_page(COST_HEAD, COSTS, "costs")


def observations_page() -> str:
    """A table of all features, then each with what it is."""
    own = {name: one for name, one in KNOWN.items() if one.function.__module__.startswith("dss_marl.")}
    rows = [
        (f"[`{name}`](#observation-{name.replace('_', '-')})", _entries(one), f"`{one.unit}`", _range(one))
        for name, one in own.items()
    ]
    parts = [OBSERVATIONS, table(("feature", "entries", "unit", "clipped to"), rows)]
    for name, one in own.items():
        labels = ", ".join(f"*{label} ...*" if one.per else f"*{label}*" for label in one.labels)
        parts.append(
            f"(observation-{name.replace('_', '-')})=\n## {name}\n\n{text_of(one.function)}\n\n"
            f"Labels: {labels}. Unit `{one.unit}`, {_range(one)}. {_scenarios(name, 'observations')}\n"
        )
    return "\n".join(parts)


def _entries(one: Feature) -> str:
    each = {
        "units": "unit", "pv_units": "PV unit", "meters": "metered node", "borders": "branch to another zone",
        "bus_rows": "bus", "node_rows": "node", "own_units": "unit of the agent",
        "hours": "interval of the forecast", "taps": "regulator", "capacitors": "capacitor step", "switches": "switch",
        "telemetry": "device's telemetry", "actions": "entry of the action", "kinds": "kind of device", "names": "agent",
    }  # fmt: skip
    return f"one per {each[one.per]}" if one.per else str(len(one.labels))


def _range(one: Feature) -> str:
    return f"{one.low:g} to {one.high:g}"


def _terms_page(head: str, terms: Mapping[str, Term], key: str) -> str:
    rows = [
        (f"[`{name}`](#{key}-{name.replace('_', '-')})", unit_of(text_of(term).split("\n\n")[0]), formula_of(term))
        for name, term in terms.items()
    ]
    parts = [head, f"## All\n\n{table(('term', 'unit', 'contribution of zone z'), rows)}", "Symbols:\n", SYMBOLS]
    for name, term in terms.items():
        text = text_of(term).removeprefix("Cost: ")
        text = text[:1].upper() + text[1:]
        formula = formula_of(term)
        shown = f"$${formula.strip('$')}$$\n\n" if formula else ""
        anchor = f"({key}-{name.replace('_', '-')})="
        parts.append(f"{anchor}\n## {name}\n\n{text}\n\n{shown}{_scenarios(name, key)}\n")
    return "\n".join(parts)


def _scenarios(name: str, key: str) -> str:
    found = used_in(key, name)
    if not found:
        return "Not used by a shipped scenario."
    links = [f"[{one}](../scenarios/{one}.md)" for one in found[:6]]
    more = f" and {len(found) - 6} more" if len(found) > 6 else ""
    return f"Used by {', '.join(links)}{more}."
