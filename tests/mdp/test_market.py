"""A community market: clearing against hand-computed prices, shares of common costs, and the bills' sum."""

from __future__ import annotations

import numpy as np
import pytest

import dss_marl
from dss_marl.grid.voltage_band import VoltageBand
from dss_marl.mdp.market import Prices, mid_market, peer_to_peer

PRICES = Prices(np.array(0.25), np.array(0.05))  # middle 0.15
LOCAL = Prices(np.array(0.25), np.array(0.05), local_fee=0.04)  # middle 0.13, buyers pay 0.17


def _cash(net_kwh, prices):
    """What a community pays to the grid and its operator if only its balance counted, without local fee."""
    balance = net_kwh.sum()
    return balance * float(prices.retail if balance > 0 else prices.feed_in)


@pytest.mark.parametrize(
    ("net_kwh", "buying", "selling", "paid"),
    [
        # 3 kWh drawn, 1 fed in: buyers get a third within at 0.15, the rest at 0.25: 0.65/3
        ([2.0, 1.0, -1.0], 0.65 / 3, 0.15, [1.3 / 3, 0.65 / 3, -0.15]),
        # 1 drawn, 4 fed in: sellers place a quarter at 0.15, the rest at 0.05: 0.30/4 = 0.075
        ([1.0, -3.0, -1.0], 0.15, 0.075, [0.15, -0.225, -0.075]),
        ([2.0, -2.0, 0.0], 0.15, 0.15, [0.3, -0.3, 0.0]),
        ([1.0, 2.0, 0.0], 0.25, 0.15, [0.25, 0.5, 0.0]),  # nobody to buy from; a seller would get the middle
        ([-1.0, -2.0, 0.0], 0.15, 0.05, [-0.05, -0.1, 0.0]),
    ],
)
def test_mid_market_prices_by_hand(net_kwh, buying, selling, paid):
    net_kwh = np.array(net_kwh)
    cleared = mid_market(net_kwh, PRICES)
    np.testing.assert_allclose(cleared.buying, buying)
    np.testing.assert_allclose(cleared.selling, selling)
    np.testing.assert_allclose(cleared.paid, paid, atol=1e-15)
    np.testing.assert_allclose(cleared.paid.sum(), _cash(net_kwh, PRICES))  # transfers within sum to zero


def test_local_fee_is_paid_by_buyers():
    cleared = mid_market(np.array([3.0, -1.0]), LOCAL)  # 1 kWh within at 0.13 + 0.04, 2 kWh at 0.25
    np.testing.assert_allclose(cleared.paid, [0.67, -0.13])
    np.testing.assert_allclose(cleared.charges, 0.04)


def test_no_trade_where_the_fee_exceeds_what_it_saves():
    cleared = mid_market(np.array([3.0, -1.0]), Prices(np.array(0.08), np.array(0.05), local_fee=0.04))
    np.testing.assert_allclose(cleared.paid, [0.24, -0.05])
    assert cleared.traded_kwh == 0


@pytest.mark.parametrize("clear", [mid_market, peer_to_peer])
@pytest.mark.parametrize("seed", range(5))
def test_bills_add_up_to_what_leaves_the_community(clear, seed):
    rng = np.random.default_rng(seed)
    net_kwh = rng.normal(size=(3, 4, 6))
    price = rng.uniform(0.2, 0.3, (3, 4))
    cleared = clear(net_kwh, Prices(price, np.full((3, 4), 0.06), local_fee=0.03))
    demand, supply = np.maximum(net_kwh, 0).sum(-1), np.maximum(-net_kwh, 0).sum(-1)
    traded = np.minimum(demand, supply)
    owed = (demand - traded) * price - (supply - traded) * 0.06 + traded * 0.03
    np.testing.assert_allclose(cleared.paid.sum(-1), owed, atol=1e-12)
    np.testing.assert_allclose(cleared.traded_kwh, traded)
    np.testing.assert_allclose(cleared.charges, traded * 0.03)


