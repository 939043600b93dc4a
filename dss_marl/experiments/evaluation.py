"""Evaluation: controllers on the same days, with intervals over days."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import numpy as np

from dss_marl._assets import write_text
from dss_marl.controllers import (
    Controller,
    PlanReplay,
    acts_with,
    own_variant,
    place_of,
    reference,
    uses_circuit_controls,
)
from dss_marl.envs.scenario import Scenario
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.experiments.game_figures import RETURN
from dss_marl.experiments.metrics import FIGURES, EpisodeFigures, about_figure, normalised_score
from dss_marl.grid.state import Array, GridState
from dss_marl.mdp.return_statistics import mean_interval
from dss_marl.profiles.splits import seed_of

Watch = Callable[[GridState], None]
TRAINED_ON = ", on "  # between a policy and the engine that it was trained on, in the name of its row


def environment_for(controller: Controller, scenario: Scenario, split: str) -> ZoneEnv:
    """The scenario as the controller uses it: its own variant, and the circuit's own controls where it relies on them.

    If these leave a zone without devices, there is one agent per remaining device instead of one per zone.
    """
    scenario = own_variant(controller, scenario)
    if not uses_circuit_controls(controller):
        return ZoneEnv(scenario, split)
    changed = scenario.under_circuit_controls()
    try:
        return ZoneEnv(changed, split)
    except ValueError:
        if scenario.agents != "zone":
            raise
        return ZoneEnv(changed.replace(agents="device"), split)


def available_controllers(
    scenario: Scenario, names: Iterable[str], day: int | None = None
) -> tuple[dict[str, Controller], dict[str, str]]:
    """The reference controllers, of those named, that support the scenario.

    Args:
        scenario: to run.
        names: of reference controllers.
        day: on which each is reset; None: the first test day.

    Returns:
        the controllers that reset without error, and the error message of each of the others.
    """
    found: dict[str, Controller] = {}
    refused: dict[str, str] = {}
    envs: dict[tuple[bool, str], ZoneEnv] = {}
    for name in names:
        try:
            controller = reference(name, scenario)
            kind = place_of(controller, scenario)
            if kind not in envs:
                env = environment_for(controller, scenario, "test")
                first = env.days[0] if day is None else day
                env.reset(seed=first, options={"day": first})
                envs[kind] = env  # only once it is reset: a day that does not exist refuses every controller
            controller.reset(envs[kind])
        except (ValueError, ImportError) as error:
            refused[name] = str(error)
        else:
            found[name] = controller
    for env in envs.values():
        env.close()
    return found, refused


def run_day(env: ZoneEnv, controller: Controller, day: int, watch: Watch | None = None) -> dict[str, float]:
    """Key figures of one day; ``watch`` is called with every state operated.

    The date is also the seed: noise, lost messages, faults and attacks are the same in every run of the day, and in a
    stress split the same as on the test day of that date.
    """
    observations, _ = env.reset(seed=seed_of(day), options={"day": day})
    controller.reset(env)
    figures = EpisodeFigures(env.task)
    while env.agents:
        observations, _, terminations, _, _ = env.step(controller.act(env, observations))
        if any(terminations.values()):
            figures.fail(env.team_reward)
            break
        assert env.before is not None and env.after is not None
        figures.add(env.before, env.after, env.team_reward)
        if watch:
            watch(env.after)
    return figures.result()


def evaluate(
    controller: Controller, scenario: Scenario, days: Sequence[int] | None = None, split: str = "test"
) -> list[dict[str, float]]:
    """Key figures of a controller for each day; by default all days of the split."""
    env = environment_for(controller, scenario, split)
    try:
        return [run_day(env, controller, day) for day in (env.days if days is None else days)]
    finally:
        env.close()


@dataclass(frozen=True)
class ComparisonTable:
    """Controllers side by side on the same days.

    Attributes:
        scenario: name.
        split: name of the split.
        days: day numbers.
        figures: controller name to one dict of key figures per day.
        reference_controller: the controller that scores 1.
        left_out: controllers that are not in the table, and why.
        trained_on: figures of a run's policy on the engine that it was trained on, by a name such as "learned, on
            batched"; empty if that was OpenDSS, which all other figures are of.
        acts_with: what controllers have that the scenario as it stands has not, by controller.
    """

    scenario: str
    split: str
    days: tuple[int, ...]
    figures: Mapping[str, list[dict[str, float]]]
    reference_controller: str = "best_known"
    left_out: Mapping[str, str] = field(default_factory=dict)
    trained_on: Mapping[str, list[dict[str, float]]] = field(default_factory=dict)
    acts_with: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return (
            f"ComparisonTable({self.scenario!r}, {self.split}: {len(self.days)} days under {', '.join(self.figures)})"
        )

    def column(self, controller: str, figure: str) -> Array:
        """(days) a controller's figure on each day."""
        rows = self.figures[controller] if controller in self.figures else self.trained_on[controller]
        return np.array([row.get(figure, 0.0) for row in rows])  # a table of an earlier version may lack it

    def better_days(self, controller: str, other: str) -> float:
        """Share of days on which ``controller`` has the higher team return."""
        return float((self.column(controller, "team_return") > self.column(other, "team_return")).mean())

    @property
    def zero(self) -> str | None:
        """The controller that scores 0, provided that the reference controller is present and has a higher return."""
        for name in ("opendss_controls", "no_control"):
            if name in self.figures and self.reference_controller in self.figures:
                gain = (
                    self.column(self.reference_controller, "team_return").mean()
                    - self.column(name, "team_return").mean()
                )
                return name if gain > 0 else None
        return None

    def score(self, controller: str) -> tuple[float, float, float]:
        """A controller's normalised score, see metrics.normalised_score, with its 95 % interval.

        Raises:
            ValueError: the controllers that score 0 and 1 are missing.
        """
        if self.zero is None:
            raise ValueError(
                f"a score needs opendss_controls or no_control, and {self.reference_controller} with a higher return"
            )
        zero, one = self.column(self.zero, "team_return"), self.column(self.reference_controller, "team_return")
        return normalised_score(self.column(controller, "team_return"), zero, one)

    def shown(self) -> list[str]:
        """Figures that get a column: those that are not zero everywhere, and the scenario's own costs."""
        days = [row for rows in self.figures.values() for row in rows]
        own = [f for f in days[0] if f not in FIGURES and all(f in row for row in days)] if days else []
        own = [f for f in own if not f.startswith(RETURN)]  # one for each zone: in table.json
        return [f for f in FIGURES if any(self.column(c, f).any() for c in self.figures)] + own

    def rows(self, compared: str | None = None) -> tuple[list[str], list[list[str]]]:
        """Headings and cells: the mean over days and its 95 % bootstrap interval.

        Args:
            compared: a controller; the last column then counts the days on which it has the higher team return.
        """
        names = self.shown()
        heads = [
            "controller",
            *(heading + (f" [{unit}]" if unit else "") for unit, heading, _ in map(about_figure, names)),
        ]
        if self.zero is not None:
            heads.append(f"score (0 {self.zero}, 1 {self.reference_controller})")
        cells = []
        for controller in (*self.figures, *self.trained_on):
            row = [controller, *(_cell(*mean_interval(self.column(controller, f))) for f in names)]
            if self.zero is not None:
                row.append(_cell(*self.score(controller)))
            if compared is not None and compared in self.figures:
                won = round(self.better_days(compared, controller) * len(self.days))
                same = controller == compared or controller in self.trained_on
                row.append("" if same else f"{won} of {len(self.days)}")
            cells.append(row)
        return heads + ([f"days {compared} is better"] if compared in self.figures else []), cells

    def variants(self) -> list[str]:
        """For each controller that acts in a variant of the scenario, what is different."""
        return [f"{name} acts with {what}" for name, what in self.acts_with.items()]

    def remarks(self) -> list[str]:
        """For each policy that was trained on another engine, how far its return there is from that on OpenDSS."""
        remarks = []
        for name in self.trained_on:
            policy, _, engine = name.partition(TRAINED_ON)
            off = self.column(name, "team_return") - self.column(policy, "team_return")
            mean, low, high = mean_interval(off)
            remarks.append(
                f"{policy} was trained on engine {engine!r}; its return there minus that on OpenDSS is {mean:+.2g} a "
                f"day ({low:+.2g} to {high:+.2g}), at most {np.abs(off).max():.2g} on one"
            )
        return remarks

    def markdown(self, compared: str | None = None) -> str:
        """The table as Markdown, one line per controller, and what is left out."""
        heads, cells = self.rows(compared)
        lines = [heads, ["---"] * len(heads), *cells]
        rows = ["| " + " | ".join(line) + " |" for line in lines]
        rows += [text for remark in (*self.variants(), *self.remarks()) for text in ("", remark)]
        if self.left_out:
            rows += ["", "Left out:", "", *(f"- `{name}`: {reason}" for name, reason in self.left_out.items())]
        return "\n".join(rows) + "\n"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        heads, cells = self.rows()
        lines = [_html_row("th", heads), *(_html_row("td", row) for row in cells)]
        left_out = [f"<p>{escape(f'{name} left out: {reason}')}</p>" for name, reason in self.left_out.items()]
        return "\n".join(["<table>", *lines, "</table>", *left_out])

    def save(self, folder: Path, compared: str | None = None) -> None:
        """Write ``table.md`` and, day by day, ``table.json`` into a folder."""
        write_text(folder / "table.md", self.markdown(compared))
        data = {"scenario": self.scenario, "split": self.split, "days": self.days, "figures": dict(self.figures)}
        data["left_out"] = dict(self.left_out)
        if self.acts_with:
            data["acts_with"] = dict(self.acts_with)
        if self.trained_on:
            data["trained_on"] = dict(self.trained_on)
        write_text(folder / "table.json", json.dumps(data, indent=1))


