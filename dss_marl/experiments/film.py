"""Film of a day: controllers side by side, interval by interval."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from dss_marl.controllers import Controller
from dss_marl.envs.scenario import Scenario
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.experiments.evaluation import environment_for
from dss_marl.experiments.one_day import LEARNED, middle_day, named_controller, scenario_of
from dss_marl.profiles.splits import seed_of


def record_film(
    run_or_scenario: Path | Scenario,
    path: Path,
    names: Sequence[str] = (),
    day: int | None = None,
    fps: float = 8.0,
    progress: Callable[[Iterable[np.ndarray], int], Iterable[np.ndarray]] = lambda frames, count: frames,
    trust: bool = False,
) -> Path:
    """Play a day and write its film: a frame at reset and one for each interval.

    Args:
        run_or_scenario: a run's folder, or a scenario.
        path: a .gif or an .mp4.
        names: of controllers, from left to right; "learned" is the run's policy. Without: that policy, or no control.
        day: number; None takes a middle one of the frozen test days.
        fps: frames per second.
        progress: wraps the frames, of which it is told the number.
        trust: see load_policy.

    Raises:
        ValueError: no run there, an unknown controller, or one that cannot play the scenario; another ending.
        ImportError: matplotlib or, for an MP4, ffmpeg is missing.
    """
    from dss_marl.plots.film import check_film, write_film

    check_film(path)
    scenario, folder = scenario_of(run_or_scenario)
    day = middle_day(scenario) if day is None else day
    names = names or ([LEARNED] if folder else ["no_control"])
    controllers = [named_controller(name, scenario, folder, trust) for name in names]
    frames = film_frames(scenario, dict(zip(names, controllers, strict=True)), day)
    return write_film(progress(frames, scenario.steps + 1), path, fps)


def film_frames(scenario: Scenario, controllers: dict[str, Controller], day: int) -> Iterator[np.ndarray]:
    """Frames (H, n W, 3) of n controllers side by side; where a power flow fails, the last frame stands.

    Raises:
        ValueError: a controller cannot play the scenario.
    """
    from dss_marl.plots.film import side_by_side

    parts = [_played(scenario, name, controller, day) for name, controller in controllers.items()]
    last: list[np.ndarray] = [next(part) for part in parts]
    yield side_by_side(*last)
    while True:
        coming = [next(part, None) for part in parts]
        if all(frame is None for frame in coming):
            return
        last = [old if new is None else new for old, new in zip(last, coming, strict=True)]
        yield side_by_side(*last)


def _played(scenario: Scenario, name: str, controller: Controller, day: int) -> Iterator[np.ndarray]:
    """Frames of one controller's day."""
    from dss_marl.plots import Renderer

    env: ZoneEnv = environment_for(controller, scenario, "test")
    env.renderer = Renderer(name)
    try:
        observations, _ = env.reset(seed=seed_of(day), options={"day": day})
        controller.reset(env)
        yield env.renderer.frame(env)
        while env.agents:
            observations = env.step(controller.act(env, observations))[0]
            yield env.renderer.frame(env)
    finally:
        env.close()
