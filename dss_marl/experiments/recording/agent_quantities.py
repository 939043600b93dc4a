"""What a recording holds of the decision process: observations, actions, rewards and costs."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from dss_marl.envs.flattening import split_mask
from dss_marl.envs.task import Task
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.experiments.recording.quantity import Quantity, labelled
from dss_marl.experiments.recording.table import Column

COUNTS = ("clipped", "limited", "refused", "illegal", "attacked")  # of each agent's infos; see ZoneEnv


def agent_quantities(env: ZoneEnv) -> list[Quantity]:
    """Tables by agent."""
    agents = env.possible_agents
    plain = _agents(env)
    counts = tuple(column._replace(name=f"{column.name}/{count}") for column in plain for count in COUNTS)
    return [
        _observations(env),
        *_actions(env),
        Quantity(
            "agent_rewards", "reward", "agent", plain, of_step=lambda step: [step.rewards[agent] for agent in agents]
        ),
        Quantity(
            "counts",
            "numbers out of range, requests cut, refused or illegal, 1 while compromised",
            "count",
            counts,
            of_step=lambda step: np.array([int(step.infos[agent][name]) for agent in agents for name in COUNTS]),
        ),
    ]


def _agents(env: ZoneEnv) -> tuple[Column, ...]:
    """(A) a column for each agent, in the zone that it observes."""
    zones = [env.task.zones[z].name for z in env.task.agents.zone]
    return tuple(Column(agent, "", "", "", zone) for agent, zone in zip(env.possible_agents, zones, strict=True))


def _observations(env: ZoneEnv) -> Quantity:
    agents = env.possible_agents
    labels = [env.labels(agent)["observation"] for agent in agents]
    used = np.array([[label != "-" for label in own] for own in labels])  # padding has no column
    columns = tuple(
        labelled(f"{column.name}/{label}", column)
        for column, own in zip(_agents(env), labels, strict=True)
        for label in own
        if label != "-"
    )
    return Quantity(
        "observations",
        "what agents observed of the interval before they acted in it",
        "observation",
        columns,
        of_step=lambda step: np.stack([split_mask(step.observations[agent])[0] for agent in agents])[used],
    )


def _actions(env: ZoneEnv) -> list[Quantity]:
    layout, encoding, agents = env.task.agents.action_layout, env.task.encoding, _agents(env)
    entries = [Column("", "")] * layout.size
    for a, w in np.argwhere(layout.used):
        entries[layout.place[a, w]] = labelled(f"{agents[a].name}/{layout.labels[a][w]}", agents[a])
    return [
        Quantity(
            "actions",
            "what agents asked for, from -1 to 1",
            "action",
            tuple(entries),
            of_step=lambda step: encoding.decode(step.actions).joint_action,
        ),
        Quantity(
            "actions_operated",
            "what devices were asked for, after masks, attacks and devices that wait",
            "action",
            tuple(entries),
            of_states=lambda _, after: after.action,
        ),
    ]


def zone_quantities(task: Task) -> list[Quantity]:
    """Tables by zone."""
    count, terms = len(task.rewards), task.reward_model.zone_terms

    def columns(names: Iterable[str]) -> tuple[Column, ...]:
        return tuple(Column(f"{zone.name}/{name}", "", "", "", zone.name) for zone in task.zones for name in names)

    return [
        Quantity(
            "rewards",
            "weighted reward terms; their sum is the team's reward",
            "reward_term",
            columns(list(task.rewards)),
            of_states=lambda before, after: terms(before, after)[:count].T,
        ),
        Quantity(
            "costs",
            "costs",
            "cost_term",
            columns(list(task.costs)),
            of_states=lambda before, after: terms(before, after)[count:].T,
        ),
    ]
