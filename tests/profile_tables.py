"""A small circuit, and tables of its powers as users write them."""

import datetime

from dss_marl import read_feeder
from dss_marl.grid.feeder import AddedUnit
from dss_marl.profiles import CsvProfiles, Profiles

FEEDER = """
clear
new circuit.small basekv=12.47 pu=1.0 phases=3 bus1=a
new line.ab bus1=a bus2=b length=1 units=km
new loadshape.house npts=24 interval=1 mult=({shape})
new loadshape.works npts=24 interval=1 mult=({other})
new load.one bus1=b kv=12.47 kw=100 kvar=50 daily=house
new load.two bus1=b kv=12.47 kw=200 kvar=20 daily=works
new load.three bus1=b kv=12.47 kw=10 kvar=1
set voltagebases=[12.47]
calcvoltagebases
solve
"""
HOUSE = [0.5] * 6 + [0.8] * 12 + [1.0] * 6
WORKS = [0.25] * 12 + [0.75] * 12


def small(tmp_path, inverter=True, text=FEEDER):
    path = tmp_path / "small.dss"
    path.write_text(text.format(shape=" ".join(map(str, HOUSE)), other=" ".join(map(str, WORKS))))
    return read_feeder(path, [], [AddedUnit("roof", "b", 50.0)] if inverter else [])


def rows(days=10, minutes=60, start="2024-03-01 00:00", **columns):
    """Header and rows of a table; columns are functions of (day, hour)."""
    columns = columns or {"one": lambda d, h: 50 + d, "two": lambda d, h: 100 + h, "three": lambda d, h: 5}
    begin = datetime.datetime.fromisoformat(start)
    table = [["time", *columns]]
    for k in range(days * 1440 // minutes):
        at = begin + datetime.timedelta(minutes=k * minutes)
        hours = k * minutes / 60
        table.append([at.isoformat(" "), *(f"{f(int(hours // 24), hours % 24):.6g}" for f in columns.values())])
    return table


def written(tmp_path, table, name="data.csv", separator=","):
    path = tmp_path / name
    path.write_text("\n".join(separator.join(row) for row in table) + "\n")
    return path


def profiles(tmp_path, table, dt_h=1.0, separator=",", **fields):
    path = written(tmp_path, table, separator=separator)
    return Profiles(CsvProfiles(kind="csv", path=str(path), **fields), small(tmp_path), dt_h)