def test_nobody_pays_more_than_alone():
    net_kwh = np.random.default_rng(3).normal(size=(50, 5))
    alone = np.where(net_kwh > 0, 0.25 * net_kwh, 0.05 * net_kwh)
    for clear in (mid_market, peer_to_peer):
        assert (clear(net_kwh, LOCAL).paid <= alone + 1e-12).all()


def test_dual_prices_by_hand():
    """A seller between two buyers, the way to the far one costs 0.06: the near one is served first.

    Seller 0 feeds in 3, buyer 1 (near) draws 2, buyer 2 (far) draws 4. Both trade; the last kWh goes to the far one and
    saves 0.25 - 0.05 - 0.06 = 0.14, so it earns 0.19. The near one pays 0.19, as its way is free;
    the far one, who must buy from the grid too, 0.25.
    """
    fees = np.array([[0, 0, 0.06], [0, 0, 0.06], [0.06, 0.06, 0]])
    cleared = peer_to_peer(np.array([-3.0, 2.0, 4.0]), PRICES._replace(way_fee=fees))
    np.testing.assert_allclose(cleared.selling[0], 0.19)
    np.testing.assert_allclose(cleared.buying[1:], [0.19, 0.25])
    np.testing.assert_allclose(cleared.paid, [-0.57, 0.38, 1.0])
    np.testing.assert_allclose(cleared.charges, 0.06)
    np.testing.assert_allclose(cleared.paid.sum(), 3 * 0.25 + 0.06)  # 3 kWh from the grid, and the way


def test_surplus_is_worth_the_feed_in_tariff_in_the_dual():
    cleared = peer_to_peer(np.array([-3.0, 1.0, -1.0]), PRICES)
    np.testing.assert_allclose(cleared.selling[[0, 2]], 0.05)
    np.testing.assert_allclose(cleared.buying[1], 0.05)


# --- on the feeder ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stepped():
    """The community after some steps of random actions, at night and at noon."""
    env = dss_marl.make("eulv_community", split="test")
    env.reset(seed=1, options={"day": env.days[5]})
    rng, seen = np.random.default_rng(0), []
    while env.agents:
        actions = {a: rng.uniform(-1, 1, env.action_space(a).shape).astype(np.float32) for a in env.agents}
        result = env.step(actions)
        seen.append((env.before, env.after, result[1], env.team_reward, result[4]))
    yield env, seen
    env.close()


def test_each_agent_gets_its_own_reward_and_the_sum_is_the_welfare(stepped):
    env, seen = stepped
    for _, _, rewards, team, infos in seen:
        np.testing.assert_allclose(sum(rewards.values()), team)
        for agent, reward in rewards.items():
            parts = [value for key, value in infos[agent].items() if key.startswith("reward/")]
            np.testing.assert_allclose(sum(parts), reward, atol=1e-12)
    assert len({round(reward, 9) for reward in seen[10][2].values()}) == len(env.possible_agents)


def test_bills_follow_from_what_is_served_behind_each_meter(stepped):
    env, seen = stepped
    feeder, market = env.task.feeder, env.task.zones[0].market
    for _, after, _, _, infos in seen[::7]:
        net = np.zeros(len(market.buses))
        for row, kw in zip(feeder.injections, after.solution.served_kw, strict=True):
            if row.bus in market.buses:
                net[market.buses.index(row.bus)] -= kw
        price = after.price[0]
        prices = Prices(np.array(price + 0.15), np.array(min(0.05, price + 0.15)), 0.05)
        paid = mid_market(net * after.dt_h, prices).paid
        bills = [infos[f"bus_{bus}"]["reward/private_bill"] for bus in market.buses]
        np.testing.assert_allclose(bills, -0.1 * paid, atol=1e-9)


def test_caused_costs_sum_to_the_common_ones(stepped):
    from dss_marl.mdp import rewards

    env, seen = stepped
    zone = env.task.all_zones
    some = 0
    for before, after, *_ in seen:
        for caused, common in (
            (rewards.caused_excess, rewards.import_excess),
            (rewards.caused_violation, rewards.voltage_violation),
        ):
            total = np.broadcast_to(common(zone, before, after), len(env.task.zones)).sum()
            np.testing.assert_allclose(caused(zone, before, after).sum(), total, atol=1e-12)
            some += total < 0
    assert some > 3


