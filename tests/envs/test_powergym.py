"""The four tasks in PowerGym's numbers: rewards are step by step those of its step written afresh on OpenDSS."""

import numpy as np
import pytest
from common import task_of
from powergym_oracle import PowerGym, Storage

from dss_marl import ZoneEnv, build_task, gym_env, load_scenario

# As its env_register.py and Battery.csv have them: power_w, cap_w, reg_w, soc_w, dis_w; batteries and where they are.
SYSTEMS = {
    "powergym_13": ((10, 1, 1, 0, 6), 200, 1000, ["bus1=680 kv=4.16 conn=delta"]),
    "powergym_34": ((1, 1, 1, 0, 10), 500, 4000, ["bus1=890 kv=4.16 conn=delta", "bus1=832 kv=24.9 conn=delta"]),
    "powergym_123": (
        (10, 1, 1, 0, 7), 100, 1000,
        ["bus1=33.1 phases=1 kv=2.4 conn=wye", "bus1=114.1 phases=1 kv=2.4 conn=wye", "bus1=67 kv=2.4 conn=delta",
         "bus1=300 kv=2.4 conn=delta"],
    ),
    "powergym_8500": (
        (1, 1, 1, 0, 200), 100, 1000,
        ["bus1=l3160098.1.2.3 kv=7.2 conn=delta",
         *(f"bus1={bus}.1 phases=1 kv=7.2 conn=wye" for bus in (
             "l3312692", "l3091052", "l3065696", "l3235247", "l3066804", "l3251854", "l2785537", "l2839331")),
         "bus1=m1069509.1.2.3 kv=7.2 conn=delta"],
    ),
}  # fmt: skip
COUNTS = {"powergym_13": (2, 3, 1), "powergym_34": (2, 6, 2), "powergym_123": (4, 7, 4), "powergym_8500": (10, 12, 10)}
DAY, EXACT = 13, 1e-4  # the engines' tolerances are 1e-5 and 1e-6; voltages are summed over buses, losses weigh 10
QUICK = [name for name in SYSTEMS if name != "powergym_8500"]
# Every fourth level is a whole number of kW: at half a kWh the last digit decides whether a battery rounds up or down.
LEVELS = 4 * np.arange(9)


def idle(name, step):
    """All banks on, taps at neutral, no battery."""
    caps, regs, bats = COUNTS[name]
    return [1] * caps, [16] * regs, [16] * bats


def held(name, step):
    """What a day starts with: taps at their upper ends."""
    caps, regs, bats = COUNTS[name]
    return [1] * caps, [32] * regs, [16] * bats


