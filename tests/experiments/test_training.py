"""Training end to end, small: the record, the best policy, the table and the pictures."""

import json

import numpy as np
import pytest

import dss_marl
from dss_marl.envs.task import build_task
from dss_marl.experiments import ComparisonTable, PolicyPerKind, SharedPolicy, evaluate, load_policy, load_run, train
from dss_marl.experiments.evaluation import run_day
from dss_marl.experiments.metrics import FIGURES, EpisodeFigures
from dss_marl.mdp.return_statistics import mean_interval

pytest.importorskip("stable_baselines3")

SMALL = {
    "agent_steps": 2_000,
    "n_envs": 2,
    "n_steps": 48,
    "evaluations": 2,
    "evaluation_days": 1,
    "n_epochs": 2,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    scenario = dss_marl.load_scenario("ieee13_volt_var").replace(steps=48, training=SMALL)
    reports = []
    train(scenario, folder, seed=3, report=lambda steps, figures: reports.append((steps, figures)))
    return folder, scenario, reports


def test_the_record_repeats_the_run(run, tmp_path):
    from dss_marl.envs.scenario import scenario_from

    folder, scenario, _ = run
    record = load_run(folder)
    assert scenario_from(record.scenario) == scenario
    assert record.versions["opendssdirect.py"] != "not installed" and record.versions["torch"]
    assert record.profiles_sha256 == build_task(scenario).profiles.sha256()
    assert record.agent_steps >= SMALL["agent_steps"] and record.agent_steps_per_second > 0
    again = train(scenario_from(record.scenario), tmp_path, seed=record.seed)
    assert again.history == record.history


def test_the_saved_policy_is_the_best_on_validation_days(run):
    folder, scenario, reports = run
    record = load_run(folder)
    env = dss_marl.ZoneEnv(scenario, "validation")
    score = run_day(env, SharedPolicy.load(folder), env.days[0])["team_return"]
    assert score == pytest.approx(max(row["score"] for row in record.history), abs=1e-9)
    assert [figures["team_return"] for _, figures in reports if figures is not None] == [
        row["score"] for row in record.history
    ]


def test_compare_writes_table_and_pictures(run):
    from dss_marl.experiments.comparison import compare

    folder, _, _ = run
    table = compare(folder, ["no_control", "opendss_controls"], most_days=2)
    assert list(table.figures) == ["no_control", "opendss_controls", "learned"]
    saved = json.loads((folder / "table.json").read_text())
    assert saved["days"] == list(table.days) and len(saved["figures"]["learned"]) == 2
    assert "| learned |" in (folder / "table.md").read_text()
    pytest.importorskip("matplotlib")
    for name in ("feeder.png", "voltages.png", "learning.png"):
        assert (folder / name).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_a_run_is_compared_with_plans_too(tmp_path):
    """Which know test days only: the learning curve, of validation days, is drawn without them."""
    from dss_marl.experiments.comparison import compare

    pytest.importorskip("matplotlib")
    scenario = dss_marl.load_scenario("powergym_13")
    train(scenario.replace(training={**SMALL, "agent_steps": 200, "evaluations": 1}), tmp_path, seed=0)
    table = compare(tmp_path, ["opendss_controls", "best_known"], most_days=2)
    assert table.zero == "opendss_controls" and table.score("best_known")[0] == pytest.approx(1)
    assert (tmp_path / "learning.png").stat().st_size > 5_000


def test_a_policy_for_other_spaces_is_refused(run):
    folder, _, _ = run
    env = dss_marl.make("ieee34_volt_var")
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"shape .* scenario 'ieee34_volt_var'"):
        SharedPolicy.load(folder).reset(env)


TINY = {"agent_steps": 300, "n_envs": 1, "n_steps": 6, "evaluations": 1, "evaluation_days": 1, "n_epochs": 1}
FEW = {"steps": 6, "start_hour": 10.0, "agents": "device"}


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    """A run of a policy per kind on native actions, the choices with masks."""
    pytest.importorskip("sb3_contrib")
    folder = tmp_path_factory.mktemp("kinds")
    training = {**TINY, "sharing": "per_kind", "algorithm": "maskable_ppo"}
    scenario = dss_marl.load_scenario("ieee13_volt_var").replace(**FEW, actions="native", training=training)
    record = train(scenario, folder, seed=3)
    return folder, scenario, record


