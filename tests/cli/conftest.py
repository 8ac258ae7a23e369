import pytest
import torch
from foreign_material import write_foreign


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Small inputs: more threads only wait for one another on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def street(tmp_path_factory):
    """Return a DDRNet-23-slim as its authors publish it."""
    return write_foreign(tmp_path_factory.mktemp("street") / "street.pth", "ddrnet_23_slim", "model.")
