"""Suite: the table of all scenarios, from their committed results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dss_marl._assets import known_names, read_text
from dss_marl.envs.scenario import Scenario
from dss_marl.envs.scenario_files import load_scenario
from dss_marl.experiments.shipped.learned_table import ABOUT, HEADS, learned_table
from dss_marl.experiments.shipped.shipping import has_policy
from dss_marl.experiments.study.report import table as markdown
from dss_marl.experiments.validation.check import CHECKS, failures
from dss_marl.experiments.validation.result_files import PROOF, Result, load, stale_reason
from dss_marl.experiments.validation.standings import Standing, best_rule, days_text
from dss_marl.mdp.return_statistics import mean_interval

START, END = "<!-- suite -->", "<!-- /suite -->"
LEARNED = ("<!-- learned -->", "<!-- /learned -->")  # what policies that ship have learned, where a README has these
COMMON = ("no_control", "droop", "opendss_controls", "tuned_droop")
_COMMON_BRIEF = ("no_control", "opendss_controls")
IN_BRIEF = ("ieee34_volt_var", "ieee13_microgrid", "ieee123_restoration")  # in the README, if they have results
_MORE = "[docs/suite.md](docs/suite.md) has all {count} scenarios, and what their proofs require.\n"
_DETAILS = (
    "The site has a page for each scenario, with intervals, further figures and the results of all checks; their data "
    "are in `results/`.\n"
)
_NOTE = (
    "Mean return over the frozen test days and, in brackets, the score: 0 is `opendss_controls` (without it "
    "`no_control`), 1 the reference controller. The best rule is the strongest one without foresight. `best_known` "
    "replays the best plans found. *To be made again*: the numbers are of an earlier version of the scenario.\n"
)
_FIGURES = {"team_return": "return", "controllable_rate": "controllable rate", "loss_kwh": "losses [kWh]"}


def write_suite(root: Path) -> list[Path]:
    """Write ``docs/suite.md``, and the block between the markers of ``README.md``, of a checkout.

    Args:
        root: of the checkout.

    Returns:
        the files written.

    Raises:
        ValueError: not a checkout, the README has no markers, or no scenario has results.
    """
    readme, text = readme_of(root)
    results = committed(root / "results")
    if not results:
        raise ValueError("no scenario has results; 'dss-marl validate NAME' writes them")
    text = _with_block(text, (START, END), f"{brief(results)}\n{_MORE.format(count=len(results))}")
    if all(text.count(marker) == 1 for marker in LEARNED):
        text = _with_block(text, LEARNED, learned(root / "policies"))
    readme.write_text(text, encoding="utf-8")
    page = root / "docs" / "suite.md"
    page.parent.mkdir(exist_ok=True)
    page.write_text(whole(results), encoding="utf-8")
    return [readme, page]


def _with_block(text: str, markers: tuple[str, str], block: str) -> str:
    """The text with a block between two markers."""
    before, rest = text.split(markers[0])
    return f"{before}{markers[0]}\n{block}{markers[1]}{rest.split(markers[1])[1]}"


def learned(folder: Path) -> str:
    """The table of what the policies in a folder have learned, with what its columns say."""
    places = sorted(place for place in folder.glob("*") if has_policy(place))
    if not places:
        return "No policy ships so far.\n"
    return f"{markdown(HEADS, learned_table(places))}\n{ABOUT}"


def readme_of(root: Path) -> tuple[Path, str]:
    """The README of a checkout, and its text.

    Raises:
        ValueError: not a checkout, or the README has no markers.
    """
    readme = root / "README.md"
    if not readme.is_file() or not (root / "results").is_dir():
        raise ValueError(f"{str(root)!r} is not a checkout of the package: it lacks README.md or results/")
    text = read_text(readme, repr(str(readme)))
    if text.count(START) != 1 or text.count(END) != 1:
        raise ValueError(f"{str(readme)!r} must hold the lines {START} and {END} once each, which enclose the table")
    return readme, text


def committed(folder: Path) -> dict[str, Result]:
    """Name to results of each shipped scenario that has results."""
    return {name: load(folder / name) for name in known_names("scenarios") if (folder / name / PROOF).is_file()}


def brief(results: dict[str, Result]) -> str:
    """The README's table: sizes, mean return and score of a few scenarios, of different kinds."""
    shown = {name: results[name] for name in IN_BRIEF if name in results} or results
    heads = ["scenario", "agents", "devices", "nodes", *_COMMON_BRIEF, "best rule", "reference", "proof"]
    rows = [
        [f"`{name}`", *_sizes(result.metadata)[:3], *_cells(result, _COMMON_BRIEF), _verdict(result)]
        for name, result in shown.items()
    ]
    return f"{_markdown(heads, rows)}\n{_NOTE}"


