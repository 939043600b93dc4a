"""``solve`` and ``prove`` as functions: plans of a small task of one's own, and the verdict of its proof as text."""

import pytest

import dss_marl
from dss_marl.controllers.planning.plan_files import Plans, digest, load_plans, plans_path
from dss_marl.controllers.planning.play import play_plan
from dss_marl.envs.task import build_task
from dss_marl.experiments import prove, solve
from dss_marl.experiments.solve_days import days_to_solve, solved


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


def solved_at_once(scenario, days, split="train", margin_pu=0.0):
    """The returns of plans without polish."""
    plans, path, todo = days_to_solve(scenario, days, split=split, margin_pu=margin_pu)
    return {day: earned for day, earned, _ in solved(scenario, plans, path, todo, effort_s=0.0)}


def test_plans_of_training_days_have_a_file_that_names_their_split(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scenario = small_task()
    returns = solved_at_once(scenario, 2)
    path = plans_path(scenario, "train")
    assert path.name == "train_plans.npz" and not plans_path(scenario).exists()
    assert len(returns) == 2 and set(returns) <= set(build_task(scenario).profiles.days("train"))
    assert Plans.load(path).split == load_plans(scenario, "train").split == "train"
    with pytest.raises(ValueError, match=r"'small' has no plans; 'dss-marl solve small' finds them"):
        load_plans(scenario)
    path.rename(plans_path(scenario))
    for ask in (load_plans, solve):
        with pytest.raises(ValueError, match=r"plans.npz' has plans of train days, not of test days"):
            ask(scenario)
    with pytest.raises(ValueError, match="unknown split 'training'"):
        solve(scenario, split="training")


def test_a_margin_keeps_plans_off_the_limits_and_their_return_is_the_true_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scenario = small_task(band={"low": 0.956, "high": 1.03})  # which reactive power reaches in two hours more
    closer = build_task(scenario.replace(band={"low": 0.958, "high": 1.028}))
    within = []
    for margin_pu in (0.0, 0.003):
        plans_path(scenario, "train").unlink(missing_ok=True)
        returns = solved_at_once(scenario, 1, margin_pu=margin_pu)
        (day, earned), plans = next(iter(returns.items())), load_plans(scenario, "train")
        assert plans.margin_pu == margin_pu
        assert earned == pytest.approx(play_plan(build_task(scenario), day, plans.requests[day]))
        within.append(play_plan(closer, day, plans.requests[day]))
    assert within[1] > within[0] + 1e-3, "the plan with a margin suits a narrower band"


def test_margins_that_do_not_fit_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scenario = small_task()
    path = plans_path(scenario, "train")
    path.parent.mkdir(parents=True)
    Plans(digest(scenario), split="train", margin_pu=0.004).save(path)
    with pytest.raises(ValueError, match=r"a margin of 0.004 pu, not 0; remove the file, or write another with --out"):
        solve(scenario, days=1, split="train")
    with pytest.raises(ValueError, match="a margin is for plans to be imitated"):
        solve(scenario, days=1, margin_pu=0.001)
    with pytest.raises(ValueError, match=r"a margin of 0.06 pu leaves nothing of the band 0.95 to 1.05 pu"):
        solve(scenario.replace(name="other"), days=1, split="train", margin_pu=0.06)
