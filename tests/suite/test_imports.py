"""What an import brings along, counted in a new process: seconds depend on the machine, modules do not."""

import subprocess
import sys

import pytest

HEAVY = {"pandas", "sklearn", "scipy", "matplotlib", "torch", "stable_baselines3", "opendssdirect", "clarabel"}


@pytest.mark.parametrize(
    ("module", "without"),
    [
        ("dss_marl", HEAVY | {"rich", "typer"}),
        ("dss_marl.cli.app", HEAVY),
        ("dss_marl.integrations.vector", HEAVY),
        ("dss_marl.integrations.sb3", HEAVY),
    ],
)
def test_heavy_libraries_are_imported_by_what_uses_them(module, without):
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "dss_marl" in loaded and not loaded & without
