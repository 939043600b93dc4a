"""Slopes of reward terms: how the team's reward changes with the results of a power flow.

Quantities that scale a term have a function here that adds the slopes of their sum over all zones; so have the voltage
barriers. What steps, such as the number of nodes outside a band, has slope 0. What a term owes to set points and
devices rather than to the power flow is left to the caller, who differentiates the term: ``RewardSlopes.direct``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from functools import wraps
from typing import Any

import numpy as np

from dss_marl.grid.solution_slopes import SolutionSlopes
from dss_marl.grid.state import V_HIGH, V_LOW, Array, GridState, Number, beyond_band
from dss_marl.mdp import published_terms, quantities
from dss_marl.mdp.pv_sharing import fairness
from dss_marl.mdp.quantities import Quantity
from dss_marl.mdp.reward_model import RewardModel
from dss_marl.mdp.scaled_terms import Term
from dss_marl.mdp.voltage_barriers import bowl, bump, courant_beltrami, l1, l2
from dss_marl.zones import Zone

_BELL, _BOWL = 0.1, (1.05 - 0.95) / 2  # see voltage_barriers
_NAMES = tuple(field.name for field in fields(SolutionSlopes))
Slopes = Callable[[Zone, GridState, GridState], Mapping[str, Any]]
_Adding = Callable[[Zone, GridState, SolutionSlopes, float], None]


def with_slopes(slopes: Slopes) -> Callable[[Term], Term]:
    """Tell how a reward term of your own changes with the power flow, for ``env.gradient``.

    Args:
        slopes: function (zone, before, after) of one zone that returns the derivatives of the term with respect to
            results of the power flow in ``after``: a dict of any of v_pu (..., N), served_kw (..., J), loading
            (..., M), loss_kw, source_kw, source_kvar (...); {} if the term depends on none of them.

    Returns:
        a decorator of the term.
    """

    def mark(term: Term) -> Term:
        @wraps(term)
        def marked(zone: Zone, before: GridState, after: GridState) -> Any:
            return term(zone, before, after)

        marked.slopes = slopes  # type: ignore[attr-defined]
        return marked

    return mark


class RewardSlopes:
    """The slopes of a team's reward.

    Args:
        model: its terms.
        branches: of the feeder.
        margin_pu: how far inside the limits terms that price leaving the band begin to have a slope, for learners that
            would otherwise ride on the limit; see ``_ramp``. With 0 they have the slopes of the reward as it is.

    Attributes:
        direct: the terms that may depend on set points and devices themselves.

    Raises:
        ValueError: the slopes of a term are not known; names it.
    """

    def __init__(self, model: RewardModel, branches: int, margin_pu: float = 0.0) -> None:
        self._zones, self._all, self._branches = model.zones, model.all_zones, branches
        early = _with_margin(margin_pu) if margin_pu else {}
        steps = _STEPS - early.keys()
        self._adding: list[tuple[_Adding, float]] = []
        self._own: list[tuple[Slopes, float]] = []
        unknown, direct = [], {}
        for name, (weight, term) in model.rewards.items():
            own, function = getattr(term, "slopes", None), getattr(term, "scaled", None)
            if own is not None:
                self._own.append((own, weight))
                direct[name] = (weight, term)
            elif term is fairness:  # of set points, by way of GridState.pv_kwh
                direct[name] = (weight, term)
            elif term in _BARRIERS:
                self._adding.append((_BARRIERS[term], -weight / model.n_scored_nodes))
            elif function is not None and all(quantity in _QUANTITIES for quantity in function[0]):
                over, times = function[1](self._all)
                scale, known = weight * times / over, {**_QUANTITIES, **early}
                self._adding += [(known[q], scale) for q in function[0] if q not in steps]
                if any(q in _DIRECT for q in function[0]):
                    direct[name] = (weight, term)
            else:
                unknown.append(name)
        if unknown:
            raise ValueError(
                f"the reward has no slope: that of {', '.join(map(repr, unknown))} is not known; decorate the term "
                "with @dss_marl.with_slopes(...), or leave it out of the rewards"
            )
        self.direct = replace(model, rewards=direct)

    def __call__(self, before: GridState, after: GridState) -> SolutionSlopes:
        """Slopes of the team's reward with respect to ``after.solution``, (...) as its own."""
        found = SolutionSlopes.zeros(after.solution, self._branches)
        for add, times in self._adding:
            add(self._all, after, found, times)
        for own, weight in self._own:
            for zone in self._zones:
                _add_own(own(zone, before, after), found, weight)
        found.v_pu *= after.solution.energised
        return found


