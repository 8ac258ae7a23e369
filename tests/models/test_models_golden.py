"""The published networks, reproduced: their keys load strictly and their numbers come out."""

import numpy as np
import pytest
import torch
from golden_weights import GOLDEN, published_shapes, seeded_image, seeded_state

from seg_core.models import build_model
from seg_core.spec import ModelSpec

#: Of the output's max abs. On the recording machine the difference is 0; other CPUs order sums differently.
TOLERANCE = 1e-4


def _network(name, **options):
    network = build_model(ModelSpec(name, 19, 3, {"upsample": False, **options})).eval()
    state = seeded_state(published_shapes(name))
    if not options.get("aux_head", True):
        state = {key: value for key, value in state.items() if not key.startswith("seghead_extra.")}
    network.load_state_dict(state, strict=True)
    return network


def _error(found, wanted):
    return np.abs(found.numpy() - wanted).max() / np.abs(wanted).max()


@pytest.mark.parametrize("name", ["ddrnet_23_slim", "ddrnet_23"])
def test_published_outputs_are_reproduced(name):
    recorded = np.load(GOLDEN / f"{name}.npz")
    with torch.inference_mode():
        heads = _network(name).forward_heads(seeded_image())
    # The published network returns the auxiliary output first.
    assert _error(heads["aux"], recorded["out0"]) <= TOLERANCE
    assert _error(heads["main"], recorded["out1"]) <= TOLERANCE
    assert _error(heads["main"], recorded["out0"]) > 0.5


def test_without_auxiliary_head_the_main_output_is_the_published_one():
    recorded = np.load(GOLDEN / "ddrnet_23_slim.npz")
    with torch.inference_mode():
        logits = _network("ddrnet_23_slim", aux_head=False)(seeded_image())
    assert _error(logits, recorded["out1"]) <= TOLERANCE


def test_upsampled_logits_are_the_published_ones_resized():
    recorded = np.load(GOLDEN / "ddrnet_23_slim.npz")["out1"]
    with torch.inference_mode():
        logits = _network("ddrnet_23_slim", upsample=True)(seeded_image())
    wanted = torch.nn.functional.interpolate(torch.from_numpy(recorded), size=(128, 192), mode="bilinear")
    assert logits.shape == (1, 19, 128, 192)
    assert _error(logits, wanted.numpy()) <= TOLERANCE


def test_ddrnet_39_has_the_size_of_the_released_one():
    network = build_model(ModelSpec("ddrnet_39", 19))
    state = network.state_dict()
    assert len(state) == 514
    assert sum(parameter.numel() for parameter in network.parameters()) == 32_660_838
    assert [len(network.get_submodule(name)) for name in ("layer1", "layer2", "layer3_1", "layer3_2", "layer4")] == [
        3, 4, 3, 3, 3,
    ]  # fmt: skip
    assert tuple(state["final_layer.conv1.weight"].shape) == (256, 256, 3, 3)
    assert {"layer3_2_.0.conv1.weight", "compression3_2.0.weight", "down3_2.0.weight"} <= set(state)
