"""Registration of the shipped scenarios with PettingZoo and Gymnasium, as ``dss_marl/NAME-vVERSION``."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import gymnasium

from dss_marl._assets import data_folder, known_names


def shipped_version(name: str) -> int:
    """Version of a shipped scenario, from one line of its file: nothing is parsed or built at import.

    A file that names none has that of its base, else 0.
    """
    text = (data_folder("scenarios") / f"{name}.yaml").read_text(encoding="utf-8")
    stated = re.search(r"^version:\s*(\d+)", text, re.MULTILINE)
    base = re.search(r"^base:\s*(\S+)", text, re.MULTILINE)
    if stated is None and base is not None:
        return shipped_version(base[1])
    return 0 if stated is None else int(stated[1])


def register_all(parallel: Callable[..., Any], aec: Callable[..., Any]) -> None:
    """Register every shipped scenario.

    Args:
        parallel, aec: make the environment of a ``scenario``, for PettingZoo's two registries.
    """
    try:
        from pettingzoo import register
    except ImportError:  # before PettingZoo 1.27 there is no registry
        register = None
    for name in known_names("scenarios"):
        full = f"dss_marl/{name}-v{shipped_version(name)}"
        gymnasium.register(full, "dss_marl:gym_env", vector_entry_point="dss_marl:make_vec", kwargs={"scenario": name})
        if register is not None:
            register("parallel", full, parallel, kwargs={"scenario": name})
            register("aec", full, aec, kwargs={"scenario": name})
