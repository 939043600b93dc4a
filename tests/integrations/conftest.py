"""Environments for SB3, closed after the test, and networks on one thread."""

import pytest


@pytest.fixture
def one_thread():
    """Small networks are slower on many threads, and much slower next to other processes."""
    import torch  # here, so that the folder can be collected without it

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def build():
    """to_sb3, closed at the end of the test."""
    from dss_marl.integrations.sb3 import to_sb3

    built = []

    def build(*args, **kwargs):
        built.append(to_sb3(*args, **kwargs))
        return built[-1]

    yield build
    for venv in built:
        venv.close()
