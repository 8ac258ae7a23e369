"""A whole network off a Mac: DDRNet as it is published, in both precisions."""

import numpy as np
import pytest
from mil_material import relative_error, run_against_torch

torch = pytest.importorskip("torch")
pytest.importorskip("coremltools")
pytestmark = pytest.mark.export


@pytest.fixture(scope="module")
def network():
    from seg_core.models import build_model
    from seg_core.spec import ModelSpec

    torch.manual_seed(11)
    net = build_model(ModelSpec("ddrnet_23_slim", 19, options={"upsample": True})).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # fresh statistics would hide a lost or swapped one
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.8, 1.6)
            module.weight.data.uniform_(0.5, 1.0)
            module.bias.data.normal_(0, 0.1)
    return net.main_only()


@pytest.mark.parametrize(("precision", "low", "high"), [("FLOAT32", 0, 2e-5), ("FLOAT16", 1e-5, 1e-2)])
def test_ddrnet_agrees_with_torch(precision, low, high, network, tmp_path):
    """float32 to the bound of the parity gate; float16 must differ, or nothing was rounded."""
    program, pairs = run_against_torch(network, [(1, 3, 128, 192)], tmp_path / "ddrnet.mlpackage", precision=precision)
    ((found, expected),) = pairs
    assert found.shape == (1, 19, 128, 192)
    assert found.dtype == np.float32
    assert low < relative_error(found, expected) <= high
    assert len(program.steps) > 100
    released = [name for step in program.steps for name in step.releases]
    assert len(released) == len({*released}) >= len(program.steps) - 2  # all but outputs are freed, each once
