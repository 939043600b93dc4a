"""The checkpoint of a run: everything that learning goes on from, in one file that is whole or not there.

It holds tensors, numbers and text alone, and reading it runs no code.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dss_marl._assets import replacing
from dss_marl.experiments.runs.run_folder import CHECKPOINT
from dss_marl.experiments.runs.run_record import RunRecord

_FORMAT = 1


def write_checkpoint(folder: Path, record: RunRecord, content: Mapping[str, Any]) -> None:
    """Write the checkpoint of a run with its policy files; whoever kills the program leaves the previous one whole.

    Args:
        folder: of the run.
        record: of the run, which the checkpoint belongs to.
        content: tensors, numbers, text, and lists and dicts of these.
    """
    import torch

    files = {name: _tensor((folder / name).read_bytes()) for name in record.files}
    whole = {"format": _FORMAT, "run": _identity(record), "files": files, **content}
    with replacing(folder / CHECKPOINT) as part, part.open("wb") as file:
        torch.save(whole, file)
        file.flush()
        os.fsync(file.fileno())  # on the disk before it takes the other's place, should the power fail


def read_checkpoint(folder: Path, record: RunRecord) -> dict[str, Any] | None:
    """The content of a run's checkpoint; None if the run was stopped before its first.

    Raises:
        ValueError: the file is of another run or version, or no checkpoint.
    """
    import torch

    path = folder / CHECKPOINT
    if not path.is_file():
        return None
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError) as error:
        why = " ".join(str(error).split())[:200]
        raise ValueError(f"{str(path)!r} is no checkpoint, or only a part of one: {why}") from None
    if not isinstance(found, dict) or found.get("format") != _FORMAT:
        raise ValueError(f"{str(path)!r} is no checkpoint of this version, which reads format {_FORMAT}; train again")
    if found["run"] != _identity(record):
        raise ValueError(
            f"{str(path)!r} belongs to another run than the record beside it; fetch the whole folder again"
        )
    return found


def restore_files(folder: Path, found: Mapping[str, Any]) -> list[Path]:
    """Put the policy files of a checkpoint back, which a later evaluation may have replaced; returns their paths."""
    paths = []
    for name, content in found["files"].items():
        paths.append(folder / Path(name).name)
        with replacing(paths[-1]) as part:
            part.write_bytes(content.numpy().tobytes())
    return paths


def _identity(record: RunRecord) -> dict[str, Any]:
    return {"scenario": record.scenario["name"], "seed": record.seed, "started": record.started}


def _tensor(content: bytes) -> Any:
    import torch

    return torch.from_numpy(np.frombuffer(content, np.uint8).copy())
