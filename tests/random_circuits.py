"""Writes small random circuits: windings, phases, neutrals, controls, settings and odd names, all of them solvable."""

from dataclasses import dataclass, field

import numpy as np

from dss_marl.engines.opendss.script import quoted

_ENDS = ["", "", "", ":x", " y", "[z]", "ü", "%", "#1", "(p)", "Straße", "-_", "+"]
SETTINGS = [
    "set loadmult=0.8", "set year=4", "set %growth=3", "set year=3 %growth=5", "set genmult=0.5", "set mode=yearly",
    "set mode=daily number=24\nsolve", "solve", "set algorithm=newton", "set loadmodel=admittance",
    "set controlmode=time", "set tolerance=0.01 maxiterations=4", "export voltages", "set zonelock=yes",
    "set normvminpu=0.8", "set miniterations=5", "set controlmode=off", "set emergvmaxpu=1.3", "set trapezoidal=yes",
    "set allocationfactors=0.5", "set time=[7 0]", "set hour=17", "set random=uniform", "set pricesignal=90",
]  # fmt: skip


@dataclass
class _Bus:
    name: str
    phases: tuple[int, ...]  # node numbers
    kv: float  # line to neutral
    neutral: int = 0
    split: bool = False


@dataclass
class RandomCircuit:
    """Grows from the source, one branch after the other.

    Attributes:
        lines: OpenDSS text.
        kinds: what it holds, to count what was tried.
    """

    rng: np.random.Generator
    lines: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    buses: list[_Bus] = field(default_factory=list)
    count: int = 0

    def text(self) -> str:
        """The whole file."""
        rng, kv = self.rng, float(self.rng.choice([12.47, 4.16, 34.5]))
        self.kv = kv
        source = quoted(f"sub{self._end()}")
        self.lines = ["clear", *(["set defaultbasefrequency=50"] if rng.random() < 0.2 else [])]
        self.lines.append(
            f"new circuit.c basekv={kv} bus1={source} pu={rng.uniform(0.98, 1.04):.4f} "
            f"mvasc3={rng.uniform(80, 900):.1f} mvasc1={rng.uniform(60, 700):.1f}"
        )
        self.lines.append("new growthshape.gs npts=3 year=[1 3 8] mult=[1.02 1.06 1.01]")
        if rng.random() < 0.15:
            self.kinds.append("source of another name")
            self.lines += ["vsource.source.enabled=no", f"new vsource.grid bus1={source} basekv={kv} pu=1.01"]
        self.buses = [_Bus(source[1:-1], (1, 2, 3), kv / 3**0.5)]
        for _ in range(int(rng.integers(2, 8))):
            grow = [self._line, self._line, self._transformer, self._regulator, self._service, self._four_wire,
                    self._jumper, self._reactor, self._three_windings, self._autotransformer]  # fmt: skip
            grow[int(rng.integers(len(grow)))]()
        for bus in self.buses:
            if rng.random() < 0.75 or bus is self.buses[-1]:
                self._load(bus)
            if rng.random() < 0.25:
                self._power(bus)
            if rng.random() < 0.2:
                self._bank(bus)
        levels = {round(bus.kv * (3**0.5), 5) for bus in self.buses}
        self.lines += [f"set voltagebases=[{' '.join(f'{kv:g}' for kv in sorted(levels))}]", "calcvoltagebases"]
        for _ in range(int(rng.integers(0, 4))):
            self.lines.append(str(rng.choice(SETTINGS)))
        return "\n".join(self.lines) + "\n"

    # --- names and places ---

    def _end(self) -> str:
        return str(self.rng.choice(_ENDS))

    def _name(self, kind: str) -> str:
        self.count += 1
        self.kinds.append(kind.split(".")[0])
        dot = ".k" if self.rng.random() < 0.1 else ""
        return quoted(f"{kind}{self.count}{dot}{self._end()}")

    def _new_bus(self) -> str:
        self.count += 1
        return f"b{self.count}{self._end()}"

    def _at(self, bus: _Bus | str, numbers) -> str:
        name = bus if isinstance(bus, str) else bus.name
        return quoted(".".join([name, *map(str, numbers)]))

    def _pick(self, three: bool = False) -> _Bus:
        fit = [bus for bus in self.buses if not three or (bus.phases == (1, 2, 3) and not bus.neutral)]
        return fit[int(self.rng.integers(len(fit)))]

    def _some(self, bus: _Bus) -> tuple[int, ...]:
        """All of its phases, or one."""
        if bus.split or self.rng.random() < 0.6:
            return bus.phases
        return (int(self.rng.choice(bus.phases)),)

    # --- branches ---

    def _line(self) -> None:
        bus = self._pick()
        phases, neutral = self._some(bus), [bus.neutral] if bus.neutral else []
        end, n, low = self._new_bus(), len(phases) + len(neutral), bus.kv < 1
        wires = [*phases, *neutral]
        own, mutual = (0.05, 0.02) if low else (0.3, 0.1)
        r = "|".join(" ".join(f"{own if i == j else mutual / 2:g}" for j in range(i + 1)) for i in range(n))
        x = "|".join(" ".join(f"{2 * own if i == j else mutual:g}" for j in range(i + 1)) for i in range(n))
        c = "|".join(" ".join(f"{(0 if low else 9) if i == j else 0:g}" for j in range(i + 1)) for i in range(n))
        km = self.rng.uniform(0.02, 0.1) if low else self.rng.uniform(0.1, 2)
        switch = " switch=yes" if self.rng.random() < 0.15 else ""
        name = self._name("line.l")
        self.lines.append(
            f"new {name} phases={n} bus1={self._at(bus, wires)} bus2={self._at(end, wires)}{switch} rmatrix=({r}) "
            f"xmatrix=({x}) cmatrix=({c}) length={km:.4f} units=km normamps=300"
        )
        self.buses.append(_Bus(end, phases, bus.kv, bus.neutral, bus.split))

    def _jumper(self) -> None:
        """To nodes 4 to 6 of the same bus, and a line from there."""
        bus = self._pick(three=True)
        if any(f'"{bus.name}.4' in line for line in self.lines):
            return
        kind = "line" if self.rng.random() < 0.7 else "reactor"
        z = "r1=.01 x1=.01 r0=.01 x0=.01 c1=0 c0=0 length=1" if kind == "line" else "r=.01 x=.01"
        end = self._new_bus()
        self.lines.append(
            f"new {self._name(f'{kind}.j')} phases=3 bus1={self._at(bus, (1, 2, 3))} bus2={self._at(bus, (4, 5, 6))} "
            f"{z}"
        )
        self.lines.append(
            f"new {self._name('line.jl')} bus1={self._at(bus, (4, 5, 6))} bus2={self._at(end, (1, 2, 3))} r1=.2 x1=.3 "
            "c1=0 c0=0 length=1 units=km"
        )
        self.buses.append(_Bus(end, (1, 2, 3), bus.kv))

    def _reactor(self) -> None:
        bus, end = self._pick(), self._new_bus()
        phases = self._some(bus)
        if bus.neutral or bus.split:
            return
        series = "reactor.x" if self.rng.random() < 0.6 else "capacitor.s"
        value = "r=0.02 x=0.1" if series == "reactor.x" else f"kv={bus.kv / 4:.4f} kvar=4000"
        self.lines.append(
            f"new {self._name(series)} phases={len(phases)} bus1={self._at(bus, phases)} bus2={self._at(end, phases)} "
            f"{value}"
        )
        self.buses.append(_Bus(end, phases, bus.kv))

    def _transformer(self) -> None:
        bus, end = self._pick(three=True), self._new_bus()
        kv = float(self.rng.choice([4.16, 0.48, 0.4]))
        conns = str(self.rng.choice(["delta wye", "wye wye", "wye delta", "delta delta"]))
        self.lines.append(
            f"new {self._name('transformer.t')} windings=2 wdg=1 bus={self._at(bus, (1, 2, 3))} "
            f"kv={bus.kv * 3**0.5:.5g} kva=500 conn={conns.split()[0]} wdg=2 bus={self._at(end, (1, 2, 3))} kv={kv} "
            f"kva=500 conn={conns.split()[1]} xhl={self.rng.uniform(2, 6):.2f}"
        )
        self.buses.append(_Bus(end, (1, 2, 3), kv / 3**0.5))

    def _three_windings(self) -> None:
        """With a control on one secondary, or on both."""
        bus, ends = self._pick(three=True), (self._new_bus(), self._new_bus())
        name = self._name("transformer.w")
        kvs = (bus.kv * 3**0.5, 4.16, 0.48)
        windings = " ".join(
            f"wdg={k + 1} bus={self._at(end, (1, 2, 3))} kv={kv:.5g} kva=500 conn={'delta' if k == 0 else 'wye'}"
            for k, (end, kv) in enumerate(zip((bus, *ends), kvs, strict=True))
        )
        self.lines.append(f"new {name} windings=3 {windings} xhl=4 xht=5 xlt=3")
        for k in (2, 3):
            if self.rng.random() < 0.7:
                self._control(name, k, kvs[k - 1] / 3**0.5)
        self.buses += [_Bus(end, (1, 2, 3), kv / 3**0.5) for end, kv in zip(ends, kvs[1:], strict=True)]

    def _control(self, transformer: str, winding: int, kv: float) -> None:
        own = quoted(transformer[1:-1].split(".", 1)[1])
        more = str(self.rng.choice(["", "", "", "ptphase=1", "reversible=yes revthreshold=5", "maxtapchange=1"]))
        self.lines.append(
            f"new {self._name('regcontrol.r')} transformer={own} winding={winding} "
            f"vreg={self.rng.uniform(119, 123):.1f} band=3 ptratio={kv * 1000 / 120:.4f} {more}"
        )

    def _regulator(self) -> None:
        """One of three phases, or one-phase units side by side; the tap somewhere, perhaps of winding 1."""
        bus, end = self._pick(), self._new_bus()
        if bus.neutral or bus.split:
            return
        phases, ganged = self._some(bus), self.rng.random() < 0.4
        for own in [phases] if ganged and len(phases) == 3 else [(p,) for p in phases]:
            kv = bus.kv * (3**0.5 if len(own) == 3 else 1)
            name, winding = self._name("transformer.r"), int(self.rng.choice([1, 2, 2]))
            tap = 1 + 0.00625 * int(self.rng.integers(-4, 5)) + (0.002 if self.rng.random() < 0.1 else 0)
            self.lines.append(
                f"new {name} phases={len(own)} windings=2 wdg=1 bus={self._at(bus, own)} kv={kv:.6g} kva=900 wdg=2 "
                f"bus={self._at(end, own)} kv={kv:.6g} kva=900 xhl=0.5 wdg={winding} tap={tap:.5f}"
            )
            own_name = quoted(name[1:-1].split(".", 1)[1])
            self.lines.append(
                f"new {self._name('regcontrol.c')} transformer={own_name} winding=2 tapwinding={winding} vreg=121 "
                f"band=3 ptratio={bus.kv * 1000 / 120:.4f}"
            )
        self.buses.append(_Bus(end, phases, bus.kv))

    def _autotransformer(self) -> None:
        bus, end = self._pick(three=True), self._new_bus()
        if bus.kv < 1:
            return
        low, name = bus.kv * 3**0.5 * 0.9, self._name("autotrans.a")
        self.lines.append(
            f"new {name} phases=3 windings=2 wdg=1 bus={self._at(bus, (1, 2, 3))} kv={bus.kv * 3**0.5:.6g} kva=900 "
            f"conn=series wdg=2 bus={self._at(end, (1, 2, 3))} kv={low:.6g} kva=900 conn=wye xhx=4"
        )
        if self.rng.random() < 0.6:
            self._control(name, 2, low / 3**0.5)
        self.buses.append(_Bus(end, (1, 2, 3), low / 3**0.5))

    def _service(self) -> None:
        """A centre-tapped transformer."""
        bus, end = self._pick(), self._new_bus()
        if bus.split or bus.neutral or bus.kv < 1:
            return
        phase = int(self.rng.choice(bus.phases))
        self.lines.append(
            f"new {self._name('transformer.s')} phases=1 windings=3 wdg=1 bus={self._at(bus, [phase])} kv={bus.kv:.6g} "
            f"kva=50 wdg=2 bus={self._at(end, (1, 0))} kv=0.12 kva=50 wdg=3 bus={self._at(end, (0, 2))} kv=0.12 kva=50 "
            "xhl=2 xht=2 xlt=1.4"
        )
        self.buses.append(_Bus(end, (1, 2), 0.12, split=True))

    def _four_wire(self) -> None:
        bus, end = self._pick(three=True), self._new_bus()
        if bus.kv < 1:
            return
        self.kinds.append("four wires")
        self.lines.append(
            f"new {self._name('transformer.f')} windings=2 wdg=1 bus={self._at(bus, (1, 2, 3))} "
            f"kv={bus.kv * 3**0.5:.6g} kva=250 conn=delta wdg=2 bus={self._at(end, (1, 2, 3, 4))} kv=0.4 kva=250 "
            "conn=wye xhl=4"
        )
        if self.rng.random() < 0.85:
            self.lines.append(f"new {self._name('reactor.e')} phases=1 bus1={self._at(end, [4])} r=0.5 x=0.01")
        self.buses.append(_Bus(end, (1, 2, 3), 0.4 / 3**0.5, neutral=4))

    # --- what draws and gives ---

    def _terminal(self, bus: _Bus) -> tuple[str, int, float, str]:
        """Terminal, phases, kv and connection of something at a bus."""
        rng = self.rng
        if bus.split and rng.random() < 0.4:
            return self._at(bus, (1, 2)), 1, 2 * bus.kv, "delta"
        if len(bus.phases) == 3 and rng.random() < 0.6:
            delta = rng.random() < 0.3
            wires = [*bus.phases, bus.neutral] if bus.neutral and not delta else bus.phases
            return self._at(bus, wires), 3, bus.kv * 3**0.5, "delta" if delta else "wye"
        phase = int(rng.choice(bus.phases))
        return self._at(bus, [phase, bus.neutral] if bus.neutral else [phase]), 1, bus.kv, "wye"

    def _load(self, bus: _Bus) -> None:
        rng = self.rng
        at, phases, kv, conn = self._terminal(bus)
        kw = rng.uniform(1, 6) if bus.kv < 1 else rng.uniform(10, 120)
        kw *= -0.5 if rng.random() < 0.08 else 1
        model = int(rng.choice([1, 1, 1, 2, 3, 4, 5, 6, 7, 8]))
        more = {4: "cvrwatts=0.8 cvrvars=2", 8: "zipv=[0.3 0.3 0.4 0.2 0.3 0.5 0.5]"}.get(model, "")
        more += str(rng.choice(["", "", "", " status=fixed", " status=exempt", " growth=gs"]))
        self.lines.append(
            f"new {self._name('load.p')} phases={phases} bus1={at} kv={kv:.6g} conn={conn} kw={kw:.3f} "
            f"kvar={kw * rng.uniform(0, 0.4):.3f} model={model} vminpu=0.7 vmaxpu=1.3 {more}"
        )

    def _power(self, bus: _Bus) -> None:
        at, phases, kv, conn = self._terminal(bus)
        kw = self.rng.uniform(1, 5) if bus.kv < 1 else self.rng.uniform(10, 60)
        common = f"phases={phases} bus1={at} kv={kv:.6g} conn={conn}"
        what = int(self.rng.integers(4))
        if what == 0:
            model = int(self.rng.choice([1, 1, 2, 7]))
            self.lines.append(f"new {self._name('generator.g')} {common} kw={kw:.3f} pf=0.95 model={model}")
        elif what == 1:
            sun = self.rng.uniform(0.2, 1)
            self.lines.append(
                f"new {self._name('pvsystem.v')} {common} kva={1.2 * kw:.3f} pmpp={kw:.3f} irradiance={sun:.2f} "
                "daily=default"
            )
        elif what == 2:
            state = self.rng.choice(["discharging", "charging", "idling"])
            self.lines.append(
                f"new {self._name('storage.b')} {common} kwrated={kw:.3f} kwhrated={4 * kw:.3f} state={state}"
            )
        elif bus.kv > 1:
            self.lines.append(f"new {self._name('isource.i')} phases={phases} bus1={at} amps=1 angle=20")

    def _bank(self, bus: _Bus) -> None:
        if len(bus.phases) != 3 or bus.neutral:
            return
        steps, name = int(self.rng.integers(1, 4)), self._name("capacitor.k")
        states = " ".join(map(str, self.rng.integers(0, 2, steps)))
        kvar = 6 if bus.kv < 1 else 60
        self.lines.append(
            f"new {name} phases=3 bus1={self._at(bus, (1, 2, 3))} kv={bus.kv * 3**0.5:.6g} kvar={kvar * steps} "
            f"numsteps={steps} states=[{states}]"
        )
        branches = [line.split('"')[1] for line in self.lines if line.startswith('new "line.')]
        if branches and self.rng.random() < 0.6:
            own = quoted(name[1:-1].split(".", 1)[1])
            self.lines.append(
                f"new {self._name('capcontrol.cc')} capacitor={own} element={quoted(branches[0])} terminal=1 "
                f"type={self.rng.choice(['voltage', 'kvar'])} ptratio={bus.kv * 1000 / 120:.3f} onsetting=119 "
                "offsetting=124"
            )
