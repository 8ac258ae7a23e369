"""Training tests compute in one thread: their tensors are small, and other tests may run beside them."""

import pytest
import small_runs
from torch_threads import one_thread

from seg_core.models import MODELS


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    with one_thread():
        yield


@pytest.fixture(scope="module")
def small_network():
    """Register the network of small_runs, for tests whose configurations or checkpoints name it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS._entries, small_runs.NETWORK, small_runs.SmallNetwork)
        yield