def test_a_policy_per_kind_is_saved_found_and_scored_alike(kinds):
    folder, scenario, record = kinds
    kinds = ("inverter", "regulator", "capacitor")
    files = {f"{which}-{kind}.safetensors" for kind in kinds for which in ("policy", "last")}
    tables = {f"progress-{kind}.csv" for kind in kinds}
    assert {path.name for path in folder.iterdir()} == {*files, *tables, "checkpoint.pt", "record.json", "logs"}
    assert set(load_run(folder).files) == files
    policy = load_policy(folder)
    assert isinstance(policy, PolicyPerKind)
    networks = {kind: type(model).__name__ for kind, model in policy.models.items()}
    masked = "MaskableActorCriticPolicy"
    assert networks == {"inverter": "ActorCriticPolicy", "regulator": masked, "capacitor": masked}
    env = dss_marl.ZoneEnv(scenario, "validation")
    score = run_day(env, policy, env.days[0])["team_return"]
    assert score == pytest.approx(max(row["score"] for row in record.history), abs=1e-9)
    assert record.agent_steps == 11 * 6 * 3 * 2, "agents, steps, kinds, rounds"
    assert sorted(path.name for path in (folder / "logs").iterdir()) == ["capacitor", "inverter", "regulator"]


def test_a_policy_per_kind_repeats_and_compares(kinds, tmp_path):
    from dss_marl.experiments.comparison import compare

    folder, scenario, record = kinds
    assert train(scenario, tmp_path, seed=3).history == record.history
    table = compare(folder, ["no_control"], most_days=1)
    assert list(table.figures) == ["no_control", "learned"]
    with pytest.raises(ValueError, match=r"no shared policy policy\.safetensors; load_policy"):
        SharedPolicy.load(folder)


def test_policies_of_other_kinds_are_refused(kinds):
    env = dss_marl.make("ieee13_volt_var", agents="zone")
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"no model for kind 'zone' \(zone_1\), only for capacitor, inverter"):
        load_policy(kinds[0]).reset(env)
    env = dss_marl.make("ieee13_volt_var", agents="device", actions="multidiscrete")
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"the model's action has shape.*'inverter_1'"):
        load_policy(kinds[0]).reset(env)


@pytest.mark.parametrize("sharing", ["all", "per_kind", "none"])
def test_maskable_policies_play_a_day_without_an_illegal_choice(tmp_path, sharing):
    pytest.importorskip("sb3_contrib")
    training = {**TINY, "agent_steps": 60, "sharing": sharing, "algorithm": "maskable_ppo"}
    scenario = dss_marl.load_scenario("ieee13_volt_var").replace(**FEW, actions="multidiscrete", training=training)
    train(scenario, tmp_path)
    policy, env = load_policy(tmp_path), dss_marl.ZoneEnv(scenario)
    for model in policy.models.values():
        model.action_net.bias.data[-1] = 50.0  # they want the last choice, which only inverters have
    observations, _ = env.reset(seed=0)
    policy.reset(env)
    forbidden = 0
    while env.agents:
        forbidden += sum(int((1 - seen["action_mask"]).sum()) for seen in observations.values())
        observations, *_, infos = env.step(policy.act(env, observations))
        assert not any(info["illegal"] for info in infos.values())
    assert forbidden > 0


def test_masks_without_choices_are_refused(tmp_path):
    scenario = dss_marl.load_scenario("ieee13_volt_var").replace(training={**TINY, "algorithm": "maskable_ppo"})
    with pytest.raises(ValueError, match=r"'maskable_ppo' needs actions that are choices.*'box'; use actions 'multi"):
        train(scenario, tmp_path)


def test_padding_does_not_count(tmp_path):
    """Whatever is drawn for an entry that moves nothing, the log-probability stays; its spread has no gradient."""
    import torch

    base = dss_marl.load_scenario("ieee34_volt_var")
    scenario = base.replace(steps=6, training={**TINY, "ignore_padding": True})
    train(scenario, tmp_path)
    policy = load_policy(tmp_path).model
    env = dss_marl.ZoneEnv(scenario)
    observations, _ = env.reset(seed=0)
    seen = torch.as_tensor(np.stack([observations[agent] for agent in env.agents]))
    used = torch.as_tensor(env.task.agents.action_layout.used)
    assert not used.all() and torch.equal(seen[:, policy.columns] > 0, used)
    actions = torch.zeros(used.shape)
    _, plain, entropy = policy.evaluate_actions(seen, actions)
    _, padded, _ = policy.evaluate_actions(seen, torch.where(used, actions, 3.0))
    _, moved, _ = policy.evaluate_actions(seen, torch.where(used, 3.0, actions))
    assert torch.equal(plain, padded) and (plain > moved).all()
    assert entropy[0] < entropy[1], "one entry against four"
    blind = [name for name in base.observations if name != "has_action"]
    with pytest.raises(ValueError, match="ignore_padding needs the observation 'has_action', but has zone_voltage"):
        train(scenario.replace(observations=blind), tmp_path, overwrite=True)
    assert load_run(tmp_path).status == "finished", "what is refused replaces nothing"
    train(scenario.replace(actions="multidiscrete"), tmp_path, overwrite=True)  # where masks leave padding no choice


