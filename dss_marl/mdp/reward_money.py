"""Reward weights in money: dollars per natural unit, and where a weight differs from the table of unit costs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from dss_marl.mdp.unit_costs import DOLLARS, UNIT_COSTS, UnitCost

CLOSE = 0.1  # relative difference up to which a weight agrees with the table


@dataclass(frozen=True)
class _Priced:
    """A term that has a price.

    Attributes:
        example: an amount in words; "{step}" stands for the length of a step.
        amount: of the term in the example.
        cost: name of its unit cost, by the kinds of device of the scenario; None: the term is money itself.
        units: of the unit cost in 1 of the term, by the length of a step [h].
    """

    example: str
    amount: float
    cost: Callable[[Collection[str]], str] | None
    units: Callable[[float], float]


def _always(name: str) -> Callable[[Collection[str]], str]:
    return lambda kinds: name


def _generated(kinds: Collection[str]) -> str:
    return "diesel_energy" if "generator" in kinds else "energy"


def _one(dt_h: float) -> float:
    return 1.0


def _kwh_of_mwh(dt_h: float) -> float:
    return 1000.0


def _hours(dt_h: float) -> float:
    return dt_h


_PRICED = {
    "loss": _Priced("1 MW for {step}", 1, _always("energy"), _hours),
    "converter_loss": _Priced("1 MW for {step}", 1, _always("energy"), _hours),
    "energy_cost": _Priced("1 $ of the bill", 1, None, _one),
    "excess_cost": _Priced("1 $ of the bill", 1, None, _one),
    "private_bill": _Priced("1 $ of a member's bill", 1, None, _one),
    "crew_cost": _Priced("1 $ of the crews", 1, None, _one),
    "unserved": _Priced("1 kWh of a normal load", 0.001, _always("lost_load"), _kwh_of_mwh),
    "unserved_device_energy": _Priced("1 kWh", 0.001, _always("device_energy"), _kwh_of_mwh),
    "curtailment": _Priced("1 kWh", 0.001, _always("curtailed_pv"), _kwh_of_mwh),
    "import_excess": _Priced("1 kWh", 0.001, _always("import_excess"), _kwh_of_mwh),
    "caused_excess": _Priced("1 kWh", 0.001, _always("import_excess"), _kwh_of_mwh),
    "fuel": _Priced("1 l of diesel", 1, _always("diesel_fuel"), _one),
    "battery_use": _Priced("1 MWh in or out", 1, _always("battery_wear"), _one),
    "stored_energy": _Priced("1 MWh", 1, _generated, _one),
    "generation": _Priced("1 MWh", 1, _generated, _one),
    "tap_moves": _Priced("1 move", 1, _always("tap_move"), _one),
    "capacitor_moves": _Priced("1 operation", 1, _always("capacitor_operation"), _one),
    "switch_moves": _Priced("1 operation", 1, _always("switch_operation"), _one),
}
_PENALTIES = {  # an amount of the term, in words and as a number
    "voltage_violation": ("0.01 pu outside the band at every node, for {step},", 0.01),
    "caused_violation": ("0.01 pu outside the band at every node, for {step},", 0.01),
    "bus_violation": ("0.01 pu outside the band at a phase of one bus, for {step},", 0.01),
    "violating_share": ("a tenth of the nodes outside the band, for {step},", 0.1),
    "voltage_deviation": ("0.01 pu off at every node, for {step},", 0.0001),
    "overload": ("a branch at 110 %, for {step},", 0.1),
    "estimation_error": ("0.01 pu of error at every node, for {step},", 0.01),
    "reactive_power": ("1 Mvar for {step}", 1.0),
    "loss_ratio": ("a hundredth of the sources' power lost, for {step},", 0.01),
    "discharge": ("a battery that discharges at its rating, for {step},", 1.0),
    "fairness": ("0.1 less of Jain's index at the end of the day", 0.1),
}
_TARIFFS = {"peak_increase": ("1 kW of peak demand", 0.001)}  # a price of the scenario's own, as that of energy is


@dataclass(frozen=True)
class Money:
    """A weight in money.

    Attributes:
        text: for the scenario's card; "" for a term of one's own.
        dollars: per unit of the unit cost; NaN for a penalty and a term of one's own.
        cost: the unit cost that it is to agree with; None where there is none.
        right: the weight that would.
    """

    text: str
    dollars: float = float("nan")
    cost: UnitCost | None = None
    right: float = float("nan")

    @property
    def agrees(self) -> bool:
        """Whether the weight is the table's; True where the table has none."""
        return self.cost is None or abs(self.dollars / self.cost.dollars - 1) <= CLOSE


