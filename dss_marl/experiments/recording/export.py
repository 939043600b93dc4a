"""Export: a recording as CSV, Parquet, pandas frames, an xarray Dataset and netCDF."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from dss_marl.experiments.metrics import FIGURES, about_figure
from dss_marl.experiments.recording.recorded_days import RecordedDays
from dss_marl.experiments.recording.table import Column, Table

_TIME_HEADINGS = {"hour": "hour [h]"}
_INSTALL = "pip install 'dss_marl[data]'"


# --- files -----------------------------------------------------------------------------------------------------------


def write_csv(recording: RecordedDays, folder: Path) -> Path:
    """See Recording.to_csv."""
    _describe(recording, folder)
    times = recording.times()
    moments = list(zip(*(values.tolist() for values in times.values()), strict=True))
    for table in recording.tables.values():
        cells = (_cells(row) for row in table.values)
        rows = ([*moment, *own] for moment, own in zip(moments, cells, strict=True))
        _write_rows(folder / f"{table.name}.csv", _headings(times, table), rows)
    return folder


def write_parquet(recording: RecordedDays, folder: Path) -> Path:
    """See Recording.to_parquet."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError(f"to_parquet needs pyarrow: {_INSTALL}; to_csv works without it") from error
    _describe(recording, folder)
    times = recording.times()
    for table in recording.tables.values():
        columns = [pyarrow.array(values) for values in (*times.values(), *np.ascontiguousarray(table.values.T))]
        parquet.write_table(pyarrow.table(columns, names=_headings(times, table)), folder / f"{table.name}.parquet")
    return folder


def _describe(recording: RecordedDays, folder: Path) -> None:
    """What all columns are, the figures of each day, and what was played."""
    folder.mkdir(parents=True, exist_ok=True)
    legend = ([table.name, table.meaning, *column] for table, column in _every_column(recording))
    _write_rows(folder / "columns.csv", ["table", "meaning", *Column._fields], legend)
    names = recording.figures[0] if recording.figures else FIGURES
    figures = ([day, *own.values()] for day, own in zip(recording.days, recording.figures, strict=True))
    _write_rows(folder / "figures.csv", ["day", *map(_figure_heading, names)], figures)
    about = {
        "scenario": recording.scenario.model_dump(mode="json"),
        "controller": recording.controller,
        "split": recording.split,
        "days": recording.days,
        "dss_marl": version("dss_marl"),
    }
    (folder / "recording.json").write_text(json.dumps(about, indent=1), encoding="utf-8")


def _write_rows(path: Path, headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(headings)
        writer.writerows(rows)


def _cells(row: np.ndarray) -> list[Any]:
    """The values as Python numbers, which are written so that they read back exactly; NaN is an empty cell."""
    return ["" if value != value else value for value in row.tolist()]  # only NaN differs from itself


def _headings(times: Mapping[str, np.ndarray], table: Table) -> list[str]:
    return [*(_TIME_HEADINGS.get(name, name) for name in times), *(column.heading for column in table.columns)]


def _figure_heading(name: str) -> str:
    unit = about_figure(name)[0]
    return f"{name} [{unit}]" if unit else name


def _every_column(recording: RecordedDays) -> Iterator[tuple[Table, Column]]:
    for table in recording.tables.values():
        for column in table.columns:
            yield table, column


# --- pandas ----------------------------------------------------------------------------------------------------------


def wide_frame(recording: RecordedDays, table: Table) -> Any:
    """See Recording.to_frame, of one table."""
    pandas = _pandas()
    index = pandas.MultiIndex.from_arrays(list(recording.times().values()), names=list(recording.times()))
    frame = pandas.DataFrame(table.values, index=index, columns=list(table.names))
    frame.attrs["units"] = {column.name: column.unit for column in table.columns}
    return frame


def long_frame(recording: RecordedDays) -> Any:
    """See Recording.to_frame, of all tables."""
    pandas = _pandas()
    count, legend = len(recording.day), list(_every_column(recording))
    frame = pandas.DataFrame({name: np.tile(values, len(legend)) for name, values in recording.times().items()})
    frame["table"] = _category(pandas, [table.name for table, _ in legend], count)
    for place, field in enumerate(Column._fields):
        frame[field] = _category(pandas, [column[place] for _, column in legend], count)
    values = [table.values.T.ravel().astype(float) for table in recording.tables.values()]
    frame["value"] = np.concatenate(values)
    return frame


def _category(pandas: Any, texts: Sequence[str], count: int) -> Any:
    """Each text ``count`` times; a year of a feeder has millions of rows and a few hundred texts."""
    known = list(dict.fromkeys(texts))
    places = {text: place for place, text in enumerate(known)}
    return pandas.Categorical.from_codes(np.repeat([places[text] for text in texts], count), known)


def _pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise ImportError(f"to_frame needs pandas: {_INSTALL}; to_csv works without it") from error
    return pandas


# --- xarray ----------------------------------------------------------------------------------------------------------


def dataset(recording: RecordedDays) -> Any:
    """See Recording.to_xarray."""
    try:
        import xarray
    except ImportError as error:
        raise ImportError(f"to_xarray and to_netcdf need xarray: {_INSTALL}; to_csv works without it") from error
    variables: dict[str, Any] = {}
    coordinates: dict[str, Any] = {name: ("time", values) for name, values in recording.times().items()}
    for table in recording.tables.values():
        if not table.axis:  # quantities of the whole feeder, each a variable of its own
            for column, values in zip(table.columns, table.values.T, strict=True):
                variables[column.name] = ("time", values, {"units": column.unit})
            continue
        variables[table.name] = (("time", table.axis), table.values, _attributes(table))
        coordinates |= _element_coordinates(table)
    coordinates["hour"] = ("time", recording.hour, {"units": "h"})
    about = {"scenario": recording.scenario.name, "controller": recording.controller, "split": recording.split}
    return xarray.Dataset(variables, coordinates, about)


def write_netcdf(recording: RecordedDays, path: Path) -> Path:
    """See Recording.to_netcdf."""
    made = dataset(recording)
    path.parent.mkdir(parents=True, exist_ok=True)
    made.to_netcdf(path)
    return path


def _attributes(table: Table) -> dict[str, str]:
    """Meaning, and the unit where all columns share one; else the coordinate ``<axis>_unit`` has them."""
    units = {column.unit for column in table.columns}
    return {"long_name": table.meaning} | ({"units": units.pop()} if len(units) == 1 else {})


def _element_coordinates(table: Table) -> dict[str, Any]:
    """The names of a table's columns as its second dimension, and what else is known of them."""
    found: dict[str, Any] = {table.axis: (table.axis, list(table.names))}
    for field in ("unit", "kind", "bus", "zone"):
        texts = [getattr(column, field) for column in table.columns]
        if any(texts) and not (field == "unit" and len(set(texts)) == 1):
            found[f"{table.axis}_{field}"] = (table.axis, texts)
    return found
