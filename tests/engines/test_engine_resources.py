"""What every engine must leave alone, and the errors that a circuit or command of the user's raises."""

import os

import numpy as np
import pytest
from engine_cases import ENGINES, arrays

from dss_marl import read_feeder
from dss_marl.engines.opendss import context as contexts


def test_the_working_directory_stays_where_it_is(build, tmp_path, monkeypatch):
    """eulv has redirects and coordinates, so compiling it reads several files of its folder."""
    monkeypatch.chdir(tmp_path)
    feeder = read_feeder("eulv")
    before = set(feeder.path.parent.iterdir())
    build(feeder).solve(feeder.setpoints())
    assert os.getcwd() == str(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert set(feeder.path.parent.iterdir()) == before


def test_contexts_are_pooled(kind, monkeypatch):
    """A dropped context leaks more than a megabyte."""
    made, new_context = [], contexts._new_context

    def counted():
        made.append(new_context())
        return made[-1]

    monkeypatch.setattr(contexts, "_new_context", counted)
    monkeypatch.setattr(contexts, "_idle", [])
    feeder = read_feeder("ieee13")
    for _ in range(30):
        engine = ENGINES[kind](feeder)
        engine.solve(feeder.setpoints())
        engine.close()
    for _ in range(30):
        ENGINES[kind](feeder).solve(feeder.setpoints())  # dropped without close
    assert 1 <= len(made) <= (2 if kind == "opendss" else 4)  # of a batch, two copies each


def test_closing_twice_or_unopened_is_harmless(build):
    feeder = read_feeder("ieee13")
    engine = build(feeder)
    engine.close()
    first = arrays(engine.solve(feeder.setpoints()))
    engine.close()
    engine.close()
    engine.restart()
    assert np.array_equal(arrays(engine.solve(feeder.setpoints())), first)


BAD = {
    "unknown class": ("new circuit.a basekv=1\nnew lime.x bus1=sourcebus bus2=b\n", "lime"),
    "unknown line code": ("new circuit.a basekv=1\nnew line.x bus1=sourcebus bus2=b linecode=nothere\n", "nothere"),
    "not a number": ("new circuit.a basekv=1\nnew load.x bus1=sourcebus kv=1 kw=twelve\n", "twelve"),
    "missing file": ("new circuit.a basekv=1\nredirect nothere.dss\n", "nothere"),
    "no circuit": ("! nothing\n", "circuit"),
    "empty": ("", "circuit"),
    "unknown property": ("new circuit.a basekv=1\nnew load.x bus1=sourcebus colour=red\n", "colour"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_circuit_that_does_not_compile_is_explained_and_harms_nothing(build, what, tmp_path):
    text, culprit = BAD[what]
    good = read_feeder("ieee13")
    running = build(good)
    expected = arrays(running.solve(good.setpoints()))
    path = tmp_path / "wrong.dss"
    path.write_text(f"clear\n{text}")
    for _ in range(3):  # each context of the pool may be hit
        with pytest.raises(ValueError, match=r"wrong\.dss") as caught:
            read_feeder(path)
        assert culprit in str(caught.value).lower()
    running.restart()
    assert np.array_equal(arrays(running.solve(good.setpoints())), expected)
    for _ in range(2):
        again = read_feeder("ieee13")
        assert np.array_equal(arrays(build(again).solve(again.setpoints())), expected)


def test_a_command_that_opendss_refuses_is_named(build):
    with pytest.raises(ValueError, match=r"'load\.nothere\.kw=1'.*ieee13.*nothere"):
        read_feeder("ieee13", ["load.nothere.kw=1"])
    feeder = read_feeder("ieee13")
    assert build(feeder).solve(feeder.setpoints()).energised.all()