def _rows(results: dict[str, Result]) -> list[list[str]]:
    """A line for each scenario: sizes, mean return and score of the common controllers, verdict."""
    return [
        [f"`{name}`", *_sizes(result.metadata), *_cells(result, COMMON), _bound(result), _verdict(result)]
        for name, result in results.items()
    ]


def _cells(result: Result, common: Sequence[str]) -> list[str]:
    """The common controllers, the best rule and the reference controller."""
    found = {one.controller: one for one in result.standings}
    best = best_rule(result.standings)
    named = f"{best.controller}: {_scored(best)}" + _on_days(best, result) if best else ""
    return [*(_scored(found[name]) if name in found else "" for name in common), named, _best(result, found)]


def _verdict(result: Result) -> str:
    """Passed, or the checks that failed; those not made; whether it is of an earlier version, or a tutorial."""
    failed = sorted({row.check for row in failures(result.rows)})
    verdict = "passed" if result.passed else f"fails {', '.join(f'({check})' for check in failed)}"
    missing = [f"({check})" for check in CHECKS if check not in {row.check for row in result.rows}]
    verdict += f", without {', '.join(missing)}" if missing else ""
    name = str(result.metadata["scenario"])
    if name in known_names("scenarios") and stale_reason(load_scenario(name), result):
        verdict = f"to be made again: {verdict}"
    return f"{verdict}; tutorial" if result.tutorial else verdict


def _without(results: dict[str, Result]) -> str:
    """The shipped scenarios without results: tested to run, but not validated."""
    rest = [f"`{name}`" for name in known_names("scenarios") if name not in results]
    return f"\nTested to run, but not validated so far: {', '.join(rest)}.\n" if rest else ""


def whole(results: dict[str, Result]) -> str:
    """The page: the criteria, and a line for each scenario."""
    heads = ["scenario", "agents", "devices", "nodes", "steps", *COMMON, "best rule", "reference", "bound", "proof"]
    head = ["# The suite\n", "Written by `dss-marl suite` from `results/`; do not edit.\n", _rules()]
    return "\n".join([*head, _markdown(heads, _rows(results)), f"{_NOTE}{_without(results)}", _DETAILS])


def provenance(result: Result, scenario: Scenario) -> str:
    """Whether the proof passed, with which version and on which days; says if it is stale."""
    about, reason = result.metadata, stale_reason(scenario, result)
    stale = f" **{reason[:1].upper()}{reason[1:]}.**" if reason else ""
    proof = "passed" if result.passed else "did not pass: it " + _verdict(result)
    commit = f", commit {about['commit'][:12]}" if about["commit"] else ""
    days = ", ".join(map(str, about["days"]))
    label = " It is a tutorial: no score of the suite counts it." if result.tutorial else ""
    bound = f" Bound: {result.bounds.says}." if result.bounds is not None else ""
    claim = f"`{about['reference_controller']}` is {result.claim}"
    return f"Proof {proof} with version {about['version']}{commit}, on test days {days}.{stale}{label} {claim}.{bound}"


def figures_table(result: Result) -> str:
    """Every controller's return, controllable rate, losses and score, with intervals; the highest score first."""
    figures = [f for f in _FIGURES if any(any(own.get(f, ())) for own in result.figures.values())]
    every, rows = len(result.metadata["days"]), []
    for one in result.standings:
        own = result.figures[one.controller]
        cells = [_interval(mean_interval(own[figure])) for figure in figures]
        score = _interval(one.score, 2) if one.score else ""
        rows.append([f"`{one.controller}`", days_text(one.days, every), *cells, score])
    return _markdown(["controller", "days", *(_FIGURES[f] for f in figures), "score"], rows)


