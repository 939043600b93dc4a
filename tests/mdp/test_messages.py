"""Which zone receives what from which, late or never."""

import numpy as np
import pytest
from common import load_cached, task_of

from dss_marl import ZoneEnv
from dss_marl.mdp.communication import Messages, MessageSpec

NAME = "ieee34_volt_var"


def mailbox(**spec):
    task = task_of(NAME)
    return Messages(MessageSpec(**spec), task.feeder, task.zones, task.sample)


def test_senders_follow_the_zone_graph():
    """ieee34's zones are a chain with branches: nearest first, none beyond the hops."""
    import networkx as nx

    from dss_marl.zones import zone_graph

    task = task_of(NAME)
    graph = zone_graph(task.feeder.graph(), task.zones)
    names = [zone.name for zone in task.zones]
    for hops in (0, 1, 2, "all"):
        box = mailbox(hops=hops)
        for z, name in enumerate(names):
            far = nx.single_source_shortest_path_length(graph, name)
            heard = [names[s] for s, there in zip(box.senders[z], box.present[z], strict=True) if there]
            reach = 99 if hops == "all" else hops
            assert set(heard) == {n for n, d in far.items() if 0 < d <= reach}
            assert [far[n] for n in heard] == sorted(far[n] for n in heard)


def test_messages_are_what_the_senders_see(truth):
    task = task_of(NAME)
    box = mailbox(hops="all", share=["zone_voltage", "load"])
    box.reset(np.random.default_rng(0))
    received = box.received(truth[0]).reshape(len(task.zones), -1, 4)
    told = box.observer.observe(truth[0])
    for z in range(len(task.zones)):
        assert np.array_equal(received[z], told[box.senders[z]].astype(float))


def test_lost_messages_leave_the_last_one_standing(truth):
    box = mailbox(hops="all", loss=0.4)
    box.reset(np.random.default_rng(3))
    last, lost, count = None, 0, 0
    for state in truth * 20:
        now = box.received(state).reshape(6, 5, 5)
        told = box.observer.observe(state)[box.senders]
        came = now[..., 4] == 1
        assert np.array_equal(now[came][:, :4], told[came].astype(float))
        if last is not None:
            assert np.array_equal(now[~came][:, :4], last[~came][:, :4])
        lost, count, last = lost + (~came).sum(), count + came.size, now
    assert lost / count == pytest.approx(0.4, abs=0.03)


def test_messages_under_way_arrive_later(truth):
    box = mailbox(hops=1, delay=2)
    box.reset(np.random.default_rng(0))
    width = box.senders.shape[1]
    for k, state in enumerate(truth):
        now = box.received(state).reshape(6, width, 5)
        if k < 2:
            assert (now == 0).all()
        else:
            told = box.observer.observe(truth[k - 2])[box.senders]
            assert np.array_equal(now[box.present][:, :4], told[box.present].astype(float))


def test_negative_hops_are_refused():
    with pytest.raises(ValueError, match=r"hops must be 0, 1, 2, \.\.\. or 'all'; got -1"):
        mailbox(hops=-1)


def test_labels_of_messages():
    env = ZoneEnv(load_cached(NAME).scenario.replace(messages={"hops": 1, "share": ["zone_voltage"], "loss": 0.1}))
    labels = env.labels("zone_1")["observation"]
    assert len(labels) == env.observation_space("zone_1").shape[0]
    assert "zone_2: lowest voltage [(v_pu - 1) * 20]" in labels
    assert "zone_2: received [0 or 1]" in labels
    env.close()
