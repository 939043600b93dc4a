"""Terms that scale the same quantities are evaluated together, and give what each gives alone."""

import numpy as np
import pytest
from common import SCENARIOS, task_of
from states import stacked, steps

from dss_marl.mdp.reward_model import RewardModel
from dss_marl.mdp.rewards import COSTS, REWARDS
from dss_marl.mdp.scaled_terms import Scale, ScaledTerms, scaled


@pytest.mark.parametrize("name", SCENARIOS)
def test_together_they_give_what_each_gives(name):
    """To the last bit, alone and in a batch."""
    task, pairs = task_of(name), steps(name)
    rewards = {
        key: (0.3 + k, term) for k, (key, term) in enumerate(REWARDS.items()) if not hasattr(term, "needs_market")
    }
    model = RewardModel(rewards, COSTS, task.zones, task.all_zones)
    together = model.zone_terms(*(stacked([pair[k] for pair in pairs]) for k in (0, 1)))
    for k, (before, after) in enumerate(pairs):
        weighted = [*rewards.values(), *((1.0, cost) for cost in COSTS.values())]
        shape = len(task.zones)
        alone = [weight * np.broadcast_to(term(task.all_zones, before, after), shape) for weight, term in weighted]
        assert np.array_equal(model.zone_terms(before, after), alone)
        assert together[k] == pytest.approx(np.array(alone), rel=1e-12, abs=1e-15)


def test_a_quantity_of_several_terms_is_computed_once():
    task, (before, after) = task_of("ieee13_volt_var"), steps("ieee13_volt_var")[0]
    calls = []

    def nodes(zone, before, after):
        calls.append(zone.name)
        return zone.sizes

    @scaled(nodes)
    def share(zone):
        return Scale(over=zone.n_scored_nodes, times=-1)

    @scaled(nodes, nodes)
    def twice(zone):
        return Scale()

    terms = ScaledTerms([(2.0, share), (1.0, lambda *_: 5.0), (0.5, twice)], task.all_zones)
    sizes = np.array([len(zone.scored_nodes) for zone in task.zones])
    assert terms.others == [1]
    assert terms(before, after) == pytest.approx(
        np.array([-2 * sizes / sizes.sum(), np.zeros(len(sizes)), sizes.astype(float)])
    )
    assert calls == ["all"]
    assert share(task.zones[0], before, after) == pytest.approx(-sizes[0] / sizes.sum())
