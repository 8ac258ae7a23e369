"""The edge head: there in training alone, gone from what is exported, and no change to anything else."""

import pytest
import torch

from seg_core.models import build_model, build_placeholder, list_models
from seg_core.spec import ModelSpec

SIZE = (64, 96)
#: One network of each class: variants differ in widths alone.
VARIANTS = ["ddrnet_23_slim", "bisenet_v1", "bisenet_v1_face", "bisenet_v2", "deeplabv3plus"]


@pytest.fixture(scope="module", params=VARIANTS)
def network(request):
    torch.manual_seed(0)
    return build_model(ModelSpec(request.param, 5, 3, {"edge_head": True}))


@pytest.fixture
def images():
    return torch.randn((2, 3, *SIZE), generator=torch.Generator().manual_seed(1))


def test_it_answers_in_training_alone(network, images):
    heads = network.train().forward_heads(images)
    assert next(iter(heads)) == "main"
    edge = heads.pop("edge")
    assert edge.shape[:2] == (2, 1)
    assert SIZE[0] // edge.shape[2] == SIZE[1] // edge.shape[3] in (4, 8)
    assert edge.detach().std() > 0.05
    with torch.inference_mode():
        assert list(network.eval().forward_heads(images)) == list(heads)


def test_it_teaches_what_it_reads_and_nothing_is_left_out(network, images):
    network.train().zero_grad()
    sum(logits.float().square().mean() for logits in network.forward_heads(images).values()).backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []
    network.zero_grad()
    network.forward_heads(images)["edge"].square().mean().backward()
    taught = {name for name, parameter in network.named_parameters() if parameter.grad is not None}
    assert any(not name.startswith("edge_head.") for name in taught)
    assert not any(name.startswith(("final_layer.", "conv_out.", "head.", "classifier.")) for name in taught)


def test_an_export_leaves_it_out_and_changes_no_bit(network, images):
    network.eval()
    with torch.inference_mode():
        wanted = network(images)
        lean = network.main_only()
        assert torch.equal(lean(images), wanted)
    assert not any(name.startswith("edge_head.") for name in lean.state_dict())


@pytest.mark.parametrize("name", list_models())
def test_the_other_weights_keep_their_names(name):
    plain = build_placeholder(ModelSpec(name, 5)).state_dict()
    with_edges = build_placeholder(ModelSpec(name, 5, 3, {"edge_head": True})).state_dict()
    assert set(plain) == {key for key in with_edges if not key.startswith("edge_head.")}
    assert all(with_edges[key].shape == value.shape for key, value in plain.items())
    assert len(with_edges) > len(plain)
