"""Small circuits of our own, one for each feature, and what plain OpenDSS answers on them."""

import os
from dataclasses import dataclass
from functools import cache

import numpy as np
from common import ROOT
from opendssdirect import dss

from dss_marl import read_feeder

FOLDER = ROOT / "tests" / "circuits"
CIRCUITS = {path.stem: path for path in sorted(FOLDER.glob("*.dss"))} | {"own": FOLDER / "Own Circuit" / "Master.DSS"}
OWN = ("generator", "pvsystem", "storage")
LOSSY = ("line.", "transformer.", "autotrans.", "reactor.", "capacitor.")


@cache
def feeder_of(name):
    return read_feeder(CIRCUITS[name])


@cache
def context():
    made = dss.NewContext()
    made.Basic.AllowForms(False)
    return made


@dataclass
class Snapshot:
    v: dict  # |V| of every node [V]
    volts: dict  # the same, complex
    loads_kw: dict
    own_kw: float
    loss_kw: float
    source_kw: float


def plain(path, commands=()):
    """A snapshot of the file itself, its controls off, with nothing of dss_marl."""
    made, before = context(), os.getcwd()
    try:
        made.Text.Command("clear")
        made.Text.Command("set defaultbasefrequency=60")
        made.Basic.AllowChangeDir(True)
        made.Text.Command(f'compile "{path}"')
    finally:
        made.Basic.AllowChangeDir(False)
        os.chdir(before)
    for command in commands:
        made.Text.Command(command)
    made.Text.Command("set mode=snapshot controlmode=off tolerance=1e-10 maxiterations=500")
    made.Solution.Solve()
    assert made.Solution.Converged()
    names = [name.lower() for name in made.Circuit.AllNodeNames()]
    v = dict(zip(names, made.Circuit.AllBusVMag(), strict=True))
    flat = np.array(made.Circuit.AllBusVolts())
    volts = dict(zip(names, flat[::2] + 1j * flat[1::2], strict=True)) | {"": 0j}
    loads, own, loss = {}, 0.0, 0.0
    for name in made.Circuit.AllElementNames():
        made.Circuit.SetActiveElement(name)
        if made.CktElement.Enabled() and name.lower().startswith("load."):
            loads[name.lower()] = made.CktElement.TotalPowers()[0]
        if made.CktElement.Enabled() and name.lower().startswith(OWN):
            own -= made.CktElement.TotalPowers()[0]
        if made.CktElement.Enabled() and name.lower().startswith(LOSSY):
            loss += made.CktElement.Losses()[0] / 1000  # Circuit.Losses leaves out what stands to ground
    source = -made.Circuit.TotalPower()[0]  # current sources are among the sources
    return Snapshot(v, volts, loads, own, loss, source)


def rows_by_name(rows):
    return {row.name: row for row in rows}
