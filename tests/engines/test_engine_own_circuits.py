"""What every engine must solve besides the published circuits: a divider by hand, and one with every odd element."""

import textwrap

import numpy as np
import pytest
import raw
from common import random_setpoints

from dss_marl import read_feeder
from dss_marl.grid.feeder import AddedUnit


def test_own_circuit_from_a_file(build, tmp_path):
    """Two buses, by hand: V2 = V1 - I Z with a constant-impedance load is a voltage divider."""
    path = tmp_path / "My Feeder.dss"  # a space, and capitals
    path.write_text(
        textwrap.dedent("""\
        clear
        new circuit.two phases=3 basekv=10 pu=1.0 mvasc3=1e9 mvasc1=1e9
        new line.l bus1=sourcebus bus2=End r1=1 x1=2 r0=1 x0=2 c1=0 c0=0 length=1 units=km normamps=100
        new load.L bus1=End phases=3 kv=10 kw=1000 kvar=500 model=2
        set voltagebases=[10]
        calcvoltagebases
        """)
    )
    feeder = read_feeder(path)
    solution = build(feeder).solve(feeder.setpoints())
    load = 10e3**2 / (1000e3 - 500e3j)
    expected = abs(load / (load + 1 + 2j))
    ends = [feeder.node_index[f"end.{phase}"] for phase in (1, 2, 3)]
    assert solution.v_pu[ends] == pytest.approx(expected, abs=1e-6)
    amps = 10e3 / 3**0.5 / abs(load + 1 + 2j)
    assert solution.loading == pytest.approx([amps / 100], rel=1e-5)
    assert solution.loss_kw == pytest.approx(3 * amps**2 * 1 / 1000, rel=1e-4)


RICH = """\
clear
new circuit.rich phases=3 basekv=12.47 pu=1.03 mvasc3=300 mvasc1=250
new transformer.reg phases=3 windings=2 buses=[sourcebus r] kvs=[12.47 12.47] kvas=[5000 5000]
~ xhl=0.1 %rs=[0.05 0.05] taps=[0.98125 1]
new regcontrol.reg transformer=reg winding=1 vreg=120 band=2 ptratio=60
new line.a bus1=r bus2=a r1=0.6 x1=1.1 r0=1.2 x0=3 c1=9 c0=4 length=2 units=km normamps=300
new line.b bus1=a bus2=b r1=0.6 x1=1.1 r0=1.2 x0=3 c1=9 c0=4 length=3 units=km normamps=200
new line.c bus1=a.2 bus2=c.2 phases=1 r1=0.9 x1=1.2 r0=0.9 x0=1.2 c1=9 c0=9 length=1.5 units=km normamps=100
new line.gone bus1=b bus2=gone r1=1 x1=1 length=1 units=km enabled=no
new reactor.series bus1=b bus2=d phases=3 r=0.4 x=0.7 normamps=150
new transformer.split phases=1 windings=3 buses=[c.2 e.1.0 e.0.2] kvs=[7.2 0.12 0.12] kvas=[50 50 50]
~ xhl=2 xht=2 xlt=1.5 %rs=[0.6 1.2 1.2]
new loadshape.old npts=24 interval=1 mult=[0.5]
new load.aa bus1=a phases=3 kv=12.47 kw=900 pf=0.92 model=1 daily=old
new load.bb bus1=b.1.3 phases=1 conn=delta kv=12.47 kw=300 kvar=90 model=5 status=fixed
new load.off bus1=b phases=3 kv=12.47 kw=500 kvar=100 enabled=no
new load.dd bus1=d phases=3 kv=12.47 kw=400 kvar=150 model=2
new load.cc bus1=c.2 phases=1 kv=7.2 kw=120 kvar=40 model=4 cvrwatts=0.8 cvrvars=2
new load.e1 bus1=e.1.0 phases=1 kv=0.12 kw=9 kvar=2 model=1
new load.e2 bus1=e.2.0 phases=1 kv=0.12 kw=4 kvar=1 model=1
new capacitor.bank bus1=b phases=3 kv=12.47 kvar=450 numsteps=3 states=[1 1 0]
new reactor.shunt bus1=d phases=3 kv=12.47 kvar=60
{extra}
set voltagebases=[12.47 0.208]
calcvoltagebases
set loadmult=0.9
"""
OWN_POWER = "new generator.own bus1=b phases=3 kv=12.47 kw=250 kvar=60 model=1\n"