def _add_own(given: Mapping[str, Any], found: SolutionSlopes, weight: float) -> None:
    for name, value in given.items():
        if name not in _NAMES:
            raise ValueError(f"a term has no slope with respect to {name!r}; known: {', '.join(_NAMES)}")
        target = getattr(found, name)
        target += weight * np.asarray(value, float)


# --- voltages --------------------------------------------------------------------------------------------------------


def _by_node(slope: Callable[[Array, Any, Any], Array]) -> _Adding:
    """Of a sum over the scored nodes of a function of their voltages and limits."""

    def add(zone: Zone, after: GridState, found: SolutionSlopes, times: float) -> None:
        count = np.bincount(zone.scored_nodes, minlength=found.v_pu.shape[-1])
        found.v_pu += times * count * slope(after.solution.v_alive, zone.band.low, zone.band.high)

    return add


def _excursion(v_pu: Array, low: Any, high: Any) -> Array:
    slope: Array = np.where(v_pu > high, 1.0, 0.0) - np.where(v_pu < low, 1.0, 0.0)
    return slope


def _ramp(margin_pu: float) -> Callable[[Array, Any, Any], Array]:
    """The slope that stands for the step of a node that leaves the band.

    It begins the margin inside the limit, reaches the step's height at the limit, and falls off beyond, as a node far
    outside has lost its share already; so do planners price it (``RewardModel.excursion_price``).
    """

    def slope(v_pu: Array, low: Any, high: Any) -> Array:
        out = np.asarray(beyond_band(v_pu, low, high))
        return _excursion(v_pu, low + margin_pu, high - margin_pu) / (out + margin_pu)

    return slope


def _with_margin(margin_pu: float) -> dict[Quantity, _Adding]:
    """The slopes of what nodes outside the band cost, from a margin inside the limits on."""

    def excursion(v_pu: Array, low: Any, high: Any) -> Array:
        return _excursion(v_pu, low + margin_pu, high - margin_pu)

    return {quantities.excursion_pu: _by_node(excursion), quantities.nodes_outside: _by_node(_ramp(margin_pu))}


def _bowl(v_pu: Array, low: Any, high: Any) -> Array:
    off = v_pu - 1
    density = np.exp(-((off / _BELL) ** 2) / 2) / (_BELL * np.sqrt(2 * np.pi))
    return np.where(np.abs(off) > _BOWL, 2 * np.sign(off), 0.01 * density * off / _BELL**2)


def _bump(v_pu: Array, low: Any, high: Any) -> Array:
    near = np.abs(v_pu) < np.abs(v_pu - 2)
    u, way = np.where(near, np.abs(v_pu), np.abs(v_pu - 2)), np.where(near, np.sign(v_pu), np.sign(v_pu - 2))
    room = 1 - np.minimum(u, 1.0) ** 4
    inside = np.where(room > 0, room, 1.0)
    return way * np.exp(-1 / inside) * -4 * u**3 / inside**2 * (room > 0)


def _outside_squared(v_pu: Array, low: Any, high: Any) -> Array:
    return 2 * np.asarray(beyond_band(v_pu, low, high)) * _excursion(v_pu, low, high)


_BARRIERS: dict[Term, _Adding] = {
    l1: _by_node(lambda v, *_: np.sign(v - 1)),
    l2: _by_node(lambda v, *_: 4 * (v - 1)),
    bowl: _by_node(_bowl),
    bump: _by_node(_bump),
    courant_beltrami: _by_node(_outside_squared),
}


def _worst_of_buses(zone: Zone, after: GridState, found: SolutionSlopes, times: float) -> None:
    """Of each bus the highest node above the band and the lowest below; alike ones share the slope."""
    nodes, starts = zone.scored_by_bus, zone.scored_bus_starts
    v_pu = after.solution.v_alive[..., nodes]
    sizes = np.diff(starts, append=len(nodes))
    for worst, way in ((np.maximum, 1.0), (np.minimum, -1.0)):
        extreme = np.repeat(worst.reduceat(v_pu, starts, axis=-1), sizes, axis=-1)
        at = (v_pu == extreme) & (way * v_pu > way * (V_HIGH if way > 0 else V_LOW))
        shared = np.repeat(np.add.reduceat(at, starts, axis=-1, dtype=float), sizes, axis=-1)
        found.v_pu[..., nodes] += times * way * at / np.maximum(shared, 1.0)


# --- the whole feeder, and units -------------------------------------------------------------------------------------


def _loss(zone: Zone, after: GridState, found: SolutionSlopes, times: float) -> None:
    found.loss_kw += times * zone.count


