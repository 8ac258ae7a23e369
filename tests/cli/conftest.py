import pytest
from foreign_material import write_foreign
from torch_threads import one_thread


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    with one_thread():
        yield


@pytest.fixture(scope="module")
def street(tmp_path_factory):
    """Return a DDRNet-23-slim as its authors publish it."""
    return write_foreign(tmp_path_factory.mktemp("street") / "street.pth", "ddrnet_23_slim", "model.")
