"""``solve`` and ``prove`` as functions: plans of a small task of one's own, and the verdict of its proof as text."""

import dss_marl
from dss_marl.controllers.planning.plan_files import plans_path
from dss_marl.experiments import prove, solve


def small_task(**changes):
    """A task of 24 intervals on the 69-bus feeder with three inverters."""
    fields = {
        "name": "small",
        "feeder": {"name": "case69"},
        "devices": [{"kind": "inverter", "bus": bus, "kw": kw} for bus, kw in ((27, 300), (50, 600), (65, 600))],
        "zones": {"method": "balanced", "count": 3},
        "profiles": {"kind": "synthetic", "seed": 69, "load_scale": [0.4, 0.7]},
        "steps": 24,
        "dt_h": 1.0,
        "observations": ["unit_voltage"],
        "rewards": {"voltage_violation": 100},
    }
    return dss_marl.Scenario(**fields | changes)


def test_plans_are_kept_and_a_proof_says_what_failed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scenario = small_task()
    returns = solve(scenario, days=2)
    assert len(returns) == 2 and plans_path(scenario).is_file()
    assert solve(scenario, days=2) == returns
    proof = prove(scenario, quick=True)
    text = str(proof)
    assert text.startswith("small: failed, on 2 test days\na  pass")
    assert "c  FAIL  every reward term and cost is active" in text
    assert "cost curtailed_kwh of a day: 0 (no_control) to 0 (no_control); demanded not zero" in text
    assert "reward voltage_violation" not in text  # only what failed is listed
