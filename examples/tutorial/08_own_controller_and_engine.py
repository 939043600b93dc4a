"""8. Your own controller and engine: the code of docs/tutorial/08_own_controller_and_engine.md, written by docs/make_scripts.py."""

# A local rule

import numpy as np

import dss_marl


class Local:
    """Each inverter and each regulator acts against the voltage that it sees."""

    circuit_controls = False  # the taps are ours
    local = True

    def __init__(self, gain=0.4):
        self.gain = gain

    def reset(self, env):
        """Find the pairs of action entry and observation entry."""
        self.inverters, self.regulators = {}, {}
        for agent in env.possible_agents:
            labels = env.labels(agent)
            seen = {
                label.split(" [")[0]: k for k, label in enumerate(labels["observation"])
            }
            named = [
                (k, *label.split(": "))
                for k, label in enumerate(labels["action"])
                if label != "-"
            ]
            self.inverters[agent] = [
                (k, seen[f"voltage at {name}"])
                for k, name, what in named
                if "reactive" in what
            ]
            self.regulators[agent] = [
                (k, seen[f"voltage regulated by {name}"])
                for k, name, what in named
                if "tap" in what
            ]

    def act(self, env, observations):
        return self.answer(env, observations, self.gain)

    def answer(self, env, observations, gain):
        """Actions of all agents; gain in share of kvar per half of the band."""
        actions = env.task.encoding.encode(env.task.default_action)
        for agent, action in actions.items():
            for k, seen in self.inverters[agent]:
                action[k] = np.clip(-gain * observations[agent][seen], -1, 1)
            for k, seen in self.regulators[agent]:
                action[k] = np.clip(-observations[agent][seen], -1, 1)
        return actions


env = dss_marl.make("ieee34_volt_var", split="train")
for gain in (0.1, 0.2, 0.4, 1.0):
    days = dss_marl.record(env, Local(gain), days=env.days[::95]).figures
    mean = np.mean([day["team_return"] for day in days])
    print(f"gain {gain}: mean return {mean:8.2f} on {len(days)} training days")


# Trying before acting

class Trial(Local):
    """Tries the local rule with several gains, with and without its tap moves."""

    local = False  # the team's reward takes the voltages of the whole feeder

    def act(self, env, observations):
        candidates = []
        for gain in (0.0, 0.1, 0.2, 0.4):
            moved = self.answer(env, observations, gain)
            still = {agent: action.copy() for agent, action in moved.items()}
            for agent, entries in self.regulators.items():
                still[agent][[k for k, _ in entries]] = 0
            candidates += [moved, still]

        def earned(actions):
            return env.task.reward_model.team_reward(env.now, env.what_if(actions))

        return max(candidates, key=earned)


# Comparing, with intervals

from dss_marl.controllers import reference
from dss_marl.experiments import evaluate_all

env.close()
scenario = dss_marl.load_scenario("ieee34_volt_var")
controllers = {
    name: reference(name, scenario)
    for name in ("opendss_controls", "tuned_droop", "best_known")
}
table = evaluate_all(
    {**controllers, "local": Local(), "trial": Trial()}, scenario, "test", most_days=8
)
table

from dss_marl.experiments import mean_interval

for other in ("opendss_controls", "tuned_droop", "local"):
    gain = table.column("trial", "team_return") - table.column(other, "team_return")
    mean, low, high = mean_interval(gain)
    better = f"better on {(gain > 0).sum()} of {len(gain)} days"
    print(f"trial - {other:16s} {mean:5.2f} ({low:5.2f} to {high:5.2f}), {better}")
for name in table.figures:
    print(f"score of {name:16s} {table.score(name)[0]:6.2f}")


# An engine

class Metered:
    """OpenDSS, with a count of solves and the worst voltage unbalance seen."""

    def __init__(self, feeder):
        self.feeder = feeder
        self.inner = dss_marl.open_engine(feeder)
        rows = {
            bus.name: [feeder.node_index[f"{bus.name}.{p}"] for p in bus.phases]
            for bus in feeder.buses
        }
        self.three = np.array(
            [nodes for nodes in rows.values() if len(nodes) == 3]
        )  # (B, 3)
        self.solves, self.worst = 0, 0.0

    def solve(self, setpoints, controls=False):
        solution = self.inner.solve(setpoints, controls)
        phases = solution.v_alive[self.three]
        mean = phases.mean(axis=-1, keepdims=True)
        self.solves += 1
        self.worst = max(self.worst, float((np.abs(phases - mean) / mean).max()))
        return solution

    def restart(self):
        """Forget all history of the solver."""
        self.inner.restart()

    def close(self):
        """Release the solver; it opens again by itself."""
        self.inner.close()


env = dss_marl.make("ieee13_volt_var", split="test", engine=f"{__name__}:Metered")
env.reset(seed=0, options={"day": 139})
while env.agents:
    env.step(env.task.encoding.encode(env.task.default_action))
print(f"{env.engine.solves} solves in a day of {env.task.scenario.steps} steps")
print(f"worst unbalance {env.engine.worst:.1%}")

# An engine's contract

engine, feeder = env.engine, env.task.feeder
rng = np.random.default_rng(0)


def some():
    """Set points at random: loads, taps, banks."""
    setpoints = env.task.start.copy()
    setpoints.kw *= rng.uniform(0, 1.2)
    setpoints.kvar *= rng.uniform(0, 1.2)
    setpoints.tap[:] = rng.integers(-8, 9, len(setpoints.tap))
    banks = [row.kind == "capacitor" for row in feeder.switches]
    setpoints.closed[banks] = rng.random(sum(banks)) < 0.5
    return setpoints


first = some()
engine.restart()
fresh = engine.solve(first)
for _ in range(20):
    engine.solve(some())
later = engine.solve(first)
engine.restart()
again = engine.solve(first)
print(f"after 20 others: {np.abs(later.v_pu - fresh.v_pu).max():.1e} pu apart")
print(f"after restart:   {np.abs(again.v_pu - fresh.v_pu).max():.1e} pu apart")
balance = fresh.source_kw + fresh.served_kw.sum() - fresh.loss_kw
print(f"power balance:   {float(balance):.1e} kW")
assert not np.shares_memory(
    fresh.v_pu, later.v_pu
)  # a solution is the caller's to keep
env.close()
