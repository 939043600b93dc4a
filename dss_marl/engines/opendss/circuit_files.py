"""All files that a circuit consists of."""

from __future__ import annotations

import os
import re
from pathlib import Path

from dss_marl.engines.opendss.allowed_commands import FILE_PROPERTIES
from dss_marl.engines.opendss.reader import feeder_path
from dss_marl.engines.opendss.script import read_script

_DATA = "|".join(name for name in FILE_PROPERTIES if name.endswith("file"))
_NAMED = re.compile(
    rf"\b(?:{_DATA})\s*=\s*(?:\"([^\"]+)\"|'([^']+)'|\(([^()]+)\)|\[([^\[\]]+)\]|([^\s,\"'()\[\]]+))", re.I
)


def circuit_files(path_or_name: str | Path) -> list[Path]:
    """Absolute paths of a circuit's master file, of all that it includes, and of the coordinates and data they name.

    Args:
        path_or_name: as for ``read_feeder``.

    Raises:
        ValueError: unknown feeder, or a file that is included is missing; says where.
    """
    script = read_script(feeder_path(path_or_name)[1])
    found = dict.fromkeys(path.resolve() for path in script.files)
    for line in script.lines:
        for names in _NAMED.findall(line.text):
            name = next(filter(None, names)).strip()
            path = line.folder / (name if os.sep == "\\" else name.replace("\\", "/"))
            if path.is_file():
                found[path.resolve()] = None
    return list(found)
