"""Statistics: key figures of profiles for an engineer's plausibility check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from dss_marl.grid.state import Array
from dss_marl.profiles.profiles import Profiles

HOME_KW = 1.5  # nominal power of one home


@dataclass(frozen=True)
class Statistics:
    """The days of a selection, stacked.

    Attributes:
        days: their numbers.
        dt_h: length of an interval [h].
        load_kw: (D, T, L) consumption of each load, positive [kW].
        pv_kw: (D, T, U) available PV power of each inverter [kW].
        nominal_kw: (L) nominal power of the loads [kW].
        rated_kw: (U) peak PV power of the inverters [kW].
        price: (D, T) [currency/kWh].
        temperature_c: (D, T) [degree C].
        outages: number of outages that began on these days.
        load_names: (L), unit_names: (U) names of loads and inverters; () where they are unknown.
        dates: (D) date of each day; () or None where the days have none, and day 0 is a Monday.
    """

    days: tuple[int, ...]
    dt_h: float
    load_kw: Array
    pv_kw: Array
    nominal_kw: Array
    rated_kw: Array
    price: Array
    temperature_c: Array
    outages: int
    load_names: tuple[str, ...] = ()
    unit_names: tuple[str, ...] = ()
    dates: tuple[date | None, ...] = ()

    @property
    def total_kw(self) -> Array:
        """(D, T) load of the feeder [kW]."""
        return np.asarray(self.load_kw.sum(-1))

    def duration(self, shares: Sequence[float]) -> Array:
        """Load exceeded for these shares of the time, over the peak: the load duration curve [1]."""
        total = self.total_kw
        return np.asarray(np.quantile(total, 1 - np.asarray(shares)) / max(total.max(), 1e-9))

    def ramps(self, of: Array, rated: float, quantile: float) -> float:
        """A quantile of the change from one interval to the next within days, over the rated power [1]."""
        return float(np.quantile(np.abs(np.diff(of, axis=1)), quantile)) / max(rated, 1e-9)

    def figures(self) -> dict[str, tuple[float, str]]:
        """Name to value and unit; NaN where a figure does not apply."""
        total, rated = self.total_kw, float(self.rated_kw.sum())
        sun = self.pv_kw.sum(-1)
        peak = float(total.max())
        hour = total.argmax(1) * self.dt_h
        rows = {
            "days": (float(len(self.days)), ""),
            "peak load": (peak, "kW"),
            "peak load over nominal": (peak / max(float(self.nominal_kw.sum()), 1e-9), "1"),
            "load factor": (float(total.mean()) / max(peak, 1e-9), "1"),
            "mean daily load factor": (float((total.mean(1) / np.maximum(total.max(1), 1e-9)).mean()), "1"),
            "after-diversity peak of a home (1.5 kW nominal)": (self._home_peak(), "kW"),
            "coincidence factor": (peak / max(float(self.load_kw.max((0, 1)).sum()), 1e-9), "1"),
            "median peak hour": (float(np.median(hour)), "h"),
        }
        for share in (0.1, 0.5, 0.9):
            rows[f"load exceeded {share:.0%} of the time"] = (float(self.duration([share])[0]), "of peak")
        for name, of, base in (("load", total, peak), ("PV", sun, rated)):
            for q in (0.5, 0.99):
                rows[f"{name} ramp in {60 * self.dt_h:g} min, {q:.0%} quantile"] = (
                    self.ramps(of, base, q) if base else np.nan, "of peak" if name == "load" else "of rated",
                )  # fmt: skip
        rows["correlation of loads about their mean day"] = (_correlation(_beyond_mean_day(self.load_kw)), "1")
        rows["correlation of PV units within the day"] = (_correlation(_within_day(self.pv_kw)), "1")
        rows["PV capacity factor"] = (float(sun.mean()) / rated if rated else np.nan, "1")
        rows["share of intervals with PV above load"] = (float((sun > total).mean()), "1")
        rows["lowest temperature"] = (float(self.temperature_c.min()), "degree C")
        rows["highest temperature"] = (float(self.temperature_c.max()), "degree C")
        rows["mean price"] = (float(self.price.mean()), "per kWh")
        rows["share of intervals with a negative price"] = (float((self.price < 0).mean()), "1")
        rows["outages"] = (float(self.outages), "")
        return rows

    def _home_peak(self) -> float:
        """Peak load per 1.5 kW of nominal load [kW]."""
        return HOME_KW * float(self.total_kw.max()) / max(float(self.nominal_kw.sum()), 1e-9)


def day_statistics(profiles: Profiles, days: Sequence[int]) -> Statistics:
    """Generate these days and stack them."""
    feeder = profiles.feeder
    loads = feeder.loads
    units = np.array([j for j, row in enumerate(feeder.injections) if row.kind == "inverter"], np.int64)
    made = [profiles.day(day, ahead=0) for day in days]
    return Statistics(
        days=tuple(days),
        dt_h=profiles.dt_h,
        load_kw=np.array([-day.kw[:, loads] for day in made]),
        pv_kw=np.array([day.kw[:, units] for day in made]),
        nominal_kw=np.abs(profiles.nominal_kw[loads]),
        rated_kw=feeder.nominal_kw[units],
        price=np.array([day.price for day in made]),
        temperature_c=np.array([day.temperature_c for day in made]),
        outages=sum(len(profiles.outages(day)) for day in days),
        load_names=tuple(feeder.injections[j].name for j in loads),
        unit_names=tuple(feeder.injections[j].name for j in units),
        dates=tuple(profiles.calendar.date(day) for day in days),
    )


def _beyond_mean_day(x: Array) -> Array:
    """(D T, n) each series over its own mean, minus the common hourly profile and daily level."""
    share = x / np.maximum(x.mean((0, 1)), 1e-9)
    common = share.mean(2, keepdims=True)
    level, hourly = common.mean(1, keepdims=True), common.mean(0, keepdims=True)
    return np.asarray((share - hourly * level / max(float(hourly.mean()), 1e-9)).reshape(-1, x.shape[2]))


def _within_day(x: Array) -> Array:
    """(D T', n) PV between 9 and 15 h minus its mean over these hours."""
    steps = x.shape[1]
    middle = x[:, 9 * steps // 24 : -(-15 * steps // 24)]
    return np.asarray((middle - middle.mean(1, keepdims=True)).reshape(middle.shape[0] * middle.shape[1], x.shape[2]))


def _correlation(columns: Array) -> float:
    """Mean correlation between columns that vary, of at most 200; NaN for fewer than two."""
    columns = columns[:, columns.std(0) > 1e-9][:, :200]
    if columns.shape[1] < 2 or len(columns) < 3:
        return float("nan")
    matrix = np.atleast_2d(np.corrcoef(columns.T))
    return float(matrix[np.triu_indices(len(matrix), 1)].mean())
