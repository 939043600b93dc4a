"""State estimation: reference controllers for voltage estimators, using only the agents' observations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import networkx as nx
import numpy as np

from dss_marl.controllers.estimation.least_squares import fit
from dss_marl.controllers.estimation.measurement_model import MeasurementModel, rows_of
from dss_marl.controllers.estimation.pseudo_measurements import PseudoMeasurements
from dss_marl.devices import Estimators
from dss_marl.envs.task import Task
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.grid.state import Array

_ROUNDS = 4  # maximum number of Gauss-Newton iterations
_SETTLED = 2e-5  # voltage change for convergence [pu]
_TAP_SIGMA = 2.0  # standard deviation of an unobserved tap around its initial position [steps]
_SHARPEST = 1e-5, 0.1  # minimum standard deviation of a voltage [pu] and a zone's power [kW]: solver and rounding


@dataclass(frozen=True)
class Measurements:
    """The agents' observations of an interval in physical units; NaN where no agent observes the quantity.

    Attributes:
        v_pu: (N) measured voltages [pu].
        zone_kw: (Z) net power of the zones [kW].
        tap: (R) positions.
    """

    v_pu: Array
    zone_kw: Array
    tap: Array


def read_measurements(task: Task, observations: Mapping[str, Any]) -> Measurements:
    """Extract the features ``meters``, ``zone_power`` and ``tap_position`` from all agents' observations."""
    result = Measurements(
        *(np.full(n, np.nan) for n in (len(task.feeder.nodes), len(task.zones), len(task.feeder.taps)))
    )
    starts = np.cumsum([0, *task.observer.widths])
    for a, (agent, view) in enumerate(zip(task.agents.names, task.agents.views, strict=True)):
        given = observations[agent]
        row = np.asarray(given["observation"] if isinstance(given, Mapping) else given, float)
        for feature, start in zip(task.observer.features, starts[:-1], strict=True):
            name = feature.function.__name__
            if name == "meters":
                result.v_pu[view.meters] = 1 + row[start : start + len(view.meters)] / 20
            elif name == "zone_power":
                result.zone_kw[task.agents.zone[a]] = 100 * row[start]
            elif name == "tap_position":
                result.tap[view.taps] = np.rint(8 * row[start : start + len(view.taps)])
    return result


