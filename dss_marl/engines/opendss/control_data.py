"""The circuit's own controls as data: what each RegControl and CapControl measures, compares and moves.

Whatever solves a circuit can act as they do with these rows alone, see engines.batched.controls. Lengths of time are
those of the control queue [s]; they decide which control acts first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dss_marl.engines.opendss.measured import Conductors

MAX_PHASE, MIN_PHASE, AVERAGE = -1, -2, -3  # in place of a phase


@dataclass(frozen=True)
class Target:
    """What a regulator holds in one direction of power flow, on the secondary side of its transducers.

    Attributes:
        volts, band: set voltage and width of the band around it [V].
        z: line drop compensation, R + jX [V].
        volts_per_current: the same for compensation by magnitude alone [V]; 0 where ``z`` counts.
    """

    volts: float
    band: float
    z: complex
    volts_per_current: float


@dataclass(frozen=True, eq=False)
class TapControl:
    """A RegControl.

    Attributes:
        name: such as ``regcontrol.own``.
        tap: row of Feeder.taps that it moves.
        increment, lowest, highest: step and limits of the ratio [1].
        opposite: whether it moves another winding than the one that it measures at.
        plus, minus: (P) positions in the engine's voltage vector; the measured voltages are between them.
        phase: which of the P counts, from 0, or MAX_PHASE or MIN_PHASE.
        pt_ratio: of the measured voltages [1].
        local: positions of the voltage that ``limit`` holds for, and the ratio of its transformer; the measured
            one if None.
        limit: voltage of the first customer [V]; 0 for none.
        volts_per_ratio: measured voltage [V] by which the ratio 1 stands for all of the winding's.
        forward, backward: what it holds while power flows forward, and while it is turned round.
        compensated: whether the line drop counts.
        ct: amperes in the line for one on the secondary side [A].
        current: of the measured conductor of each phase; None where it does not count.
        power: conductors of the terminal whose power says which way it flows; None where it cannot turn.
        cogeneration: turned round, it goes on to regulate its own side.
        to_neutral: turned round, it goes to neutral and stays there.
        threshold_w: reverse power that turns it, and forward power that turns it back [W].
        delay_s, tap_delay_s, turn_delay_s: of a tap change, of one to neutral, and of turning [s].
        inverse_time: the delay falls with the distance from the band.
        most: steps in one action.
    """

    name: str
    tap: int
    increment: float
    lowest: float
    highest: float
    opposite: bool
    plus: tuple[int, ...]
    minus: tuple[int, ...]
    phase: int
    pt_ratio: float
    local: tuple[int, int, float] | None
    limit: float
    volts_per_ratio: float
    forward: Target
    backward: Target
    compensated: bool
    ct: float
    current: Conductors | None
    power: Conductors | None
    cogeneration: bool
    to_neutral: bool
    threshold_w: float
    delay_s: float
    tap_delay_s: float
    turn_delay_s: float
    inverse_time: bool
    most: int


@dataclass(frozen=True)
class Bank:
    """A capacitor bank under control: the rows of Feeder.switches that are its steps, in OpenDSS's order."""

    name: str
    steps: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class BankControl:
    """A CapControl.

    Attributes:
        name: such as ``capcontrol.own``.
        bank: row of ControlData.banks.
        kind: current, voltage, kvar, time or powerfactor.
        on, off: settings: [A] or [V] on the secondary side, [kvar], [h], or for a power factor 0 to 2, where
            above 1 is leading.
        minimum_kvar: below which a power factor switches no bank on [kvar]; with steps in, the second.
        plus, minus: (P) positions of the voltages that count; None of them for a kind that needs none.
        voltage: which of the P counts, from 0, or MAX_PHASE, MIN_PHASE or AVERAGE.
        override: voltages below which and above which the bank is switched in any case [V], or None.
        pt_ratio, ct_ratio: of its transducers [1].
        conductors: whose currents or power count; None where neither does.
        current: which of their currents counts, as in ``voltage``.
        delay_s, delay_off_s, dead_time_s: before closing, before opening, and after opening [s].
    """

    name: str
    bank: int
    kind: str
    on: float
    off: float
    minimum_kvar: tuple[float, float]
    plus: tuple[int, ...]
    minus: tuple[int, ...]
    voltage: int
    override: tuple[float, float] | None
    pt_ratio: float
    ct_ratio: float
    conductors: Conductors | None
    current: int
    delay_s: float
    delay_off_s: float
    dead_time_s: float


@dataclass(frozen=True, eq=False)
class ControlData:
    """The controls of a circuit, each kind in the order in which OpenDSS asks them.

    Attributes:
        nodes: names of the entries of the engine's voltage vector behind the first, which is ground.
        taps, banks: the controls.
        moved: the banks that they move.
        begins_anew: whether each solve starts as in a new engine, as OpenDSSEngine's do where a control may turn.
        step, offset: (R) as of Feeder.taps [1].
    """

    nodes: tuple[str, ...]
    taps: tuple[TapControl, ...]
    banks: tuple[BankControl, ...]
    moved: tuple[Bank, ...]
    begins_anew: bool
    step: NDArray[np.float64]
    offset: NDArray[np.float64]
