"""reference/physics.md: every published answer beside ours, solved when the site is built."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from _generate.markdown import details, table
from dss_marl import Feeder, OpenDSSEngine, Setpoints, read_feeder
from dss_marl._assets import data_folder, known_names

TOLERANCE = 1e-8  # of the solver
HEAD = """# Physics

Every shipped feeder is solved and compared, first with the solution of OpenDSS itself for the same circuit, then with what was published about
it. The numbers on this page were computed when it was built; `tests/engines/test_feeders.py` checks the same in every test run,
with the tolerances given.

"""
CONVERTERS = """## Converters of PV units and batteries

**Losses.** Reactive power is not free: the converter loses

$$P^\\mathrm{loss}(S) = S_r \\left(c_0 + c_1 \\frac{S}{S_r} + c_2 \\frac{S^2}{S_r^2}\\right)$$

at the apparent power $S$ and the rating $S_r$: standby, conduction and switching, and ohmic losses (Braun, *Reactive power supply by distributed
generators*, IEEE PES General Meeting 2008). The PV power of a profile is the AC power at unity power factor, so it contains $P^\\mathrm{loss}(P)$
already. Only the difference is lost in addition, with $P$ the power before it:

$$p = P - \\left[P^\\mathrm{loss}\\!\\left(\\sqrt{P^2 + Q^2}\\right) - P^\\mathrm{loss}(P)\\right]$$

Without sun, or with an idle battery, the converter runs for the reactive power alone and draws all of $P^\\mathrm{loss}(|Q|)$ from the grid, standby
included; with $Q = 0$ nothing is lost. Of a battery it adds to what its efficiencies lose. The defaults, $c_0 = 0.0036$, $c_1 = 0.0078$, $c_2 = 0.0146$, are medians over the 568 inverters with a
European efficiency of 97 to 98 % in the list of the California Energy Commission of March 2019, as fitted with the model of Driesse, Jain and Harrison (*Beyond the
curves*, IEEE PVSC 2008; data file `adr-library-cec-inverters-2019-03-05.csv` of pvlib), at nominal DC voltage and per AC rating. They give a European
efficiency of 97.4 %. At night 0.44 of the rating in kvar costs 0.99 % of the rating in kW. Converter losses are no part of a feeder's losses (`loss`): the
reward term `converter_loss` and the key figure `converter_kwh` have them, and `energy_cost` pays for them. They are not curtailed energy.

**Capability.** IEEE 1547-2018, table 7: category B injects and absorbs up to 0.44 of the rating, the default; category A absorbs up to 0.25.
`category: none` leaves the whole kVA circle.

**Volt-watt.** With `volt_watt`, an inverter keeps its active power below a curve of the mean voltage at its own bus: all of its peak power up to 1.06 pu and
20 % from 1.10 pu, straight in between (the defaults of IEEE 1547-2018; its second power is the lesser of 20 % and the unit's minimum, which is 0 for
most PV: `p2: 0`). The curve and the power flow agree within each interval, to 0.5 % of the rating, by the same damped fixed-point
iteration as of mode `volt_var`, on either engine. What is held back counts as curtailed.

"""
OTHER = """## Other tests of the physics