def _html_row(tag: str, cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(cell).replace(' (', '<br>(')}</{tag}>" for cell in cells) + "</tr>"


def _cell(mean: float, low: float, high: float) -> str:
    digits = max(0, 2 - int(np.floor(np.log10(max(abs(mean), abs(high - low), 1e-12)))))
    digits = min(digits, 4)
    if low == high:
        return f"{mean:.{digits}f}"
    return f"{mean:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def evaluate_all(
    controllers: Mapping[str, Controller],
    scenario: Scenario,
    split: str = "test",
    most_days: int | None = None,
    progress: Callable[[Iterable[str]], Iterable[str]] = lambda names: names,
) -> ComparisonTable:
    """All controllers on the same days of a split, the first ``most_days`` of those that all controllers support.

    Raises:
        ValueError: no day of the split has a plan.
    """
    days = ZoneEnv(scenario, split).days
    for controller in controllers.values():
        if isinstance(controller, PlanReplay):
            days = tuple(day for day in days if day in controller.days)
    if not days:
        raise ValueError(f"no {split} day of scenario {scenario.name!r} has a plan; run 'dss-marl solve' for test days")
    days = days[:most_days]
    figures = {name: evaluate(controllers[name], scenario, days, split) for name in progress(controllers)}
    return ComparisonTable(
        scenario.name, split, tuple(days), figures, scenario.reference_controller, acts_with=variants_of(controllers)
    )


def variants_of(controllers: Mapping[str, Controller]) -> dict[str, str]:
    """What each controller that acts in a variant of the scenario has; see ``acts_with``."""
    return {name: acts_with(one) for name, one in controllers.items() if acts_with(one)}
