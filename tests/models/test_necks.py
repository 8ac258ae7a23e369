"""What holds for every neck, and what is particular to each."""

import pytest
import torch
from torch import nn

from seg_core.errors import ConfigError
from seg_core.models.blocks import SeparableConv
from seg_core.models.necks import create_neck, list_necks
from seg_core.models.necks.bifpn import FastFusion
from seg_core.models.necks.pyramid import enlarge

CHANNELS = (6, 8, 10, 12)


def _features(size_hw=(16, 24), steps=(1, 2, 4, 8), batch=2):
    generator = torch.Generator().manual_seed(3)
    height, width = size_hw
    return [
        torch.randn(batch, channels, -(-height // step), -(-width // step), generator=generator)
        for channels, step in zip(CHANNELS, steps, strict=True)
    ]


def _neck(name, **options):
    torch.manual_seed(0)
    return create_neck(name, CHANNELS, 8, **options)


class _First(nn.Module):
    """The finest feature of a neck whose inputs all come from one image, as a converter sees it."""

    def __init__(self, neck):
        super().__init__()
        self.neck = neck

    def forward(self, image):
        pooled = [image if step == 1 else nn.functional.avg_pool2d(image, step) for step in (1, 2, 4, 8)]
        features = [item.repeat(1, channels, 1, 1) for item, channels in zip(pooled, CHANNELS, strict=True)]
        return torch.cat([enlarge(item, like=features[0]) for item in self.neck(features)], dim=1)


@pytest.mark.parametrize("norm", ["batch", "group", "none"])
@pytest.mark.parametrize("name", list_necks())
def test_features_keep_their_sizes_and_get_one_width(name, norm):
    neck, features = _neck(name, norm=norm, stacks=2), _features()
    results = neck(features)
    assert [tuple(item.shape) for item in results] == [(2, 8, *item.shape[-2:]) for item in features]
    assert neck.channels == (8, 8, 8, 8)
    assert len(neck.layers) == 2


@pytest.mark.parametrize("name", list_necks())
def test_odd_sizes_and_repeated_strides_are_taken(name):
    odd = _features((15, 23))
    assert [item.shape[-2:] for item in _neck(name)(odd)] == [item.shape[-2:] for item in odd]
    repeated = _features(steps=(1, 2, 4, 4))  # an encoder of output stride 16
    results = _neck(name, strides=(4, 8, 16, 16))(repeated)
    assert [item.shape[-2:] for item in results] == [item.shape[-2:] for item in repeated]


@pytest.mark.parametrize("name", list_necks())
def test_every_input_reaches_the_finest_output_and_every_weight_learns(name):
    neck, features = _neck(name), [item.requires_grad_() for item in _features()]
    results = neck(features)
    results[0].sum().backward(retain_graph=True)
    assert all(item.grad.abs().sum() > 0 for item in features)
    sum(item.square().mean() for item in results).backward()
    assert [key for key, parameter in neck.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("name", ["panet", "bifpn"])
def test_bottom_up_paths_bring_the_finest_input_to_the_coarsest_output(name):
    features = [item.requires_grad_() for item in _features()]
    _neck(name)(features)[-1].sum().backward()
    assert features[0].grad.abs().sum() > 0


def test_fpn_goes_down_only():
    features = [item.requires_grad_() for item in _features()]
    _neck("fpn")(features)[-1].sum().backward()
    assert features[0].grad is None


@pytest.mark.parametrize("name", list_necks())
def test_captured_and_traced_networks_are_equal(name):
    network = _First(_neck(name)).eval()
    image = torch.randn(1, 1, 16, 24)
    with torch.no_grad():
        wanted = network(image)
        torch.testing.assert_close(torch.jit.trace(network, image)(image), wanted, rtol=0, atol=1e-6)
        captured = torch.export.export(network, (image,)).module()
        torch.testing.assert_close(captured(image), wanted, rtol=0, atol=1e-6)


def test_enlarging_copies_cells_exactly():
    features = torch.arange(6.0).reshape(1, 1, 2, 3)
    doubled = enlarge(features, like=torch.zeros(1, 1, 4, 6))
    assert torch.equal(doubled, features.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3))
    assert enlarge(features, like=features) is features


def test_fusion_weights_are_positive_shares():
    fusion = FastFusion(3, 4, "batch")
    assert fusion.normalised_weights().tolist() == pytest.approx([1 / 3] * 3, abs=1e-4)
    with torch.no_grad():
        fusion.weights.copy_(torch.tensor([-1.0, 3.0, 1.0]))
    assert fusion.normalised_weights().tolist() == pytest.approx([0.0, 0.75, 0.25], abs=1e-4)
    with torch.no_grad():
        fusion.weights.fill_(-1.0)
    assert fusion.normalised_weights().tolist() == [0.0, 0.0, 0.0]


def test_fusion_is_the_weighted_sum():
    fusion = FastFusion(2, 4, "none").eval()
    fusion.conv = nn.Identity()
    with torch.no_grad():
        fusion.weights.copy_(torch.tensor([3.0, 1.0]))
    first, second = torch.rand(1, 4, 3, 3), torch.rand(1, 4, 3, 3)
    torch.testing.assert_close(fusion([first, second]), 0.75 * first + 0.25 * second, rtol=1e-3, atol=0)


def test_bifpn_is_separable_and_has_a_node_less_at_the_ends():
    neck = _neck("bifpn", stacks=3)
    assert not [module for module in neck.modules() if isinstance(module, nn.Conv2d) and module.groups == 1
                and module.kernel_size != (1, 1)]  # fmt: skip
    for layer in neck.layers:
        assert [node.weights.numel() for node in layer.top_down] == [2, 2, 2]
        assert [node.weights.numel() for node in layer.bottom_up] == [3, 3, 2]
    assert all(isinstance(lateral, nn.Identity) for lateral in neck.layers[1].lateral)


@pytest.mark.parametrize("name", ["fpn", "panet"])
def test_the_separable_switch_leaves_no_plain_3x3(name):
    kinds = {type(module) for module in _neck(name, separable=True).modules()}
    assert SeparableConv in kinds
    assert all(module.groups > 1 for module in _neck(name, separable=True).modules()
               if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3))  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "bifnp"}, r"unknown neck 'bifnp'; did you mean 'bifpn'\?"),
        ({"norm": "layer"}, r"unknown norm 'layer'.*known: batch, group, none"),
        ({"in_channels": (8,)}, "neck 'fpn': needs features of at least 2 scales, found 1"),
        ({"stacks": 0}, "neck 'fpn': stacks must be at least 1, found 0"),
        ({"out_channels": 0}, "neck 'fpn': out_channels must be at least 1, found 0"),
        ({"strides": (4, 8, 16)}, "neck 'fpn': 4 features but 3 strides"),
        ({"strides": (4, 16, 32, 64)}, r"each stride must equal or double the one before, found \(4, 16, 32, 64\)"),
    ],
)
def test_nonsense_is_refused_in_one_line(arguments, message):
    with pytest.raises(ConfigError, match=message):
        create_neck(**{"name": "fpn", "in_channels": CHANNELS, "out_channels": 8, **arguments})
