"""The laws of loads: continuous where OpenDSS's are, and with the right slopes."""

import numpy as np
import pytest

from dss_marl.engines.batched.load_models import factors, factors_and_slopes, laws
from dss_marl.engines.batched.network import Phases

MODELS = (1, 2, 3, 4, 5, 8)
V_MIN, V_MAX, V_LOW = 0.9, 1.06, 0.5
INSIDE = np.array([0.1, 0.3, 0.55, 0.7, 0.85, 0.93, 0.97, 1.0, 1.03, 1.1, 1.3])  # off the ends of regions


def phases(model, drop=0.0, unit=False):
    one, low = np.ones(1), 0.4 if unit else V_LOW
    zip_ = np.array([[0.2, 0.3, 0.5, 0.6, 0.3, 0.1, drop]])
    return Phases(
        injection=np.zeros(1, int), one=np.zeros(1, int), other=np.full(1, -1), volts=2400 * one, share=one,
        model=np.array([model]), v_min=(0.4 if unit else V_MIN) * one, v_max=(1.6 if unit else V_MAX) * one,
        v_low=low * one, low=(1 / low**2 if unit else 1.0) * one, exponents=np.array([[0.8, 2.4]]), zip=zip_,
    )  # fmt: skip


def at(own, u):
    return np.array([x[:, 0] for x in factors(own, np.asarray(u)[:, None])])


def test_power_is_nominal_where_the_model_says_so():
    u = np.array([0.92, 1.0, 1.05])
    for model, kw, kvar in ((1, 0, 0), (2, 2, 2), (3, 0, 2), (4, 0.8, 2.4), (5, 1, 1)):
        np.testing.assert_allclose(at(laws(phases(model)), u) * u**2, [u**kw, u**kvar], rtol=1e-12)
    mixed = at(laws(phases(8)), u) * u**2
    np.testing.assert_allclose(mixed, [0.2 * u**2 + 0.3 * u + 0.5, 0.6 * u**2 + 0.3 * u + 0.1], rtol=1e-12)


@pytest.mark.parametrize("model", [1, 2, 5, 8])
def test_continuous_at_the_ends_of_regions(model):
    own = laws(phases(model))
    for end in (V_MIN, V_MAX):
        below, above = at(own, [end - 1e-9, end + 1e-9]).T
        np.testing.assert_allclose(below, above, rtol=1e-7)


def test_drawn_current_is_nominal_impedance_below_the_lowest_voltage():
    for model in MODELS:
        np.testing.assert_array_equal(at(laws(phases(model)), [0.1, 0.49]), 1.0)
    unit = at(laws(phases(1, unit=True)), [0.2, 0.4, 0.4 + 1e-12])
    np.testing.assert_allclose(unit, 1 / 0.4**2)


def test_a_load_drops_out():
    own = laws(phases(8, drop=0.8))
    whole = laws(phases(8))
    np.testing.assert_allclose(at(own, [0.79, 0.81]) / at(whole, [0.79, 0.81]), [[0, 1]] * 2, atol=1e-4)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("drop", [0.0, 0.86])
def test_slopes_are_differences(model, drop):
    own, step = laws(phases(model, drop)), 1e-6
    *values, kw_slope, kvar_slope = factors_and_slopes(own, INSIDE[:, None])
    np.testing.assert_array_equal(np.array(values)[:, :, 0], at(own, INSIDE))
    differences = (at(own, INSIDE + step) - at(own, INSIDE - step)) / (2 * step)
    np.testing.assert_allclose(np.array([kw_slope[:, 0], kvar_slope[:, 0]]), differences, rtol=1e-6, atol=1e-7)
