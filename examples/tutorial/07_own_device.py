"""7. Your own device: the code of docs/tutorial/07_own_device.md, written by docs/make_scripts.py."""

# The code

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from pydantic import Field

import dss_marl
from dss_marl.devices import AddedUnit, DeviceGroup, DeviceSpec, find


class StatcomSpec(DeviceSpec):
    """A D-STATCOM, as a scenario writes it."""

    bus: str
    kvar: float = Field(gt=0, description="rating [kvar]")
    step: float = Field(
        default=0.2,
        gt=0,
        le=2,
        description="largest change in an interval, over rating",
    )
    losses: float = Field(default=0.01, ge=0, description="losses over reactive power")
    standby_kw: float = Field(
        default=1.0, ge=0, description="losses when it feeds in nothing [kW]"
    )

    @property
    def label(self):
        return f"statcom_{self.bus}".lower()


@dataclass(frozen=True)
class Statcoms(DeviceGroup):
    """D-STATCOMs. The action is reactive power over rating, + into the grid.

    Device state: the same, as it is now.
    """

    injections: np.ndarray  # (D) index in the feeder's injections
    kvar: np.ndarray  # (D) rating
    step: np.ndarray  # (D) largest change in an interval, over rating
    losses: np.ndarray  # (D) over reactive power
    standby_kw: np.ndarray  # (D)

    action_labels: ClassVar[tuple[str, ...]] = ("share of rated reactive power",)
    telemetry_labels: ClassVar[tuple[str, ...]] = ("reactive power [kvar / rated]",)
    state_size: ClassVar[int] = 1
    Spec: ClassVar[type[DeviceSpec]] = StatcomSpec

    def act(self, action, state, setpoints, interval):
        wanted, now = action[..., 0], state[..., 0]
        share = np.clip(wanted, now - self.step, now + self.step)
        self.hold(share[..., None], setpoints, interval)
        return share[..., None], (~self._in_reach(wanted, now)).astype(np.int64)

    def hold(self, state, setpoints, interval):
        kvar = state[..., 0] * self.kvar
        setpoints.kvar[..., self.injections] = kvar
        setpoints.kw[..., self.injections] = -self.standby_kw - self.losses * np.abs(
            kvar
        )

    def hold_action(self, state, setpoints, interval):
        return state.copy()

    def feasible(self, action, state, setpoints, interval):
        return self._in_reach(action[..., 0], state[..., 0])[..., None]

    def _in_reach(self, wanted, now):
        return (wanted >= now - self.step) & (wanted <= now + self.step)

    def telemetry(self, state, setpoints, interval):
        return state.copy()

    @classmethod
    def added_units(cls, specs):
        return [
            AddedUnit(spec.label, spec.bus, spec.kvar, kind="statcom") for spec in specs
        ]

    @classmethod
    def build(cls, specs, feeder):
        rows = [
            find(feeder.injections, f"generator.{spec.label}", "statcom", feeder.name)
            for spec in specs
        ]

        def column(name):
            return np.array([getattr(spec, name) for spec in specs])

        return cls(
            names=tuple(spec.label for spec in specs),
            buses=tuple(feeder.injections[j].bus for j in rows),
            injections=np.array(rows),
            **{name: column(name) for name in ("kvar", "step", "losses", "standby_kw")},
        )


# Put it into a task

statcoms = [
    {"kind": f"{__name__}:Statcoms", "bus": bus, "kvar": 300} for bus in ("890", "848")
]
scenario = dss_marl.load_scenario("ieee34_volt_var").replace(
    name="ieee34_statcom",
    devices=statcoms,
    circuit_controls=True,
    agents="device",
    observations=[
        "unit_voltage",
        "telemetry",
        "load",
        "time_of_day",
        "identity",
        "has_action",
    ],
)
env = dss_marl.make(scenario, split="test")
for agent in env.possible_agents:
    labels = env.labels(agent)
    print(agent, *labels["action"], *labels["observation"][:2], sep="\n    ")

for wrong in ({"bus": "890", "kvr": 300}, {"bus": "89", "kvar": 300}):
    try:
        dss_marl.make(
            scenario.replace(devices=[{"kind": f"{__name__}:Statcoms", **wrong}])
        )
    except ValueError as error:
        print("ValueError:", error)

# Does it do what it should?

env.reset(seed=0, options={"day": 139})
first = env.possible_agents[0]
for request in (1.0, 1.0, 0.3, -1.0):
    actions = {agent: np.zeros(1, np.float32) for agent in env.agents}
    actions[first][0] = request
    observations, *_, infos = env.step(actions)
    j = env.task.device_groups[0].injections[0]
    kvar, kw = env.after.setpoints.kvar[j], env.after.setpoints.kw[j]
    limited, (volt, share) = infos[first]["limited"], observations[first][:2]
    print(
        f"asked {request:4.1f}: {kvar:3.0f} kvar, {kw:5.2f} kW, limited {limited:.0f}",
        end="",
    )
    print(f", sees voltage {volt:.2f}, share {share:.1f}")

solution = env.after.solution
source, losses = float(solution.source_kw), float(solution.loss_kw)
injected = float(solution.served_kw.sum())
print(
    f"source {source:.2f} + injections {injected:.2f} - losses {losses:.2f} kW", end=""
)
print(f" = {source + injected - losses:.3f} kW")

# Does it keep the contract?

group, rng = env.task.device_groups[0], np.random.default_rng(0)
interval = env.now
shape = (500, group.size, 1)


names = ("kw", "kvar", "tap", "closed")


def blank():
    """500 copies of the set points before control."""
    start = env.task.start
    return dss_marl.Setpoints(*(np.tile(getattr(start, name), (500, 1)) for name in names))


state, action = rng.uniform(-1, 1, shape), rng.uniform(-1, 1, shape)
acted, held = blank(), blank()

kept, limited = group.act(action, state, acted, interval)
assert kept.shape == shape and limited.shape == shape[:-1]
assert np.array_equal(
    limited > 0, ~group.feasible(action, state, acted, interval).all(-1)
), "limited <=> not feasible"
assert (np.abs(kept - state) <= group.step[:, None] + 1e-12).all(), "the step"

acted = blank()
_, limited = group.act(
    group.hold_action(state, acted, interval), state, acted, interval
)
group.hold(state, held, interval)
assert np.array_equal(acted.kvar, held.kvar) and np.array_equal(acted.kw, held.kw), (
    "hold"
)
assert not limited.any()

one = dss_marl.Setpoints(*(getattr(env.task.start, name).copy() for name in names))
alone, _ = group.act(action[7], state[7], one, interval)
assert np.array_equal(alone, kept[7]), "one by one as many at once"
print("the contract holds")


# Is it of use?

class Local:
    """Moves the share (entry 1 of what it sees) against the voltage (entry 0)."""

    circuit_controls = True
    local = True

    def reset(self, env):
        """Nothing to prepare."""

    def act(self, env, observations):
        return {
            agent: np.clip(own[1:2] - 0.3 * own[:1], -1, 1)
            for agent, own in observations.items()
        }


for name, controller in {"idle": "no_control", "rule": Local()}.items():
    days = dss_marl.record(env, controller, days=env.days[:5]).figures
    returns, losses, moves = (
        np.mean([day[figure] for day in days])
        for figure in ("team_return", "loss_kwh", "tap_moves")
    )
    print(
        f"{name}: return {returns:.2f}, losses {losses:.0f} kWh, tap moves {moves:.0f}"
    )
env.close()
