"""A copied stream goes on as the other does, and neither moves the other."""

import numpy as np
import pytest

from dss_marl.mdp.random_streams import copied


@pytest.mark.parametrize("bits", [np.random.PCG64, np.random.MT19937, np.random.Philox])
def test_a_copy_goes_on_alike_and_alone(bits):
    rng = np.random.Generator(bits(3))
    rng.integers(7, dtype=np.int32)  # leaves half of a draw behind
    twin = copied(rng)
    expected = [int(rng.integers(2**31, dtype=np.int32)), *rng.normal(size=5)]
    rng.normal(size=3)
    assert [int(twin.integers(2**31, dtype=np.int32)), *twin.normal(size=5)] == expected