class _EstimatorControl:
    """Common part of these controllers, which act on the estimators only."""

    circuit_controls = False
    _task: Task | None = None

    def reset(self, env: ZoneEnv) -> None:
        """Find the estimators and prepare constant data.

        Raises:
            ValueError: there are no estimators, or agents do not observe the meters.
        """
        if env.task is self._task:
            return
        places = [k for k, group in enumerate(env.task.device_groups) if isinstance(group, Estimators)]
        name = env.task.scenario.name
        if not places:
            raise ValueError(f"this controller needs estimators; scenario {name!r} has none")
        if "meters" not in env.task.scenario.observations:
            raise ValueError(f"this controller reads 'meters'; add it to the observations of scenario {name!r}")
        group = env.task.device_groups[places[0]]
        assert isinstance(group, Estimators)
        self._place, self._group = places[0], group
        self._prepare(env.task)
        self._task = env.task

    def act(self, env: ZoneEnv, observations: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """The estimates as actions."""
        v = self._estimates(env, read_measurements(env.task, observations))
        joint_action = env.task.default_action.copy()
        joint_action[env.task.agents.action_layout.parts[self._place]] = self._group.entries(v)
        return env.task.encoding.encode(joint_action)

    def _prepare(self, task: Task) -> None:
        raise NotImplementedError

    def _estimates(self, env: ZoneEnv, telemetry: Measurements) -> Array:
        """(D) voltages [pu]."""
        raise NotImplementedError


class NearestMeter(_EstimatorControl):
    """Every estimate is the reading of the nearest meter of the zone, of the same phase where there is one.

    Distance is the impedance of the branches in between. In a zone without meters it is the centre of the range.
    """

    local = True

    def _prepare(self, task: Task) -> None:
        graph = nx.Graph()
        for one, two, edge in task.feeder.graph().edges(data=True):
            if edge["closed"]:
                graph.add_edge(one, two, ohm=abs(complex(edge["r_ohm"], edge["x_ohm"])))
        self._nearest = np.full(self._group.size, -1)
        home = {node: zone for zone in task.zones for node in zone.nodes.tolist()}
        bus_of = [task.feeder.buses[b].name for b in task.feeder.node_bus]
        for d, node in enumerate(self._group.nodes.tolist()):
            far = nx.single_source_dijkstra_path_length(graph, bus_of[node], weight="ohm")
            phase = task.feeder.nodes[node].rsplit(".", 1)[1]

            def order(meter: int, far: Mapping[str, float] = far, phase: str = phase) -> tuple[bool, float]:
                return task.feeder.nodes[meter].rsplit(".", 1)[1] != phase, far.get(bus_of[meter], np.inf)

            self._nearest[d] = min(home[node].meters.tolist(), key=order, default=-1)

    def _estimates(self, env: ZoneEnv, telemetry: Measurements) -> Array:
        v = np.append(telemetry.v_pu, np.nan)[self._nearest]
        return np.where(np.isnan(v), self._group.v_centre_pu, v)


class WeightedLeastSquares(_EstimatorControl):
    """Weighted least squares on the known network, with the typical loads of training days as pseudo-measurements.

    The state consists of the power of every injection and of unobserved taps. Gauss-Newton iteration on voltages and
    zone powers; the Jacobian is taken at one operating point, residuals from the nonlinear power flow. Measurements
    with large normalised residuals are rejected.

    Args:
        meters: all: one estimate from all zones' measurements; own: each zone by itself from its own; none: from tap
            positions and typical loads alone.
    """

    def __init__(self, meters: str = "all") -> None:
        if meters not in ("all", "own", "none"):
            raise ValueError(f"meters must be all, own or none; got {meters!r}")
        self.meters = meters
        self.local = meters != "all"

    def _prepare(self, task: Task) -> None:
        self._pseudo = PseudoMeasurements.from_training_days(task.profiles)
        self._network = MeasurementModel(task, self._pseudo.kw.mean(axis=(0, 1)))
        self._covariances: dict[int, Array] = {}
        self._lowest = np.array([tap.minimum for tap in task.feeder.taps], float)
        self._highest = np.array([tap.maximum for tap in task.feeder.taps], float)
        everyone = list(range(len(task.zones)))
        self._parties = [[z] for z in everyone] if self.meters == "own" else [everyone]

    def _estimates(self, env: ZoneEnv, telemetry: Measurements) -> Array:
        scenario = env.task.scenario
        assert env.now is not None
        row = (round(scenario.start_hour / scenario.dt_h) + env.now.step) % env.task.profiles.steps
        v = np.zeros(len(env.task.feeder.nodes))
        for party in self._parties:
            zones = [env.task.zones[z] for z in party]
            own = rows_of(zones, "estimated")
            v[own] = self._voltages(env.task, row, telemetry, party)[own]
        return v[self._group.nodes]

    def _voltages(self, task: Task, row: int, telemetry: Measurements, party: Sequence[int]) -> Array:
        """(N) voltages that best fit the measurements of a set of zones."""
        zones = [task.zones[z] for z in party]
        reported = rows_of(zones, "taps")
        tap = task.start.tap.astype(float)
        tap[reported] = np.where(np.isnan(telemetry.tap[reported]), tap[reported], telemetry.tap[reported])
        hidden = np.array([r for r in range(len(tap)) if r not in reported or np.isnan(telemetry.tap[r])], np.int64)
        mean = self._pseudo.mean(row)
        if self.meters == "none":
            return self._network.predict(mean, tap).v_pu
        nodes = rows_of(zones, "meters")
        metered = [z for z in party if not np.isnan(telemetry.zone_kw[z])]
        z = np.concatenate([telemetry.v_pu[nodes], telemetry.zone_kw[metered]])
        sigma = self._sigma(task, len(nodes), metered, mean)
        slopes = self._network.slopes(nodes, metered, hidden)
        covariance = self._covariance(row, len(hidden))
        x0 = np.append(mean, tap[hidden])
        x, last = x0, np.zeros(0)
        for _ in range(_ROUNDS):
            tap[hidden] = x[len(mean) :]
            shown = self._network.predict(x[: len(mean)], tap)
            if last.size and np.abs(shown.v_pu - last).max() < _SETTLED:
                break
            last = shown.v_pu
            residual = z - np.concatenate([shown.v_pu[nodes], shown.zone_kw[metered]])
            x = fit(x0, covariance, slopes, residual + slopes @ x, sigma).x
            x[len(mean) :] = np.clip(x[len(mean) :], self._lowest[hidden], self._highest[hidden])  # tap limits
        return shown.v_pu

    def _sigma(self, task: Task, voltages: int, metered: Sequence[int], mean: Array) -> Array:
        """(m) standard deviations of the measurements, from the scenario."""
        sensing = task.scenario.sensing
        served = [np.linalg.norm(self._network.served_kw(z, mean)) for z in metered]
        least_v, least_kw = _SHARPEST
        return np.append(
            np.full(voltages, max(sensing.noise_v_pu, least_v)),
            np.maximum(sensing.noise_power * np.array(served), least_kw),
        )

    def _covariance(self, row: int, hidden: int) -> Array:
        if row not in self._covariances:
            self._covariances[row] = self._pseudo.covariance(row)
        own = self._covariances[row]
        result = np.zeros((len(own) + hidden,) * 2)
        result[: len(own), : len(own)] = own
        result[range(len(own), len(result)), range(len(own), len(result))] = _TAP_SIGMA**2
        return result