def money_of(term: str, weight: float, dt_h: float, kinds: Collection[str] = ()) -> Money:
    """A reward weight in money, at 10 $ for 1 of reward.

    Args:
        term: name of the reward term.
        weight: in the scenario.
        dt_h: length of a step [h].
        kinds: of the scenario's devices: energy that a generator feeds in costs fuel.
    """
    step = _length(dt_h)
    if term in _PRICED:
        row = _PRICED[term]
        worth = f"{row.example.format(step=step)} = {_number(weight * row.amount)} = "
        worth += f"{_number(weight * row.amount * DOLLARS)} $"
        if row.cost is None:
            cost = UnitCost("money itself", 1, "$", 1, 1, "", ())
            return Money(worth, weight * DOLLARS, cost, 1 / DOLLARS)
        cost, units = UNIT_COSTS[row.cost(kinds)], row.units(dt_h)
        dollars = weight * DOLLARS / units
        at = f", at {_number(dollars)} $/{cost.unit}" if row.amount * units != 1 else ""
        return Money(worth + at, dollars, cost, cost.dollars * units / DOLLARS)
    if term in _TARIFFS:
        example, amount = _TARIFFS[term]
        return Money(f"{example} = {_number(weight * amount)} = {_number(weight * amount * DOLLARS)} $")
    if term in _PENALTIES:
        example, amount = _PENALTIES[term]
        counts = _number(weight * amount * DOLLARS)
        return Money(f"a penalty, not money: {example.format(step=step)} counts as {counts} $")
    return Money("a penalty, not money" if ":" not in term and term in _BARRIERS else "")


_BARRIERS = ("l1", "l2", "bowl", "bump", "courant_beltrami")


def deviations(
    rewards: Mapping[str, float],
    dt_h: float,
    kinds: Collection[str] = (),
    priorities: Mapping[str, float] | None = None,
) -> dict[str, str]:
    """Weights that differ from the table of unit costs by more than a tenth.

    Args:
        rewards: term to weight.
        dt_h: length of a step [h].
        kinds: of the scenario's devices.
        priorities: class of load ("critical", "important") to its weight relative to a normal one; None: no classes.

    Returns:
        term, or priority, to what it costs, what it should, and the weight that does.
    """
    found = {}
    for term, weight in rewards.items():
        money = money_of(term, weight, dt_h, kinds)
        if not money.agrees and money.cost is not None:
            side = "within" if money.cost.low <= money.dollars <= money.cost.high else "outside"
            found[term] = (
                f"{weight:g} is {_number(money.dollars)} $/{money.cost.unit}; the table has {money.cost} "
                f"({side} {money.cost.low:g} to {money.cost.high:g}): {money.right:.4g}"
            )
    for name, weight in (priorities or {}).items():
        right = UNIT_COSTS[f"lost_load_{name}"].dollars / UNIT_COSTS["lost_load"].dollars
        if abs(weight / right - 1) > CLOSE:
            found[f"priorities.{name}"] = f"{weight:g} times a normal load; the table has {right:g}"
    return found


def _length(dt_h: float) -> str:
    minutes = round(60 * dt_h, 6)
    return f"{minutes:g} min" if minutes < 60 else "1 h" if minutes == 60 else f"{dt_h:g} h"


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
