"""Folding and rewriting keep the result, and say so when they do not."""

import pytest
import torch
from export_material import fill_weights
from torch import nn

from seg_core.errors import ExportError
from seg_export import rewrites
from seg_export.prepare import apply_rewrites, prepare_network


class Shapes(nn.Module):
    """A pre-activation BatchNorm, a fusable pair, a convolution used twice, a dropout and two pools."""

    def __init__(self) -> None:
        super().__init__()
        self.before = nn.BatchNorm2d(3)
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.after = nn.BatchNorm2d(8)
        self.shared = nn.Conv2d(8, 8, 1, bias=False)
        self.lone = nn.BatchNorm2d(8, affine=False)
        self.drop = nn.Dropout2d(0.5)
        self.padded = nn.AvgPool2d(5, 2, 2)
        self.exclusive = nn.AvgPool2d(3, 1, 1, count_include_pad=False)
        self.plain = nn.AvgPool2d(2)

    def forward(self, x):
        x = torch.relu(self.after(self.conv(torch.relu(self.before(x)))))
        y = self.shared(x)
        x = self.drop(self.lone(y) + y)
        return self.plain(self.exclusive(self.padded(x)))


@pytest.fixture(scope="module")
def network():
    network = Shapes().eval()
    fill_weights(network, seed=3)
    network.lone.running_mean.fill_(0.4)
    return network


@pytest.fixture(scope="module")
def inputs():
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(1, 3, 24, 20, generator=generator) for _ in range(2)]


class Sliced(nn.Module):
    """A slice that takes everything, as the end of a GhostNet module often does."""

    def forward(self, x):
        return torch.relu(torch.cat([x, -x], dim=1)[:, :6])


def calls(module, target):
    return [node for node in module.graph.nodes if node.target is target]


def test_slices_of_everything_are_removed(inputs):
    assert calls(torch.export.export(Sliced(), (inputs[0],)).module(), torch.ops.aten.alias.default)
    prepared = prepare_network(Sliced(), inputs)
    assert not calls(prepared.module, torch.ops.aten.alias.default)
    assert torch.equal(prepared.module(inputs[0]), Sliced()(inputs[0]))


def test_folding_keeps_the_result(network, inputs):
    prepared = prepare_network(network, inputs)
    assert prepared.max_abs_relative <= 1e-5
    assert prepared.notes == ("1 BatchNorms fused into convolutions", "2 folded to scale and shift")
    assert not calls(prepared.module, torch.ops.aten.batch_norm.default)
    assert torch.allclose(prepared.module(inputs[0]), network(inputs[0]), atol=1e-5)


def test_a_convolution_with_two_users_is_not_scaled(network, inputs):
    prepared = prepare_network(network, inputs)
    weights = [tensor for tensor in prepared.module.state_dict().values() if tensor.shape == (8, 8, 1, 1)]
    assert len(weights) == 1
    assert torch.equal(weights[0], network.shared.weight)


def test_only_padded_inclusive_pools_are_rewritten(network, inputs):
    prepared = prepare_network(network, inputs)
    rewritten = apply_rewrites(prepared, ["padded_average_pool"], inputs)
    assert rewritten.notes[-1] == "1 padded average pools became depthwise convolutions"
    assert len(calls(prepared.module, torch.ops.aten.avg_pool2d.default)) == 3
    assert len(calls(rewritten.module, torch.ops.aten.avg_pool2d.default)) == 2
    assert torch.allclose(rewritten.module(inputs[0]), network(inputs[0]), atol=1e-5)


@pytest.mark.parametrize("factor", [0.5, float("nan")])
def test_a_wrong_rewrite_is_caught(network, inputs, monkeypatch, factor):
    prepared = prepare_network(network, inputs)

    def scale_a_weight(editor):
        node = calls(editor.module, torch.ops.aten.conv2d.default)[0]
        with editor.graph.inserting_before(node):
            constant = editor.add_constant(editor.constant(node.args[1]) * factor)
        node.args = (node.args[0], constant, *node.args[2:])
        return 1

    monkeypatch.setitem(rewrites.TARGET_REWRITES, "wrong", (scale_a_weight, "weights scaled"))
    with pytest.raises(ExportError, match="moved the logits"):
        apply_rewrites(prepared, ["wrong"], inputs)


def test_a_network_that_cannot_be_captured_is_one_line(inputs):
    class Untraceable(nn.Module):
        def forward(self, x):
            return x * float(x.sum().item() > 0 and len(str(x)))

    with pytest.raises(ExportError, match="cannot be captured") as caught:
        prepare_network(Untraceable(), inputs)
    assert "\n" not in str(caught.value)
