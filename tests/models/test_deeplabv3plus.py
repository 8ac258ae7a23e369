"""DeepLabV3+: what it refuses, what its options build, and that it learns."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from seg_core.errors import ConfigError
from seg_core.labels import LabelSet
from seg_core.models import build_model, list_models
from seg_core.models.checkpoint import Checkpoint, build_network, load_checkpoint, save_checkpoint
from seg_core.models.deeplabv3plus import DEFAULT_RATES, AtrousSpatialPyramidPooling, DeepLabV3Plus
from seg_core.models.necks import list_necks
from seg_core.spec import ModelSpec, PostprocessSpec, PreprocessSpec

ROWS = [name for name in list_models() if name.startswith("deeplabv3plus")]
SMALL = {"encoder": "mobilenet_v3_small", "decoder_channels": 16}


def build(num_classes=3, **options):
    return build_model(ModelSpec("deeplabv3plus", num_classes, options={**SMALL, **options}))


def test_rows_differ_in_their_encoders():
    with torch.device("meta"):
        encoders = {name: build_model(ModelSpec(name, 3)).encoder for name in ROWS}
    assert list(encoders) == [
        "deeplabv3plus",
        *(f"deeplabv3plus_{name}" for name in ("resnet50", "mobilenet_v2", "mobilenet_v4_small", "efficientnet_lite0")),
    ]
    assert len({encoder.channels for encoder in encoders.values()}) == len(encoders)


def test_a_rows_options_can_be_overridden():
    with torch.device("meta"):
        network = build_model(ModelSpec("deeplabv3plus_mobilenet_v2", 3, options={"encoder": "resnet18"}))
    assert network.encoder.channels[-1] == 512


@pytest.mark.parametrize(
    ("options", "finding"),
    [
        ({"encoder": "resnet-18"}, "unknown encoder 'resnet-18'; did you mean 'resnet18'"),
        ({"output_stride": 4}, "cannot give output stride 4; use 8"),
        ({"encoder": "ddrnet_23_slim"}, "cannot give output stride 16 because its branches .*; use 32"),
        ({"atrous_rates": (6, 0)}, r"atrous rates must be at least 1, found 0 in \[6, 0\]"),
        ({"atrous_rates": 6}, "option 'atrous_rates': expected tuple, found 6"),
        ({"neck": "bfpn"}, "unknown neck 'bfpn'; did you mean 'bifpn'"),
        ({"norm": "layer"}, "unknown norm 'layer'"),
        ({"decoder_channels": 0}, "decoder_channels must be at least 1, found 0"),
    ],
)
def test_impossible_combinations_are_refused_when_built(options, finding):
    with pytest.raises(ConfigError, match=finding):
        build(**options)


@pytest.mark.parametrize(
    ("rates", "size_hw", "advice"),
    [
        ((6, 12, 18), (256, 256), "16x16 cells, beyond which atrous rate 18 .*; use rates up to 15 or 304x304$"),
        ((6, 12, 18), (512, 256), "32x16 cells, .*; use rates up to 15 or 512x304$"),
        ((2, 4, 6), (16, 64), "1x4 cells, beyond which atrous rate 6 .* padding; use 112x112$"),
    ],
)
def test_rates_beyond_the_map_are_refused_with_what_works(rates, size_hw, advice):
    network = build(atrous_rates=rates)
    with pytest.raises(ConfigError, match=advice):
        network.check_size(size_hw)
    network.check_size((304, 512))
    build(atrous_rates=(1, 2, 3)).check_size((64, 64))


def test_a_rate_beyond_the_map_leaves_the_centre_alone():
    """Why it is refused: on 4x4 cells a rate of 4 is a 1x1 convolution, one of 3 is not yet."""
    features = torch.randn(1, 8, 4, 4)
    conv = nn.Conv2d(8, 8, 3, bias=False)
    centre = F.conv2d(features, conv.weight[:, :, 1:2, 1:2])
    for rate, alike in ((4, True), (3, False)):
        found = F.conv2d(features, conv.weight, padding=rate, dilation=rate)
        assert torch.allclose(found, centre, atol=1e-6) is alike


@pytest.mark.parametrize("stride", [8, 16, 32])
def test_default_rates_fit_128_pixels(stride):
    network = build(output_stride=stride).eval()
    assert network.rates == DEFAULT_RATES[stride]
    network.check_size((128, 128))
    with torch.inference_mode():
        assert network.aspp(network.encoder(torch.zeros(1, 3, 128, 128))[-1]).shape[2:] == (128 // stride,) * 2
        assert network(torch.zeros(1, 3, 128, 160)).shape == (1, 3, 128, 160)


def test_a_checkpoint_keeps_the_rates(tmp_path):
    torch.manual_seed(0)
    spec = ModelSpec("deeplabv3plus", 3, options={**SMALL, "atrous_rates": (1, 2), "aux_head": False})
    network = build_model(spec).eval()
    saved = Checkpoint(
        spec, PreprocessSpec(size_hw=(64, 64)), PostprocessSpec(), LabelSet(("a", "b", "c")), network.state_dict()
    )
    save_checkpoint(tmp_path / "net.pth", saved)
    loaded = load_checkpoint(tmp_path / "net.pth")
    assert loaded.model == spec
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(build_network(loaded)(image), network(image))


@pytest.mark.parametrize("neck", list_necks())
@pytest.mark.parametrize("stride", [8, 16, 32])
def test_every_neck_works_at_every_stride_and_is_trained(neck, stride):
    network = build(neck=neck, output_stride=stride, neck_stacks=2, scse=True, separable=True)
    heads = network.forward_heads(torch.randn(2, 3, 64, 96))
    assert {name: tuple(logits.shape) for name, logits in heads.items()} == dict.fromkeys(heads, (2, 3, 64, 96))
    sum(logits.square().mean() for logits in heads.values()).backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


def test_image_pooling_sees_the_whole_map_and_nothing_else_does():
    pyramid = AtrousSpatialPyramidPooling(4, 8, rates=(1,), norm="none", separable=False)
    with torch.no_grad():
        before = torch.randn(1, 4, 16, 16)
        after = before.clone()
        after[..., 15, 15] += 100
        moved = (pyramid(after) - pyramid(before))[0, :, 0, 0].abs().max()
        pyramid.image[0].weight.zero_()
        still = (pyramid(after) - pyramid(before))[0, :, 0, 0].abs().max()
    assert moved > 0.01
    assert still == 0


def test_separable_leaves_no_plain_3x3_behind_the_encoder():
    def plain(network):
        convs = {name: module for name, module in network.named_modules() if isinstance(module, nn.Conv2d)}
        return [
            name
            for name, conv in convs.items()
            if not name.startswith("encoder.") and conv.kernel_size == (3, 3) and conv.groups == 1
        ]

    options = {"neck": "panet"}
    assert plain(build(separable=True, **options)) == []
    assert len(plain(build(**options))) > 5


def test_the_auxiliary_head_reads_p2_alone():
    network = build(upsample=False)
    network.forward_heads(torch.randn(2, 3, 64, 64))["aux"].sum().backward()
    layers = {
        name.split(".")[1] for name, parameter in network.encoder.named_parameters() if parameter.grad is not None
    }
    assert layers == {"0", "1"}  # of MobileNetV3-small: stem and the first block, which ends at 1/4
    assert network.aux is not None
    assert network.main_only().aux is None


def scenes(size_hw):
    """Two images of coloured rectangles, and their label maps."""
    labels = np.zeros((2, *size_hw), dtype=np.int64)
    labels[0, 20:90, 10:60], labels[0, 50:110, 70:120] = 1, 2
    labels[1, 10:50, 30:110], labels[1, 60:120, 20:70] = 2, 1
    colours = np.array([[-1.0, -0.5, 0.2], [1.5, 0.3, -1.0], [0.1, 1.2, 1.4]], dtype=np.float32)
    noise = np.random.default_rng(0).normal(0, 0.2, (2, 3, *size_hw)).astype(np.float32)
    return torch.from_numpy(colours[labels].transpose(0, 3, 1, 2) + noise), torch.from_numpy(labels)


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
def test_it_learns_two_images_by_heart(name):
    torch.manual_seed(0)
    images, labels = scenes((128, 128))
    network = build_model(ModelSpec(name, 3, options={"decoder_channels": 32})).train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(25):
        heads = network.forward_heads(images)
        loss = F.cross_entropy(heads["main"], labels) + 0.4 * F.cross_entropy(heads["aux"], labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    with torch.inference_mode():
        right = (network(images).argmax(1) == labels).float().mean()
    assert losses[-1] < 0.25 * losses[0]
    assert right > 0.97


def test_a_class_is_what_the_registry_builds():
    assert isinstance(build(), DeepLabV3Plus)
