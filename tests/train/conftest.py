"""Training tests compute in one thread: their tensors are small, and other tests may run beside them."""

import pytest
import small_runs
import torch

from seg_core.models import MODELS


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def small_network():
    """Register the network of small_runs, for tests whose configurations or checkpoints name it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS._entries, small_runs.NETWORK, small_runs.SmallNetwork)
        yield