| what is compared | where |
| --- | --- |
| reading, solving and restarting random circuits, against plain OpenDSS by text commands | `tests/engines/test_random_circuits.py` |
| voltages, powers, losses and loading, against plain OpenDSS; power balance; what taps, capacitors and units do | `tests/engines/test_engine_physics.py` |
| equal set points give equal solutions, whatever was solved before, bitwise after a restart | `tests/engines/test_engine_history.py`, `test_restart.py` |
| switches, dead parts, units that form islands | `tests/engines/test_engine_switching.py` |
| inverter curves and limits, batteries, chargers against their equations | `tests/devices` |
| generated days against pvlib and the BDEW's standard load profiles | `tests/profiles/test_profiles_oracles.py`; [profiles](../guide/profiles.md) |
| energy balance of whole days under every reference controller, check (g) of each proof | [the suite](../suite.md) |
"""


@dataclass(frozen=True)
class Comparison:
    """Published values (n), and ours, by name."""

    published: dict[str, float]
    ours: dict[str, float]

    @property
    def errors(self) -> np.ndarray:
        """(n) absolute differences."""
        return np.array([abs(self.ours[key] - value) for key, value in self.published.items()])


def pages() -> Iterator[tuple[str, str]]:
    """The one page."""
    yield "reference/physics.md", page()


def page() -> str:
    """Both comparisons as tables, then the values of each feeder."""
    cases = {name: _expected(name) for name in known_names("feeders")}
    parts = [HEAD, _reference_table(cases), _published_voltages(cases), _published_losses(cases)]
    return "\n".join([*parts, _snapshots(cases), CONVERTERS + OTHER])


def _expected(name: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((data_folder("feeders") / name / "expected.json").read_text(encoding="utf-8"))
    return data


def at(feeder: Feeder, case: dict[str, Any]) -> Setpoints:
    """Set points with the taps and capacitor states of a case."""
    setpoints = feeder.setpoints()
    taps = {row.name.split(".", 1)[1]: r for r, row in enumerate(feeder.taps)}
    for name, position in case["taps"].items():
        setpoints.tap[taps[name]] = position
    for name, states in case.get("capacitors", {}).items():
        steps = [s for s, row in enumerate(feeder.switches) if row.element == f"capacitor.{name}"]
        setpoints.closed[steps] = np.array(states, bool)
    return setpoints


def _reference_table(cases: dict[str, Any]) -> str:
    rows = []
    for name, data in cases.items():
        case = data["solution"]
        feeder = read_feeder(name, case["edits"])
        engine = OpenDSSEngine(feeder, tolerance=TOLERANCE)
        solution = engine.solve(at(feeder, case))
        engine.close()
        found = dict(zip(feeder.nodes, solution.v_pu, strict=True))
        errors = Comparison(case["v_pu"], found).errors
        cells = (f"{case['losses_kw']:.3f}", f"{solution.loss_kw:.3f}", f"{case['source_kw']:.3f}")
        rows.append((f"`{name}`", str(len(errors)), f"{errors.max():.1e}", *cells, f"{solution.source_kw:.3f}"))
    heads = ("feeder", "nodes", "largest difference [pu]", "losses [kW]", "ours", "source [kW]", "ours")
    return f"## OpenDSS's solution\n\n{table(heads, rows)}"


def _published_voltages(cases: dict[str, Any]) -> str:
    rows, values = [], []
    for name, data in cases.items():
        case = data.get("published", {})
        if "v_pu" not in case:
            continue
        found = voltages(name, case)
        kind = "line to line" if case["line_to_line"] else "phase to neutral"
        cells = (f"{found.errors.max():.1e}", f"{found.errors.mean():.1e}", f"{case['tolerance_pu']:g}")
        rows.append((f"`{name}`", f"{len(found.errors)} {kind}", *cells, case["source"]))
        values.append(details(f"{name}: all {len(found.errors)} values", _values(found)))
    heads = ("feeder", "voltages", "largest difference [pu]", "mean difference [pu]", "tolerance of the test", "source")
    text = (
        "## Published voltages\n\nWith the published tap positions and the changes that the published model calls for "
        "(`edits` in `feeders/NAME/expected.json`). Published values have four digits.\n\n"
    )
    return text + table(heads, rows) + "\n" + "\n".join(values)


def voltages(name: str, case: dict[str, Any]) -> Comparison:
    """Published voltages and ours, phase to neutral or line to line [pu]."""
    feeder = read_feeder(name, case["edits"])
    engine = OpenDSSEngine(feeder, tolerance=TOLERANCE)
    solution = engine.solve(at(feeder, case))
    index = feeder.node_index
    if not case["line_to_line"]:
        engine.close()
        return Comparison(case["v_pu"], {key: float(solution.v_pu[index[key]]) for key in case["v_pu"]})
    complex_volts = engine._calls.voltages()[1:].copy()  # noqa: SLF001 - phasors are not part of a solution
    engine.close()
    ours = {}
    for key in case["v_pu"]:
        bus, one, other = key.split(".")
        base = feeder.bus(bus).kv_base * 3**0.5 * 1000
        ours[key] = float(abs(complex_volts[index[f"{bus}.{one}"]] - complex_volts[index[f"{bus}.{other}"]]) / base)
    return Comparison(case["v_pu"], ours)


def _values(found: Comparison) -> str:
    rows = [
        (f"`{key}`", f"{value:.4f}", f"{found.ours[key]:.5f}", f"{found.ours[key] - value:+.5f}")
        for key, value in found.published.items()
    ]
    return table(("node", "published [pu]", "ours [pu]", "difference"), rows)


def _published_losses(cases: dict[str, Any]) -> str:
    rows = []
    for name, data in cases.items():
        case = data.get("published", {})
        if "losses_kw" in case:
            feeder = read_feeder(name)
            engine = OpenDSSEngine(feeder, tolerance=TOLERANCE)
            ours = engine.solve(feeder.setpoints()).loss_kw
            engine.close()
            rows.append((f"`{name}`", f"{case['losses_kw']:.3f}", f"{ours:.3f}", case["source"]))
    return f"## Published losses\n\n{table(('feeder', 'published [kW]', 'ours [kW]', 'source'), rows)}"


def _snapshots(cases: dict[str, Any]) -> str:
    rows = []
    for name, data in cases.items():
        for minute, case in data.get("snapshots", {}).items():
            feeder = read_feeder(name)
            setpoints = feeder.setpoints()
            for j, row in enumerate(feeder.injections):
                setpoints.kw[j] = -case["load_kw"][row.name.split(".", 1)[1]]
                setpoints.kvar[j] = -case["load_kvar"][row.name.split(".", 1)[1]]
            engine = OpenDSSEngine(feeder, tolerance=TOLERANCE)
            solution = engine.solve(setpoints)
            engine.close()
            errors = Comparison(case["v_pu"], dict(zip(feeder.nodes, solution.v_pu, strict=True))).errors
            cells = (f"{errors.max():.1e}", f"{case['losses_kw']:.4f}", f"{solution.loss_kw:.4f}")
            rows.append((f"`{name}`", minute, *cells))
    heads = ("feeder", "minute", "largest difference [pu]", "losses [kW]", "ours")
    return (
        "## Published minutes of the European low-voltage feeder\n\nThe loads of three minutes of the published day, set "
        f"through the set points.\n\n{table(heads, rows)}"
    )
