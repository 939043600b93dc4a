"""Every example runs as it stands."""

import subprocess
import sys

import pytest
from common import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
ARGUMENTS = {
    "analytic_policy_gradient": ["--copies", "4", "--updates", "2", "--steps-per-update", "3", "--test-days", "1"],
    "offline_cloning": ["--train-days", "1", "--test-days", "1"],
    "train_batched": ["--scenario", "ieee13_volt_var", "--steps", "300", "--copies", "4"],
    "train_sb3": ["--scenario", "ieee13_volt_var", "--steps", "300"],
}
NEEDS = {
    "analytic_policy_gradient": "torch",
    "offline_cloning": "minari",
    "train_batched": "stable_baselines3",
    "train_sb3": "stable_baselines3",
}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(path, tmp_path):
    if path.stem in NEEDS:
        pytest.importorskip(NEEDS[path.stem])
    done = subprocess.run(
        [sys.executable, str(path), *ARGUMENTS.get(path.stem, [])], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr, done.stderr
    assert done.stdout.strip() or path.stem == "train_sb3"