def fixed(name, step):
    """Taps lowered at noon, banks by turns, and batteries that empty, fill and try to go beyond."""
    caps, regs, bats = COUNTS[name]
    tap, level = (18 if step < 12 else 14), (28 if step < 8 else 4 if step < 18 else 32)
    return [(step // 6 + k) % 2 for k in range(caps)], [tap] * regs, [level] * bats


def drawn(name):
    rng, (caps, regs, bats) = np.random.default_rng(1), COUNTS[name]
    return lambda name, step: (
        rng.integers(0, 2, caps).tolist(), rng.integers(0, 33, regs).tolist(), rng.choice(LEVELS, bats).tolist(),
    )  # fmt: skip


POLICIES = {"idle": lambda name: idle, "held": lambda name: held, "fixed": lambda name: fixed, "random": drawn}


def original(task, name, soc_w=0.0, dis_w=None, **rest):
    (power, cap, reg, _, dis), kw, kwh, places = SYSTEMS[name]
    weights = power, cap / 33, reg / 33, soc_w / 33, (dis if dis_w is None else dis_w) / 33
    storage = [
        Storage(f"batt{k}", f"new generator.batt{k} {place} kw=0 pf=0.95 model=1", kw, kwh)
        for k, place in enumerate(places, start=1)
    ]
    return PowerGym(task.feeder.path, task.scenario.feeder.commands, storage, weights, **{"tolerance": 1e-6, **rest})


def multipliers(env):
    """(24, L) of the running day."""
    feeder = env.task.feeder
    loads = list(feeder.loads)
    return env.simulator.conditions.day.kw[:24, loads] / feeder.nominal_kw[loads]


def both(task, name, policy, steps=24, **rest):
    """(T, 2) rewards of a day, here and there, and the stored energy."""
    env, gym = ZoneEnv(task, "test"), original(task, name, **rest)
    env.reset(seed=0, options={"day": DAY})
    gym.reset(multipliers(env))
    rewards, stored = [], []
    for step in range(steps):
        caps, regs, bats = policy(name, step)
        env.step({"zone_1": np.array([*caps, *regs, *bats])})
        rewards.append((env.team_reward, sum(gym.step(caps, regs, bats))))
        stored.append((env.after.stored_kwh[-len(bats) :].tolist(), [one.kwh for one in gym.storage]))
    env.close()
    return np.array(rewards), stored


def test_without_control_everything_stays_as_the_day_starts():
    for name in QUICK:
        task = task_of(name)
        env = ZoneEnv(task, "test")
        env.reset(seed=0, options={"day": DAY})
        start = env.now.setpoints
        env.step(task.encoding.encode(task.default_action))
        assert np.array_equal(env.after.setpoints.tap, start.tap) and (start.tap == 16).all()
        assert np.array_equal(env.after.setpoints.closed, start.closed)
        env.close()


def test_the_devices_are_counted_as_there():
    for name in QUICK:
        assert (len(original(task_of(name), name).storage),) == COUNTS[name][2:]
        env = gym_env(load_scenario(name))
        caps, regs, bats = COUNTS[name]
        assert env.action_space.nvec.tolist() == [2] * caps + [33] * (regs + bats)
        env.close()


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", QUICK)
def test_every_step_earns_what_it_earns_there(name, policy):
    rewards, stored = both(task_of(name), name, POLICIES[policy](name))
    assert all(ours == theirs for ours, theirs in stored)
    apart = np.abs(rewards[:, 0] - rewards[:, 1])
    assert (apart < EXACT * np.maximum(1.0, np.abs(rewards[:, 1]))).all(), apart
    assert rewards[:, 0].std() > 1e-3  # the loads differ by hour


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["idle", "random"])
def test_every_step_on_8500_nodes_earns_what_it_earns_there(policy):
    name = "powergym_8500"
    rewards, stored = both(task_of(name), name, POLICIES[policy](name), 3)
    assert all(np.abs(np.subtract(*one)).max() <= 1 for one in stored)  # in 10 batteries some are at half a kWh
    assert rewards[:, 0] == pytest.approx(rewards[:, 1], rel=1e-4)


def test_at_the_tolerance_of_the_original_the_return_of_a_day_is_the_same():
    for name in QUICK:
        rewards, _ = both(task_of(name), name, idle, tolerance=1e-4)
        assert rewards[:, 0].sum() == pytest.approx(rewards[:, 1].sum(), rel=1e-4)


# --- variants --------------------------------------------------------------------------------------------------------

_SOC = {"powergym_13": (20, 1), "powergym_34": (500, 4), "powergym_123": (500, 5)}  # soc_w and dis_w of *_soc


def variant(name, soc=False, continuous=False):
    """The changes that docs/comparability.md prints."""
    scenario = load_scenario(name)
    rewards, kwh = dict(scenario.rewards), SYSTEMS[name][2]
    devices = [dict(one) for one in scenario.devices]
    for one in devices:
        if one["kind"] == "stepped_battery":
            one |= {"levels": 0} if continuous else {}
            one |= {"owes_charge": True} if soc else {}
    if soc:
        rewards |= {"discharge": _SOC[name][1] / 33, "unserved_device_energy": _SOC[name][0] / 33 * 1000 / kwh}
    return build_task(
        scenario.replace(devices=devices, rewards=rewards, actions="box" if continuous else "multidiscrete")
    )


@pytest.mark.parametrize("name", QUICK)
def test_a_battery_that_owes_its_charge_pays_at_the_end_of_the_day(name):
    soc_w, dis_w = _SOC[name]
    rewards, _ = both(variant(name, soc=True), name, fixed, soc_w=soc_w, dis_w=dis_w)
    assert rewards[:, 0] == pytest.approx(rewards[:, 1], rel=1e-4, abs=EXACT)
    without, _ = both(task_of(name), name, fixed, dis_w=SYSTEMS[name][0][4])
    assert rewards[-1, 0] < without[-1, 0] - 0.1


@pytest.mark.parametrize("name", QUICK)
def test_continuous_batteries_are_those_there(name):
    task = variant(name, continuous=True)
    env, gym = ZoneEnv(task, "test"), original(task, name, continuous=True)
    env.reset(seed=0, options={"day": DAY})
    gym.reset(multipliers(env))
    caps, regs, bats = COUNTS[name]
    shares = np.random.default_rng(4).uniform(-1, 1, (24, bats)).astype(np.float32)
    for share in shares:
        env.step({"zone_1": np.array([*[1.0] * caps, *[0.0] * regs, *share], np.float32)})
        theirs = sum(gym.step([1] * caps, [16] * regs, share.astype(float).tolist()))
        assert env.team_reward == pytest.approx(theirs, rel=1e-4, abs=EXACT)
    env.close()


def test_more_agents_share_the_same_reward():
    """What two zones earn together is what one earns."""
    parts = build_task(load_scenario("powergym_13").replace(zones={"method": "balanced", "count": 2}))
    whole = ZoneEnv(task_of("powergym_13"), "test")
    split = ZoneEnv(parts, "test")
    rng = np.random.default_rng(0)
    for env in (whole, split):
        env.reset(seed=0, options={"day": DAY})
    for _ in range(4):
        action = rng.uniform(-1, 1, 6)
        for env in (whole, split):
            env.step(env.task.encoding.encode(action))
        assert split.team_reward == pytest.approx(whole.team_reward, rel=1e-12)
