"""What a feeder's report notes as worth a look, and the errors of a circuit that cannot be loaded."""

import re

import numpy as np
import pytest
from own_circuits import CIRCUITS, feeder_of

from dss_marl import OpenDSSEngine, read_feeder
from dss_marl.engines.opendss.checks import few
from dss_marl.grid.feeder_report import feeder_report

WIRE = "r1=1 x1=1 r0=1 x0=1 length=1"
START = f"clear\nnew circuit.c basekv=12.47\nnew line.l1 bus1=sourcebus bus2=b {WIRE} units=km normamps=100\n"
ONE_PHASE = f"new line.l2 phases=1 bus1=b.2 bus2=c.2 {WIRE} units=km normamps=100\n"
END = "set voltagebases=[12.47]\ncalcvoltagebases\n"

NOTES = {
    "near vminpu": ("new load.x bus1=b kv=12.47 kw=9000 kvar=3000\n" + END, "1 loads near or below vminpu.*load.x"),
    "near vmaxpu": (
        "vsource.source.pu=1.06\nnew load.x bus1=b kv=12.47 kw=1\n" + END,
        "1 loads near or above vmaxpu.*load.x",
    ),
    "kv of a load": ("new load.x bus1=b kv=7.2 kw=1\n" + END, "1 loads whose kv does not match their bus: load.x"),
    "no rating": ("line.l1.normamps=0\n" + END, "1 branches without a rating.*line.l1"),
    "default rating": (
        f"new line.l2 bus1=b bus2=c {WIRE} units=km\n" + END,
        "1 lines are rated 400 A, OpenDSS's own default: line.l2",
    ),
    "no unit of length": (f"new line.l2 bus1=b bus2=c {WIRE}\n" + END, "1 lines give no unit of length.*line.l2"),
    "wrong bases": ("set voltagebases=[24.9]\ncalcvoltagebases\n", "far from their base voltage.*0.50 pu"),
    "no coordinates": (END, "no bus has coordinates"),
}


@pytest.mark.parametrize("what", NOTES)
def test_what_is_worth_a_look_is_noted(what, tmp_path):
    text, words = NOTES[what]
    (tmp_path / "odd.dss").write_text(START + text)
    report = feeder_report(read_feeder(tmp_path / "odd.dss"))
    assert re.search(words, report), report


# --- what cannot be loaded -------------------------------------------------------------------------------------------

BAD = {
    "unknown line code": ("new line.x bus1=b bus2=c linecode=nothere\n", r"nothere.*odd\.dss.*line 4"),
    "unknown class": ("new windmill.x bus1=b\n", r"windmill.*odd\.dss"),
    "missing file": ("redirect nothere.dss\n", r"odd\.dss, line 4.*nothere\.dss"),
    "not a number": ("new load.x bus1=b kw=twelve\n", "twelve"),
    "twice": ("new load.x bus1=b kw=1\nnew load.x bus1=b kw=2\n", "(?i)duplicate.*load.x"),
    "twice allowed": (
        "set allowduplicates=yes\nnew load.x bus1=b kw=1\nnew load.x bus1=b kw=2\n" + END,
        "several elements of one name: load.x",
    ),
    "unknown bus": (
        "new load.x bus1=bb.2 phases=1 kv=7.2 kw=1\n" + END,
        "load.x connects to bus 'bb'.*no line.*load.x.en",
    ),
    "two unknown buses": (
        "new load.x bus1=bb kv=12.47 kw=1\nnew capacitor.y bus1=cc kv=12.47 kvar=1\n" + END,
        "load.x connects to bus 'bb'; capacitor.y connects to bus 'cc'",
    ),
    "three phases on a one-phase bus": (
        ONE_PHASE + "new load.x bus1=c kv=12.47 kw=1\n" + END,
        r"load.x connects to phases \[1, 3\] of bus 'c', which has \[2\]",
    ),
    "PV on a phase that is not there": (
        ONE_PHASE + "new pvsystem.x bus1=c.3 phases=1 kv=7.2 pmpp=1\n" + END,
        r"pvsystem.x connects to phases \[3\] of bus 'c', which has \[2\]",
    ),
    "no circuit": ("clear\n", "defines no circuit"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_cannot_be_loaded_is_one_clear_error(what, tmp_path):
    """And every context of the pool works on."""
    text, words = BAD[what]
    path = tmp_path / "odd.dss"
    path.write_text(START + text)
    good = feeder_of("meshed")
    running = OpenDSSEngine(good)
    expected = running.solve(good.setpoints()).v_pu
    for _ in range(3):
        with pytest.raises(ValueError, match=words) as caught:
            read_feeder(path)
        assert "odd.dss" in str(caught.value)
        assert "\n" not in str(caught.value)
    for _ in range(2):
        engine = OpenDSSEngine(read_feeder(CIRCUITS["meshed"]))
        assert np.array_equal(engine.solve(good.setpoints()).v_pu, expected)
        engine.close()
    running.restart()
    assert np.array_equal(running.solve(good.setpoints()).v_pu, expected)
    running.close()


def test_a_load_on_a_disabled_lines_bus_is_dead_and_no_error(tmp_path):
    (tmp_path / "odd.dss").write_text(
        START + "new line.l2 bus1=b bus2=c enabled=no\nnew load.x bus1=c kv=12.47 kw=1\n" + END
    )
    feeder = read_feeder(tmp_path / "odd.dss")
    assert "no path to a source" in feeder_report(feeder)
    assert OpenDSSEngine(feeder).solve(feeder.setpoints()).served_kw == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ("abc", "a, b, c"),
        ("abcde", "a, b, c, d, e"),
        ("abcdef", "a, b, c, d, e and 1 more"),
        ("aabbccddeeffgg", "a, b, c, d, e and 2 more"),
        ("", ""),
    ],
)
def test_a_note_names_five_and_counts_the_others(names, text):
    assert few(names) == text