def test_shares_go_to_those_who_draw_and_to_those_behind_the_same_lines():
    market = dss_marl.make("eulv_community").task.zones[0].market
    net = np.zeros(12)
    net[[0, 3]] = 3.0, 1.0
    np.testing.assert_allclose(market.excess_shares(net)[[0, 3]], [0.75, 0.25])
    np.testing.assert_allclose(market.excess_shares(-net), 1 / 12)  # nobody draws
    v = np.ones(market.reach.shape[1])
    far = market.buses.index("778")
    v[np.argmax(market.reach[far])] = 1.06  # the end of its own way, on its own phase
    shares = market.violation_shares(-np.ones(12), v, VoltageBand())
    phase_3 = [market.buses.index(bus) for bus in ("208", "320", "619", "778")]
    assert shares.argmax() == far
    np.testing.assert_allclose(shares[phase_3].sum(), 1)
    np.testing.assert_allclose(
        market.violation_shares(np.ones(12), v, VoltageBand()), 1 / 12
    )  # drawing raises no voltage


def test_zone_and_stacked_terms_agree_also_for_batches(stepped):
    from dss_marl.grid.copies import repeat_state
    from dss_marl.mdp import rewards
    from dss_marl.zones import over_zones

    env, seen = stepped
    before, after = seen[20][:2]
    for term in (rewards.private_bill, rewards.caused_excess, rewards.caused_violation):
        one_by_one = [float(term(zone, before, after)) for zone in env.task.zones]
        np.testing.assert_allclose(term(env.task.all_zones, before, after), one_by_one, atol=1e-14)
        many = over_zones(term, env.task.zones, env.task.all_zones, repeat_state(before, 3), repeat_state(after, 3))
        np.testing.assert_allclose(many, [one_by_one] * 3, atol=1e-14)


@pytest.mark.parametrize("name", ["member_load", "member_load_forecast", "market_prices", "community_power"])
def test_observations_of_single_zones_all_and_batches_agree(stepped, name):
    from dss_marl.grid.copies import repeat_state
    from dss_marl.mdp.observations import KNOWN

    env, seen = stepped
    function, state = KNOWN[name].function, seen[20][0]
    one_by_one = np.array([function(zone, state) for zone in env.task.zones])
    all_zones, many = env.task.all_zones, repeat_state(state, 3)
    np.testing.assert_allclose(function(all_zones, state) + 0 * one_by_one, one_by_one, atol=1e-12)
    np.testing.assert_allclose(function(all_zones, many) + 0 * one_by_one, [one_by_one] * 3, atol=1e-12)


# --- errors ----------------------------------------------------------------------------------------------------------


def test_terms_need_a_market():
    with pytest.raises(ValueError, match=r"private_bill.*add the key 'market'"):
        dss_marl.make("ieee13_volt_var", rewards={"private_bill": 1})
    with pytest.raises(ValueError, match=r"market_prices.*add the key 'market'"):
        dss_marl.make("ieee13_volt_var", observations=["market_prices"])


def test_members_must_exist_and_differ():
    with pytest.raises(ValueError, match="does not exist"):
        dss_marl.make("eulv_community", market={"members": ["34", "nowhere"]})
    with pytest.raises(ValueError, match="two or more"):
        dss_marl.make("eulv_community", market={"members": ["34"]})
    with pytest.raises(ValueError, match="neither a load nor a unit"):
        dss_marl.make("eulv_community", market={"members": ["34", "2"]})
    with pytest.raises(ValueError, match="way_fee"):
        dss_marl.make("eulv_community", market={"way_fee": 0.1})


def test_the_reward_gradient_refuses_by_name():
    env = dss_marl.make("eulv_community")
    env.reset(seed=0)
    with pytest.raises(ValueError, match="private_bill"):
        env.gradient({a: env.action_space(a).sample() for a in env.agents})
    env.close()