def test_a_day_has_the_same_noise_whenever_it_is_played():
    class Noting(dss_marl.controllers.NoControl):
        def reset(self, env):
            self.seen = []

        def act(self, env, observations):
            self.seen.append(observations["zone_1"].copy())
            return super().act(env, observations)

    scenario = dss_marl.load_scenario("ieee13_volt_var").replace(steps=4, sensing={"noise_v_pu": 0.02, "missing": 0.3})
    env, seen = dss_marl.ZoneEnv(scenario, "test"), []
    for day in (17, 20, 17):
        noting = Noting()
        run_day(env, noting, day)
        seen.append(noting.seen)
    assert np.array_equal(seen[0], seen[2]) and not np.array_equal(seen[0], seen[1])


def test_no_run_and_bad_settings_are_errors(tmp_path):
    with pytest.raises(ValueError, match="is no run"):
        load_run(tmp_path)
    with pytest.raises(ValueError, match="agent_stepz"):
        dss_marl.load_scenario("ieee13_volt_var").replace(training={"agent_stepz": 1})


def test_figures_count_what_they_say():
    """A day by hand: the figures against sums over the states."""
    scenario = dss_marl.load_scenario("ieee34_volt_var").replace(steps=40)
    env = dss_marl.ZoneEnv(scenario, "test")
    env.reset(options={"day": 175})
    figures = EpisodeFigures(env.task)
    scored = [i for i, node in enumerate(env.task.feeder.nodes) if not node.startswith("sourcebus.")]
    node_h = loss = moves = 0.0
    good, total = 0, 0.0
    rng = np.random.default_rng(0)
    while env.agents:
        actions = {a: rng.uniform(-1, 1, env.task.agents.action_layout.width) for a in env.agents}
        _, rewards, *_ = env.step(actions)
        figures.add(env.before, env.after, rewards["zone_1"])
        v = env.after.solution.v_pu[scored]
        out = (v > 1.05) | (v < 0.95)
        node_h += out.sum() * 0.25
        good += not out.any()
        loss += float(env.after.solution.loss_kw) * 0.25
        moves += np.abs(env.after.setpoints.tap - env.before.setpoints.tap).sum()
        total += rewards["zone_1"]
    result = figures.result()
    assert node_h > 0 and moves > 0
    assert result["violation_node_h"] == pytest.approx(node_h)
    assert result["controllable_rate"] == pytest.approx(good / 40)
    assert result["loss_kwh"] == pytest.approx(loss)
    assert result["tap_moves"] == moves
    assert result["team_return"] == pytest.approx(total)


def test_the_interval_covers_the_mean_and_shrinks_with_days():
    x = np.random.default_rng(0).normal(5.0, 1.0, 400)
    mean, low, high = mean_interval(x)
    _, few_low, few_high = mean_interval(x[:20])
    assert low < mean < high and mean == pytest.approx(x.mean())
    assert high - low == pytest.approx(2 * 1.96 / np.sqrt(400), rel=0.2)
    assert few_high - few_low > 3 * (high - low)


def test_table_pairs_by_day():
    rows = {"a": [{"team_return": x} for x in (1.0, 2.0, 3.0)], "b": [{"team_return": x} for x in (0.0, 5.0, 1.0)]}
    table = ComparisonTable("s", "test", (1, 2, 3), rows)
    assert table.better_days("a", "b") == pytest.approx(2 / 3)
    assert table.better_days("b", "a") == pytest.approx(1 / 3)


def test_a_notebook_shows_a_comparison_as_a_table():
    figures = {"droop": [dict.fromkeys(FIGURES, 1.5)] * 2}
    table = ComparisonTable("s", "test", (1, 2), figures, left_out={"<mine>": "no"})
    assert repr(table) == "ComparisonTable('s', test: 2 days under droop)"
    page = table._repr_html_()
    assert "<tr><th>controller</th><th>team return</th>" in page
    assert "<tr><td>droop</td><td>1.50</td>" in page
    assert "&lt;mine&gt; left out: no" in page


def test_a_table_with_the_best_known_scores_all_controllers():
    returns = {"opendss_controls": (-6.0, -8.0), "droop": (-4.0, -5.0), "best_known": (-2.0, -2.0)}
    table = ComparisonTable(
        "s", "test", (1, 2), {name: [{"team_return": x} for x in row] for name, row in returns.items()}
    )
    assert [table.score(name)[0] for name in returns] == pytest.approx([0.0, 0.5, 1.0])
    without = ComparisonTable(
        "s", "test", (1, 2), {name: table.figures[name] for name in ("opendss_controls", "droop")}
    )
    with pytest.raises(ValueError, match="needs opendss_controls or no_control, and best_known"):
        without.score("droop")


def test_evaluate_uses_the_days_asked_for():
    scenario = dss_marl.load_scenario("ieee13_volt_var").replace(steps=8)
    one = evaluate(dss_marl.controllers.NoControl(), scenario, [10, 200])
    two = evaluate(dss_marl.controllers.NoControl(), scenario, [200])
    assert one[1] == two[0] and one[0] != one[1]
