"""The published BiSeNets, reproduced: their keys load strictly and their numbers come out."""

import numpy as np
import pytest
import torch
from face_parsing_reference import face_parsing_outputs, face_parsing_shapes
from golden_weights import GOLDEN, published_shapes, seeded_image, seeded_state

from seg_core.models import build_model
from seg_core.spec import ModelSpec

#: Of the output's max abs. On the recording machine the largest is 4e-6; other CPUs order sums differently.
TOLERANCE = 1e-4

#: Our heads in the order of the published outputs: unlike DDRNet's, the first one is the main one.
OUTPUTS = {
    ("bisenetv1", "bisenet_v1"): ("main", "aux16", "aux32"),
    ("bisenetv2", "bisenet_v2"): ("main", "aux2", "aux3", "aux4", "aux5_4"),
}


def _error(found, wanted):
    return float(np.abs(np.asarray(found) - wanted).max() / np.abs(wanted).max())


def _network(golden, name, **options):
    network = build_model(ModelSpec(name, 19, 3, options)).eval()
    state = seeded_state(published_shapes(golden))
    network.load_state_dict({key: state[key] for key in network.state_dict()}, strict=True)
    return network, state


@pytest.mark.parametrize(("golden", "name"), OUTPUTS)
def test_published_outputs_are_reproduced(golden, name):
    recorded = np.load(GOLDEN / f"{golden}.npz")
    network, state = _network(golden, name)
    assert set(network.state_dict()) == set(state)
    with torch.inference_mode():
        heads = network.forward_heads(seeded_image())
    assert tuple(heads) == OUTPUTS[golden, name]
    for index, logits in enumerate(heads.values()):
        assert tuple(logits.shape) == tuple(recorded["shapes"][index])
        assert _error(logits[..., ::8, ::8], recorded[f"out{index}"]) <= TOLERANCE  # every 8th pixel was recorded
    assert _error(heads["main"][..., ::8, ::8], recorded["out1"]) > 0.5


@pytest.mark.parametrize(("golden", "name"), OUTPUTS)
def test_without_auxiliary_heads_the_main_output_is_the_published_one(golden, name):
    network, state = _network(golden, name, aux_head=False)
    assert len(network.state_dict()) < len(state)
    with torch.inference_mode():
        logits = network(seeded_image())
    assert _error(logits[..., ::8, ::8], np.load(GOLDEN / f"{golden}.npz")["out0"]) <= TOLERANCE


@pytest.mark.parametrize(("golden", "name"), OUTPUTS)
def test_logits_at_an_eighth_are_what_upsampling_starts_from(golden, name):
    image = seeded_image(64, 96)
    with torch.inference_mode():
        small = _network(golden, name, upsample=False)[0](image)
        full = _network(golden, name)[0](image)
    assert small.shape == (1, 19, 8, 12)
    wanted = torch.nn.functional.interpolate(small, scale_factor=8, mode="bilinear", align_corners=False)
    assert _error(full, wanted.numpy()) <= 1e-6


def test_the_face_parsing_state_dict_has_its_191_entries():
    shapes = face_parsing_shapes()
    assert len(shapes) == 191
    network = build_model(ModelSpec("bisenet_v1_face", 19))
    assert {key: tuple(value.shape) for key, value in network.state_dict().items()} == shapes


@pytest.mark.parametrize("size_hw", [(128, 96), (88, 136)])
def test_the_face_parsing_network_computes_what_is_published(size_hw):
    state = seeded_state(face_parsing_shapes())
    network = build_model(ModelSpec("bisenet_v1_face", 19, 3, {"align_corners": True})).eval()
    network.load_state_dict(state, strict=True)
    image = seeded_image(*size_hw)
    with torch.inference_mode():
        heads = network.forward_heads(image)
        wanted = face_parsing_outputs(state, image)
    assert list(heads) == ["main", "aux16", "aux32"]
    for found, reference in zip(heads.values(), wanted, strict=True):
        assert _error(found, reference.numpy()) <= 1e-5
