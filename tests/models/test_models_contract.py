"""What every registered network promises."""

import copy

import pytest
import torch

from seg_core.errors import ConfigError
from seg_core.models import MODELS, SegmentationModel, build_model, build_placeholder, list_models
from seg_core.spec import ModelSpec

SIZE = (64, 96)
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")


@pytest.fixture(scope="module", params=list_models())
def name(request):
    return request.param


@pytest.fixture(scope="module")
def network(name):
    torch.manual_seed(0)
    return build_model(ModelSpec(name, 5)).eval()


@pytest.fixture(scope="module")
def image():
    return torch.randn((1, 3, *SIZE), generator=torch.Generator().manual_seed(1))


def test_heads_have_one_channel_a_class_and_main_comes_first(network, image):
    with torch.inference_mode():
        heads = network.forward_heads(image)
        main = network(image)
    first, *others = heads
    assert first == "main"
    assert others
    assert all(name.startswith("aux") for name in others)
    assert all(logits.shape == (1, 5, *SIZE) for logits in heads.values())
    assert torch.equal(heads["main"], main)
    assert not any(torch.equal(heads["main"], heads[name]) for name in others)


def test_the_feature_map_comes_with_the_same_heads(network, image):
    if type(network).forward_features is SegmentationModel.forward_features:  # a network need not give it
        with pytest.raises(ConfigError, match=f"{type(network).__name__} gives no feature map"):
            network.forward_features(image)
        return
    with torch.inference_mode():
        expected = network.forward_heads(image)
        heads, feature = network.forward_features(image)
    assert list(heads) == list(expected)
    assert all(torch.equal(heads[name], expected[name]) for name in expected)
    assert feature.ndim == 4
    assert SIZE[0] // feature.shape[2] == SIZE[1] // feature.shape[3] in (4, 8)


def test_dropping_the_auxiliary_head_changes_no_bit(network, image):
    lean = copy.deepcopy(network).main_only()
    with torch.inference_mode():
        assert torch.equal(lean(image), network(image))
        assert list(lean.forward_heads(image)) == ["main"]
    assert len(lean.state_dict()) < len(network.state_dict())


def test_output_stride_is_what_the_logits_have(name, image):
    network = build_model(ModelSpec(name, 4, 3, {"upsample": False})).eval()
    with torch.inference_mode():
        logits = network(image)
    assert logits.shape == (1, 4, SIZE[0] // network.output_stride, SIZE[1] // network.output_stride)
    assert network.output_stride in (4, 8)


@pytest.mark.parametrize("in_channels", [1, 4])
def test_images_may_have_other_channels(name, in_channels):
    network = build_model(ModelSpec(name, 2, in_channels)).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, in_channels, 64, 64)).shape == (1, 2, 64, 64)


def test_every_multiple_of_the_divisor_runs_and_gives_input_size(network):
    step = network.size_divisor
    least = max(step, network.minimum_side)
    for size in ((least, least), (least + 6 * step, least + 8 * step)):
        network.check_size(size)
        with torch.inference_mode():
            assert network(torch.zeros(1, 3, *size)).shape == (1, 5, *size)


# By size divisor: what works instead. The networks of divisor 16 are DeepLabV3+, whose atrous rates need 112 pixels.
ADVICE = {
    (250, 256): {8: "248x256 or 256x256", 16: "240x256 or 256x256"},
    (256, 257): {8: "256x256 or 256x264", 16: "256x256 or 256x272"},
    (4, 64): {8: "8x64", 16: "112x112"},
    (0, 64): {8: "8x64", 16: "112x112"},
}


@pytest.mark.parametrize("size_hw", ADVICE)
def test_other_sizes_are_refused_with_the_nearest(network, size_hw):
    step = network.size_divisor
    advice = f"multiples of {step}; use {ADVICE[size_hw][step]}"
    with pytest.raises(ConfigError, match=rf"size {size_hw[0]}x{size_hw[1]} .*{advice}$"):
        network.check_size(size_hw)


def test_traced_it_gives_the_same_bits(network, image):
    lean = copy.deepcopy(network).main_only()
    with torch.inference_mode():
        assert torch.equal(torch.jit.trace(lean, image)(image), lean(image))


# One variant for each class of network: torch's graph capture takes seconds, and variants differ in widths alone.
@pytest.mark.parametrize(
    "variant", ["ddrnet_23_slim", "bisenet_v1_face", "bisenet_v2", "deeplabv3plus_efficientnet_lite0"]
)
def test_exported_or_compiled_it_gives_the_same_bits(variant, image):
    lean = build_model(ModelSpec(variant, 5)).eval().main_only()
    with torch.no_grad():
        wanted = lean(image)
        assert torch.equal(torch.export.export(lean, (image,)).module()(image), wanted)
        assert torch.equal(torch.compile(lean, backend="eager", fullgraph=True)(image), wanted)


def test_channels_last_gives_the_same_labels(network, image):
    tiled = copy.deepcopy(network).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        wanted = network(image)
        found = tiled(image.to(memory_format=torch.channels_last))
    assert (found - wanted).abs().max() <= 1e-5 * wanted.abs().max()


def test_training_reaches_every_parameter(name):
    network = build_model(ModelSpec(name, 3)).train()
    heads = network.forward_heads(torch.randn(2, 3, 64, 64))
    sum(logits.square().mean() for logits in heads.values()).backward()
    lost = [key for key, parameter in network.named_parameters() if parameter.grad is None]
    assert lost == []


def test_fresh_weights_keep_signals_in_range(name):
    torch.manual_seed(0)
    network = build_model(ModelSpec(name, 3))
    with torch.no_grad():
        spread = network(torch.randn(2, 3, 64, 64)).std()
    assert 0.1 < spread < 10
    silent_ends = name.startswith("bisenet_v2")
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert all(bool((norm.bias == 0).all()) for norm in norms)
    # A residual branch may start silent (Goyal et al., 2017); everything else passes signals on.
    assert all(bool((norm.weight == 1).all()) or (silent_ends and bool((norm.weight == 0).all())) for norm in norms)


def test_placeholders_describe_without_memory_or_randomness(name, network):
    torch.manual_seed(3)
    wanted = torch.rand(4)
    torch.manual_seed(3)
    placeholder = build_placeholder(ModelSpec(name, 5))
    assert torch.equal(torch.rand(4), wanted)
    assert all(tensor.is_meta for tensor in placeholder.state_dict().values())
    assert {key: (value.shape, value.dtype) for key, value in placeholder.state_dict().items()} == {
        key: (value.shape, value.dtype) for key, value in network.state_dict().items()
    }


def test_nothing_but_the_state_dict_holds_values(network):
    """Loading fills a placeholder from the state dict alone, so a buffer outside it would hold garbage."""
    assert {key for key, _ in network.named_buffers()} <= set(network.state_dict())


def test_names_and_options_are_checked():
    with pytest.raises(ConfigError, match="unknown model 'ddrnet_23_slm'; did you mean 'ddrnet_23_slim'"):
        build_model(ModelSpec("ddrnet_23_slm", 3))
    with pytest.raises(ConfigError, match="no option 'aux_heads'; did you mean 'aux_head'"):
        build_model(ModelSpec("ddrnet_23_slim", 3, 3, {"aux_heads": True}))
    with pytest.raises(ConfigError, match="option 'upsample': expected bool, found 1"):
        build_model(ModelSpec("ddrnet_23_slim", 3, 3, {"upsample": 1}))
    assert MODELS.resolve("ddrnet-39") == "ddrnet_39"
