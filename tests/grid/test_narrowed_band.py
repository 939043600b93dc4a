"""Bands that are narrower by a margin, as plans are made for imitation."""

import numpy as np
import pytest
from common import feeder_with_units

from dss_marl.grid.voltage_band import BandSpec, narrowed, voltage_band

SPECS = ("ansi_a_service", "ansi_b_service", BandSpec(low=0.94, high=1.06), BandSpec(lv=(0.9, 1.1), mv=(0.95, 1.05)))


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("name", ["ieee13", "ieee34", "case33"])
def test_both_limits_of_every_node_move_inwards(name, spec):
    feeder = feeder_with_units(name)
    band, closer = voltage_band(spec, feeder), voltage_band(narrowed(spec, feeder, (), 0.002), feeder)
    np.testing.assert_allclose(closer.low - band.low, 0.002, atol=1e-9)
    np.testing.assert_allclose(band.high - closer.high, 0.002, atol=1e-9)


def test_a_margin_beyond_the_middle_is_refused():
    with pytest.raises(ValueError, match=r"a margin of 0.06 pu leaves nothing of the band 0.95 to 1.05 pu"):
        narrowed(BandSpec(low=0.95, high=1.05), feeder_with_units("ieee13"), (), 0.06)
