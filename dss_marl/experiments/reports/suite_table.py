"""Suite: the table of all scenarios, from their committed results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dss_marl._assets import known_names, read_text
from dss_marl.envs.scenario import Scenario
from dss_marl.experiments.evaluation import ComparisonTable
from dss_marl.experiments.validation.check import failures
from dss_marl.experiments.validation.result_files import PROOF, Result, load, scenario_digest
from dss_marl.mdp.return_statistics import mean_interval

START, END = "<!-- suite -->", "<!-- /suite -->"
COMMON = ("no_control", "droop", "opendss_controls", "tuned_droop")
IN_BRIEF = ("ieee34_volt_var", "ieee13_microgrid", "ieee123_restoration")  # in the README, if they have results
_MORE = "[docs/suite.md](docs/suite.md) has all {count} scenarios, and what their proofs require.\n"
_DETAILS = (
    "The site has a page for each scenario, with intervals, further figures and the results of all checks; their data "
    "are in `results/`.\n"
)
_NOTE = (
    "Mean return over the frozen test days and, in brackets, the score: 0 is `opendss_controls` (without it "
    "`no_control`), 1 the reference controller.\n"
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
    before, rest = text.split(START)
    readme.write_text(
        f"{before}{START}\n{brief(results)}\n{_MORE.format(count=len(results))}{END}{rest.split(END)[1]}",
        encoding="utf-8",
    )
    page = root / "docs" / "suite.md"
    page.parent.mkdir(exist_ok=True)
    page.write_text(whole(results), encoding="utf-8")
    return [readme, page]


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
    heads = [
        "scenario",
        "agents",
        "devices",
        "nodes",
        "no_control",
        "opendss_controls",
        "best rule",
        "reference",
        "proof",
    ]
    shown = {name: results[name] for name in IN_BRIEF if name in results} or results
    rows = []
    for name, result in shown.items():
        table = result.table()
        rules = [one for one in ("droop", "tuned_droop", best_rule(table)) if one in table.figures]
        rule = max(rules, key=lambda one: float(table.column(one, "team_return").mean()), default="")
        of_rule = f"{rule}: {_scored(table, rule)}" if rule else ""
        cells = [_scored(table, one) for one in ("no_control", "opendss_controls")]
        rows.append([f"`{name}`", *_sizes(result.metadata)[:3], *cells, of_rule, _best(table), _verdict(result)])
    return f"{_markdown(heads, rows)}\n{_NOTE}"


def _rows(results: dict[str, Result]) -> list[list[str]]:
    """A line for each scenario: sizes, mean return and score of the common controllers, verdict."""
    rows = []
    for name, result in results.items():
        table, metadata = result.table(), result.metadata
        cells = [_scored(table, one) for one in COMMON]
        rule = best_rule(table)
        of_rule = f"{rule}: {_scored(table, rule)}" if rule else ""
        rows.append([f"`{name}`", *_sizes(metadata), *cells, of_rule, _best(table), _verdict(result)])
    return rows


def _verdict(result: Result) -> str:
    """Passed, or the checks that failed."""
    failed = sorted({row.check for row in failures(result.rows)})
    return "passed" if result.passed else f"fails {', '.join(f'({check})' for check in failed)}"


def _without(results: dict[str, Result]) -> str:
    """The shipped scenarios without results: tested to run, but not validated."""
    rest = [f"`{name}`" for name in known_names("scenarios") if name not in results]
    return f"\nTested to run, but not validated so far: {', '.join(rest)}.\n" if rest else ""


def whole(results: dict[str, Result]) -> str:
    """The page: the criteria, and a line for each scenario."""
    heads = ["scenario", "agents", "devices", "nodes", "steps", *COMMON, "best rule", "reference", "proof"]
    head = ["# The suite\n", "Written by `dss-marl suite` from `results/`; do not edit.\n", _rules()]
    return "\n".join([*head, _markdown(heads, _rows(results)), f"{_NOTE}{_without(results)}", _DETAILS])


def provenance(result: Result, scenario: Scenario) -> str:
    """Whether the proof passed, with which version and on which days; says if the scenario has changed since."""
    about = result.metadata
    stale = "" if about["digest"] == scenario_digest(scenario) else " **The scenario has changed since.**"
    proof = "passed" if result.passed else "did not pass: it " + _verdict(result)
    commit = f", commit {about['commit'][:12]}" if about["commit"] else ""
    days = ", ".join(map(str, about["days"]))
    return f"Proof {proof} with version {about['version']}{commit}, on test days {days}.{stale}"


def figures_table(result: Result) -> str:
    """Every controller's return, controllable rate, losses and score, with intervals; worst return first."""
    table = result.table()
    figures = [f for f in _FIGURES if any(table.column(c, f).any() for c in table.figures)]
    rows = []
    for controller in sorted(table.figures, key=lambda c: table.column(c, "team_return").mean()):
        cells = [_interval(table, controller, figure) for figure in figures]
        rows.append([f"`{controller}`", *cells, _score(table, controller)])
    return _markdown(["controller", *(_FIGURES[f] for f in figures), "score"], rows)


def _rules() -> str:
    """The criteria of the proof, as text."""
    from dss_marl.experiments.validation.ranking import MARGIN, TIE, UNBEATEN
    from dss_marl.experiments.validation.trivial_policies import CLEARLY

    return (
        "Each scenario is validated by `dss-marl validate NAME` on frozen test days, with 95 % bootstrap intervals "
        f"over days.\n\n(a) The reference controller gains at least {MARGIN:.0%} of the return of no control and of "
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
        "energy balance agrees with the losses of OpenDSS's elements.\n"
    )


def checks_table(result: Result) -> str:
    """Every check of the proof: what was measured, what is required, and whether it passed."""
    rows = [
        [row.check, row.what, row.measured, row.demanded, {True: "pass", False: "FAIL", None: ""}[row.passed], row.note]
        for row in result.rows
    ]
    return _markdown(["", "what", "measured", "required", "", "basis"], rows)


def best_rule(table: ComparisonTable) -> str:
    """The rule-based controller with the highest mean return, other than the common ones; "" if there is none."""
    known = ("random", "greedy", "zone_greedy", table.reference_controller, *COMMON)
    rules = [name for name in table.figures if name not in known]
    return max(rules, key=lambda name: float(table.column(name, "team_return").mean()), default="")


def _sizes(metadata: dict[str, object]) -> list[str]:
    dt_h = float(str(metadata["dt_h"]))
    return [str(metadata[key]) for key in ("agents", "devices", "nodes")] + [f"{metadata['steps']} x {60 * dt_h:g} min"]


def _scored(table: ComparisonTable, controller: str) -> str:
    if controller not in table.figures:
        return ""
    mean = f"{table.column(controller, 'team_return').mean():.3g}"
    return f"{mean} ({table.score(controller)[0]:.2f})" if table.zero is not None else mean


def _best(table: ComparisonTable) -> str:
    return f"{table.reference_controller}: {table.column(table.reference_controller, 'team_return').mean():.3g}"


def _interval(table: ComparisonTable, controller: str, figure: str) -> str:
    mean, low, high = mean_interval(table.column(controller, figure))
    return f"{mean:.4g}" if low == high else f"{mean:.4g} ({low:.4g} to {high:.4g})"


def _score(table: ComparisonTable, controller: str) -> str:
    if table.zero is None:
        return ""
    mean, low, high = table.score(controller)
    return f"{mean:.2f}" if low == high else f"{mean:.2f} ({low:.2f} to {high:.2f})"


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "/") for cell in line) + " |" for line in lines) + "\n"
