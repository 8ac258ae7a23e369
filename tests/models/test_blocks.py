"""Blocks that networks share: separable convolutions in place of plain ones, norms, attention, heads."""

import pytest
import torch
from torch import nn

from seg_core.errors import ConfigError
from seg_core.models import build_model
from seg_core.models.blocks import (
    SCSE,
    ConvNormAct,
    ScoreHead,
    SeparableConv,
    conv3x3,
    create_norm,
    is_separable,
    separate_convolutions,
)
from seg_core.spec import ModelSpec


@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 3)])
def test_conv3x3_has_the_size_of_a_padded_convolution(separable, stride, dilation):
    conv = conv3x3(8, 12, stride, dilation, separable=separable)
    assert conv(torch.randn(2, 8, 13, 10)).shape == (2, 12, -(-13 // stride), -(-10 // stride))
    parameters = sum(parameter.numel() for parameter in conv.parameters())
    assert parameters == (8 * 9 + 8 * 12 if separable else 8 * 12 * 9)


def test_a_separable_convolution_keeps_the_variance_that_the_plain_one_has():
    torch.manual_seed(0)
    plain, separable = conv3x3(64, 64), conv3x3(64, 64, separable=True)
    nn.init.kaiming_normal_(plain.weight, nonlinearity="relu")
    image = torch.randn(1, 64, 40, 40)
    with torch.no_grad():
        ratio = float(separable(image).var() / plain(image).var())
    assert ratio == pytest.approx(1.0, abs=0.15)


def test_a_bias_is_there_only_without_a_norm():
    keys = {norm: set(ConvNormAct(4, 8, norm=norm, separable=True).state_dict()) for norm in ("batch", "group", "none")}
    assert "0.1.bias" in keys["none"]
    assert "0.1.bias" not in keys["batch"] | keys["group"]
    assert not {key for key in keys["none"] if key.startswith("1.")}


def test_a_pointwise_convolution_is_never_separated():
    assert isinstance(ConvNormAct(8, 8, kernel=1, separable=True)[0], nn.Conv2d)


@pytest.mark.parametrize(("channels", "groups"), [(64, 32), (48, 16), (88, 8), (7, 1)])
def test_group_norm_takes_the_most_groups_that_divide(channels, groups):
    assert create_norm("group", channels).num_groups == groups


def test_an_unknown_norm_names_the_nearest():
    with pytest.raises(ConfigError, match=r"unknown norm 'bach'; did you mean 'batch'\?"):
        ConvNormAct(4, 8, norm="bach")


class _EveryKind(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.plain = nn.Conv2d(8, 8, 3, 2, padding=1, bias=False)
        self.atrous = nn.Conv2d(8, 8, 3, padding=4, dilation=4)
        self.pointwise = nn.Conv2d(8, 8, 1)
        self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.shrinking = nn.Conv2d(8, 8, 3)
        self.reflecting = nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect")
        self.gate = nn.Conv2d(8, 1, 3, padding=1)

    def forward(self, image):
        for layer in self.children():
            image = layer(image)
        return image


def test_only_eligible_convolutions_are_separated_and_sizes_stay():
    network = _EveryKind()
    shape = network(torch.randn(1, 3, 24, 16)).shape
    assert [name for name, module in network.named_children() if is_separable(module)] == ["plain", "atrous"]
    assert separate_convolutions(network) == 2
    assert isinstance(network.plain, SeparableConv)
    assert network.plain[1].bias is None
    assert network.atrous[1].bias is not None
    assert network.atrous[0].dilation == (4, 4)
    assert network(torch.randn(1, 3, 24, 16)).shape == shape
    assert separate_convolutions(network) == 0


def test_ddrnet_of_separable_convolutions_is_a_quarter_of_the_size_and_learns():
    torch.manual_seed(0)
    plain, separable = (build_model(ModelSpec("ddrnet_23_slim", 5, 3, {"separable": on})) for on in (False, True))
    counts = [sum(parameter.numel() for parameter in network.parameters()) for network in (plain, separable)]
    assert counts[1] < 0.27 * counts[0]
    assert not [name for name, module in separable.named_modules() if is_separable(module)]
    logits = separable(torch.randn(2, 3, 64, 64))
    assert 0.01 < logits.std() < 100
    logits.square().mean().backward()
    assert all(parameter.grad is not None for parameter in separable.final_layer.parameters())


def test_separable_networks_have_the_same_names_on_the_meta_device():
    from seg_core.models import build_placeholder

    spec = ModelSpec("ddrnet_23_slim", 5, 3, {"separable": True})
    assert list(build_placeholder(spec).state_dict()) == list(build_model(spec).state_dict())


def test_scse_adds_channel_and_spatial_gates():
    torch.manual_seed(0)
    block, features = SCSE(16, reduction=4), torch.randn(2, 16, 6, 5)
    assert block.squeeze.out_channels == 4
    for layer in (block.excite, block.spatial):
        nn.init.zeros_(layer.weight)
        nn.init.constant_(layer.bias, 30.0)  # both gates fully open
    torch.testing.assert_close(block(features), 2 * features)
    nn.init.constant_(block.spatial.bias, -30.0)  # the spatial one shut
    torch.testing.assert_close(block(features), features)
    with torch.no_grad():
        block.excite.bias[3] = -30.0
    assert block(features)[:, 3].abs().max() < 1e-6


def test_scse_keeps_a_channel_and_refuses_nonsense():
    assert SCSE(8, reduction=16).squeeze.out_channels == 1
    with pytest.raises(ConfigError, match="reduction must be at least 1, found 0"):
        SCSE(8, reduction=0)


def test_score_head_gives_one_map_a_class():
    assert ScoreHead(8, 6, 5, norm="group", separable=True)(torch.randn(1, 8, 4, 3)).shape == (1, 5, 4, 3)