def _loss_share(zone: Zone, after: GridState, found: SolutionSlopes, times: float) -> None:
    """No slope where the share is cut."""
    loss_kw, source_kw = np.asarray(after.solution.loss_kw), np.asarray(after.solution.source_kw)
    inside = (source_kw > loss_kw) & (loss_kw > 0)
    delivered = np.where(inside, source_kw, 1.0)
    found.loss_kw += times * zone.count * inside / delivered
    found.source_kw -= times * zone.count * inside * loss_kw / delivered**2


def _import_price(zone: Zone, after: GridState, found: SolutionSlopes, times: float) -> None:
    found.source_kw += times * zone.count * after.dt_h * after.price[..., 0]


def _import_above_limit(zone: Zone, after: GridState, found: SolutionSlopes, times: float) -> None:
    above: Number = np.asarray(after.solution.source_kw > after.import_limit_kw, float)
    found.source_kw += times * zone.count * after.dt_h * above


def _highest_overload(zone: Zone, after: GridState, found: SolutionSlopes, times: float) -> None:
    highest = np.asarray(after.solution.highest_loading)
    if not (highest > 1).any():
        return
    at = (after.solution.loading == highest[..., None]) & (highest[..., None] > 1)
    found.loading += times * zone.count * at / np.maximum(at.sum(axis=-1, keepdims=True), 1)


def _generated(zone: Zone, after: GridState, found: SolutionSlopes, times: float) -> None:
    count = found.served_kw.shape[-1]
    weight = np.bincount(zone.units.ravel(), zone.unit_weight.ravel(), count)
    weight -= np.bincount(zone.pv_units.ravel(), zone.pv_unit_weight.ravel(), count)
    found.served_kw += times * after.dt_h * weight * (after.solution.served_kw > 0)


def _peak_increase(zone: Zone, after: GridState, found: SolutionSlopes, times: float) -> None:
    """The import has the slope while it sets the peak; see the device demand_meter."""
    if not zone.demand_meters.shape[-1]:
        return
    peak = after.device_state[..., int(zone.demand_meters.flat[0])]
    found.source_kw += times * zone.count * np.asarray(after.solution.source_kw >= peak, float)


def _owed(zone: Zone, after: GridState, found: SolutionSlopes, times: float) -> None:
    """What a flexibility request misses depends on the import, other energy owed on set points and devices alone."""
    rows = zone.rows["requests"]
    if not rows.index.shape[-1]:
        return
    first, solution = int(rows.columns["missed"].flat[0]), after.solution
    parts = (
        (found.source_kw, solution.source_kw, 1.0),
        (found.source_kvar, solution.source_kvar, rows.columns["kvar_weight"].flat[0]),
    )
    for k, (slope, drawn, weight) in enumerate(parts):
        missed, target = after.device_state[..., first + k], after.device_state[..., first - 2 + k]
        slope += times * after.dt_h * weight * np.sign(drawn - target) * (missed > 0)


def _nothing(zone: Zone, after: GridState, found: SolutionSlopes, times: float) -> None:
    """Steps, or depends on set points and devices alone."""


_STEPS = {
    quantities.nodes_outside,
    quantities.taps_moved,
    quantities.banks_moved,
    quantities.switches_moved,
}
_DIRECT = {
    quantities.curtailed_kwh,
    quantities.converter_kw,
    quantities.kvar_magnitude,
    quantities.throughput_kwh,
    quantities.owed_kwh,
    quantities.unserved_kwh,
    quantities.stored_change_kwh,
    quantities.fuel_l,
    quantities.crew_dollars,
    quantities.worn_kwh,
    quantities.estimate_error_pu,
    published_terms.discharged_share,
}
_QUANTITIES: dict[Quantity, _Adding] = {
    quantities.excursion_pu: _by_node(_excursion),
    quantities.squared_deviation_pu2: _by_node(lambda v, *_: 2 * (v - 1)),
    published_terms.bus_excursion_pu: _worst_of_buses,
    quantities.loss_kw: _loss,
    published_terms.loss_share: _loss_share,
    quantities.import_price: _import_price,
    quantities.price_beyond_load: _import_price,
    quantities.import_above_limit_kwh: _import_above_limit,
    quantities.highest_overload: _highest_overload,
    quantities.generated_kwh: _generated,
    **dict.fromkeys([*_STEPS, *_DIRECT], _nothing),
    quantities.peak_increase_kw: _peak_increase,
    quantities.owed_kwh: _owed,
    quantities.unserved_kwh: _owed,
}