def _rules() -> str:
    """The criteria of the proof, as text."""
    from dss_marl.experiments.validation.budget import MANY_DAYS
    from dss_marl.experiments.validation.day_coverage import FIFTH, HALF, MINUTE_S
    from dss_marl.experiments.validation.headroom import HEADROOM
    from dss_marl.experiments.validation.plan_challenge import GAIN
    from dss_marl.experiments.validation.ranking import MARGIN, TIE, UNBEATEN
    from dss_marl.experiments.validation.trivial_policies import CLEARLY

    return (
        "Each scenario is validated by `dss-marl validate NAME` on frozen test days, with 95 % bootstrap intervals "
        "over days. Its range is the mean return from the controller that scores 0 to the one that scores 1."
        f"\n\n(a) The reference controller gains at least {MARGIN:.0%} of the return of no control and of "
        "the circuit's own controls, with an interval above zero, and on at least "
        f"{UNBEATEN:.0%} of the days no other controller outperforms it; relative differences below {TIE:g} are a "
        "tie. The margin is small because in some tasks most of the return, such as an energy bill, is fixed. "
        "(b) The best of a grid of constant actions, the best constant found by a search from there, and the "
        "reference controller restricted to any single device fall short of it by at least "
        f"{CLEARLY:.0%} of its gain; where days are slow to simulate, all devices are screened on recorded actions, "
        "and the best three are tested. (c) Every reward term and cost is non-zero under some controller, and differs "
        "between controllers. (d) Every device affects the return. (e) On every stress split some key figure differs "
        "from the test days. (f) The best controller restricted to each zone's own information falls short. "
        "(g) Under all reference controllers the voltages of energised nodes stay within 0.5 to 1.5 pu, and the "
        "energy balance agrees with the losses of OpenDSS's elements. "
        f"(h) The best rule without foresight falls short by at least {HEADROOM:.0%} of the range; a scenario in which "
        "one comes closer is labelled a tutorial, and no score of the suite counts it. "
        f"(i) A plan is not improved by setting any group of its entries neutral, nor by more than {GAIN:.1%} of the "
        "range by single changes or a restart without reactive power: half of the last digit of a score. "
        f"(j) No {FIFTH:.0%} of the days carries more than {HALF:.0%} of the range, the test days meet every fault, "
        f"and there are at least {MANY_DAYS} of them where a day takes less than {MINUTE_S:g} s to plan. "
        "(k) No rule goes beyond the range of the agents' actions, and some curve of the inverters goes as far as they "
        "do.\n\n"
        "*Bound*: what no controller exceeds, by a relaxation, and in brackets how far the reference may be from it at "
        "most, as a share of what can be won. *optimum*: the plans are optimal over the positions of the device. "
        "Elsewhere `best_known` is the best plan found, and may be beaten.\n"
    )


def checks_table(result: Result) -> str:
    """Every check of the proof: what was measured, what is required, and whether it passed."""
    rows = [
        [row.check, row.what, row.measured, row.demanded, {True: "pass", False: "FAIL", None: ""}[row.passed], row.note]
        for row in result.rows
    ]
    return _markdown(["", "what", "measured", "required", "", "basis"], rows)


def _sizes(metadata: dict[str, object]) -> list[str]:
    dt_h = float(str(metadata["dt_h"]))
    return [str(metadata[key]) for key in ("agents", "devices", "nodes")] + [f"{metadata['steps']} x {60 * dt_h:g} min"]


def _scored(one: Standing) -> str:
    mean = f"{one.returned[0]:.3g}"
    return f"{mean} ({one.score[0]:.2f})" if one.score is not None else mean


def _on_days(one: Standing, result: Result) -> str:
    every = len(result.metadata["days"])
    return "" if len(one.days) == every else f", on {days_text(one.days, every)} days"


def _best(result: Result, found: dict[str, Standing]) -> str:
    reference = result.metadata["reference_controller"]
    return f"{reference}: {found[reference].returned[0]:.3g}"


def _bound(result: Result) -> str:
    """What is known of the reference controller's distance from the optimum."""
    bounds, claim = result.bounds, result.claim
    if bounds is not None and "bound" in claim:
        return f"{np.mean(list(bounds.returns.values())):.3g} ({claim.split(' of the range')[0]})"
    return "optimum" if claim.startswith("the optimum") else ""


def _interval(ends: tuple[float, float, float], decimals: int | None = None) -> str:
    mean, low, high = (f"{x:.4g}" if decimals is None else f"{x:.{decimals}f}" for x in ends)
    return mean if ends[1] == ends[2] else f"{mean} ({low} to {high})"


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "/") for cell in line) + " |" for line in lines) + "\n"