@pytest.fixture(params=["", OWN_POWER], ids=["passive", "with a generator of its own"])
def rich(request, tmp_path):
    """A circuit with what the published ones lack: see the script."""
    (tmp_path / "rich.dss").write_text(RICH.format(extra=request.param))
    wide = "batchedit load..* vminpu=0.8 vmaxpu=1.2"
    return read_feeder(tmp_path / "rich.dss", [wide], [AddedUnit("pv", "d", 300.0), AddedUnit("roof", "c", 40.0)])


def test_an_odd_circuit_is_solved_like_any(build, rich):
    """Load multiplier, shapes, fixed and disabled elements, three windings, series reactor, bank of three steps."""
    engine = build(rich)
    rng = np.random.default_rng(26)
    assert rich.nominal_kw[0] == pytest.approx(-810)
    assert [row.name for row in rich.injections if row.kind == "load"] == [
        f"load.{n}" for n in ("aa", "bb", "dd", "cc", "e1", "e2")
    ]
    assert rich.uncontrolled in ((), ("generator.own",))
    for setpoints in [rich.setpoints(), *(random_setpoints(rich, rng) for _ in range(5))]:
        solution, truth = engine.solve(setpoints), raw.solve(rich, setpoints)
        assert np.abs(solution.v_pu - truth.v_pu).max() < 1e-7
        assert np.abs(solution.served_kw - truth.served_kw).max() < 1e-3
        assert solution.loss_kw == pytest.approx(truth.loss_kw, abs=2e-3)
        assert solution.source_kw == pytest.approx(truth.source_kw, abs=2e-3)
        assert solution.loading * [b.normal_amps for b in rich.branches] == pytest.approx(
            truth.amps, rel=1e-4, abs=2e-3
        )


def test_a_tap_of_winding_one_works_the_other_way(build, rich):
    """More turns on the source's side: less voltage behind it. The start is three steps down, as in the file."""
    (tap,) = rich.taps
    assert (tap.winding, tap.initial, tap.bus1, tap.bus2) == (1, -3, "r", "sourcebus")
    engine, setpoints = build(rich), rich.setpoints()
    before = engine.solve(setpoints).v_pu[rich.node_index["r.1"]]
    setpoints.tap[0] += 2
    assert engine.solve(setpoints).v_pu[rich.node_index["r.1"]] < before - 0.008


def test_a_bank_that_its_control_opened_closes_again(build, tmp_path):
    """A CapControl opens the terminal too, which the bank's states do not close; and what we open it can close."""
    lines = [
        "clear",
        "new circuit.c basekv=12.47 pu=1.06",
        "new line.b bus1=sourcebus bus2=b r1=0.5 x1=2 length=1",
        "new load.l bus1=b kv=12.47 kw=900 kvar=100",
        "new capacitor.bank bus1=b kv=12.47 kvar=900",
        "new capcontrol.cc capacitor=bank element=line.b terminal=2 type=voltage ptratio=60",
        "~ onsetting=118 offsetting=120",
    ]
    (tmp_path / "bank.dss").write_text("\n".join(lines))
    feeder = read_feeder(tmp_path / "bank.dss")
    engine, setpoints = build(feeder), feeder.setpoints()
    closed = build(feeder).solve(setpoints).v_pu
    opened = engine.solve(setpoints, controls=True)
    assert not opened.closed.any() and opened.v_pu.mean() < closed.mean() - 0.002
    assert np.abs(engine.solve(setpoints).v_pu - closed).max() < 1e-7
    low = setpoints.copy()
    low.closed[:] = False
    low.kw[:], low.kvar[:] = -9000, -4500
    engine.solve(low)
    assert engine.solve(low, controls=True).closed.all()


def test_capacitor_controls_act_and_are_reported(build, tmp_path):
    """A CapControl on voltage closes the steps that it needs; without controls they stay."""
    control = (
        "new capcontrol.cc capacitor=bank element=line.b terminal=2 type=voltage "
        "ptratio=60 onsetting=119 offsetting=124\n"
    )
    (tmp_path / "rich.dss").write_text(
        RICH.format(extra=control).replace("pu=1.03", "pu=0.97").replace("new regcontrol", "!")
    )
    feeder = read_feeder(tmp_path / "rich.dss")
    engine, setpoints = build(feeder), feeder.setpoints()
    setpoints.closed[:] = False
    for _ in range(2):
        moved = engine.solve(setpoints, controls=True)
        assert moved.closed.any()
        still = engine.solve(setpoints)
        assert not still.closed.any()
        assert moved.v_pu.mean() > still.v_pu.mean()
    settled = setpoints.copy()
    settled.closed = moved.closed.copy()
    assert np.abs(engine.solve(settled).v_pu - moved.v_pu).max() < 1e-7
