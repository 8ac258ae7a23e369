"""Weights of one network as the start of another."""

import pytest
import torch

from seg_core.errors import CheckpointError, ConfigError
from seg_core.labels import LabelSet
from seg_core.models import build_model
from seg_core.models.checkpoint import Checkpoint, save_checkpoint
from seg_core.spec import ModelSpec, PostprocessSpec, PreprocessSpec
from seg_train.warm_start import load_matching_weights

OPTIONS = {"aux_head": True, "upsample": True}
FIRST = "conv1.0.weight"


def build(num_classes=3, in_channels=3, seed=1):
    torch.manual_seed(seed)
    return build_model(ModelSpec("ddrnet_23_slim", num_classes, in_channels, OPTIONS))


@pytest.fixture(scope="module")
def source():
    return build(seed=0).eval()


@pytest.fixture(scope="module")
def saved(source, tmp_path_factory):
    path = tmp_path_factory.mktemp("warm") / "colour.pth"
    spec = ModelSpec("ddrnet_23_slim", 3, options=OPTIONS)
    labels = LabelSet(("background", "skin", "hair"))
    save_checkpoint(path, Checkpoint(spec, PreprocessSpec((64, 64)), PostprocessSpec(), labels, source.state_dict()))
    return path


def test_the_same_network_is_taken_over_whole(source, saved):
    network = build().eval()
    report = load_matching_weights(network, saved)
    assert set(report.loaded) == set(network.state_dict())
    assert (report.adapted, report.missing, report.unused) == ((), (), ())
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(network(image), source(image))


def test_a_prior_is_added_to_the_first_convolution_and_changes_nothing_at_first(source, saved):
    network = build(in_channels=4).eval()
    report = load_matching_weights(network, saved)
    assert report.adapted == (FIRST,)
    assert report.missing == ()
    assert str(report).endswith("1 widened by the prior (conv1.0.weight)")
    image, prior = torch.rand(1, 3, 64, 64), torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        assert torch.allclose(network(torch.cat([image, prior], 1)), source(image), atol=1e-5)


def test_the_widened_kernel_learns(saved):
    network = build(in_channels=4).train()
    load_matching_weights(network, saved)
    network(torch.rand(2, 4, 64, 64)).square().mean().backward()
    assert network.conv1[0].weight.grad[:, 3].abs().max() > 0


def test_other_classes_keep_their_new_heads(source, saved):
    network = build(num_classes=5)
    before = network.final_layer.conv2.weight.detach().clone()
    report = load_matching_weights(network, saved)
    assert set(report.missing) == {f"{head}.conv2.{kind}" for head in ("seghead_extra", "final_layer")
                                   for kind in ("weight", "bias")}  # fmt: skip
    assert set(report.unused) == set(report.missing)
    assert "4 left at their initial values" in str(report)
    assert torch.equal(network.final_layer.conv2.weight, before)
    assert torch.equal(network.conv1[0].weight, source.conv1[0].weight)


def test_two_channels_more_are_not_a_prior(saved):
    assert FIRST in load_matching_weights(build(in_channels=5), saved).missing


def test_a_bare_part_of_a_network_finds_its_place(source, tmp_path):
    path = tmp_path / "part.pth"
    torch.save({f"module.{name}": value for name, value in source.state_dict().items() if "layer" in name}, path)
    network = build()
    report = load_matching_weights(network, path)
    assert set(report.loaded) == {name for name in network.state_dict() if "layer" in name}
    assert FIRST in report.missing


def test_files_of_no_use_are_named(saved, tmp_path):
    with pytest.raises(ConfigError, match=r"model\.weights: nothing in .*colour\.pth"):
        load_matching_weights(torch.nn.Linear(3, 3), saved)
    with pytest.raises(CheckpointError, match=r"absent\.pth: no such file"):
        load_matching_weights(build(), tmp_path / "absent.pth")
    empty = tmp_path / "empty.pth"
    torch.save({"weights": 3}, empty)
    with pytest.raises(CheckpointError, match=r"empty\.pth: holds no state dict"):
        load_matching_weights(build(), empty)
    other = tmp_path / "other.pth"
    torch.save({"format": "something else"}, other)
    with pytest.raises(CheckpointError, match="not one of our checkpoints"):
        load_matching_weights(build(), other)
