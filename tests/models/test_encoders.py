"""What every encoder promises: the channels and strides that it states, at any output stride that it takes."""

import subprocess
import sys

import pytest
import torch

from seg_core.errors import ConfigError
from seg_core.models.encoders import ENCODERS, NOMINAL_STRIDES, create_encoder, list_encoders

SIZE = (64, 96)
DDRNETS = ("ddrnet_23_slim", "ddrnet_23", "ddrnet_39")  # their two branches fix the strides
DILATED = [(name, stride) for name in list_encoders() if name not in DDRNETS for stride in (16, 8)]


@pytest.fixture(scope="module", params=list_encoders())
def name(request):
    return request.param


def run(encoder, training=False):
    with torch.inference_mode():
        return encoder.train(training)(torch.randn((1, 3, *SIZE), generator=torch.Generator().manual_seed(1)))


def test_the_issues_encoders_are_there():
    assert set(list_encoders()) == {
        *("resnet18", "resnet34", "resnet50", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "ghostnet"),
        *(f"efficientnet_lite{size}" for size in range(5)),
        *(f"mobilenet_v4_{size}" for size in ("small", "medium", "large")),
        *DDRNETS,
    }
    assert ENCODERS.resolve("ghostnet_100") == "ghostnet"


def test_features_are_what_the_encoder_states(name):
    torch.manual_seed(0)
    encoder = create_encoder(name)
    assert encoder.strides == NOMINAL_STRIDES
    features = run(encoder, training=True)  # normalised by the batch: the libraries' fresh weights let signals fade
    shapes = [(1, c, SIZE[0] // s, SIZE[1] // s) for c, s in zip(encoder.channels, encoder.strides, strict=True)]
    assert [feature.shape for feature in features] == shapes
    assert all(0.01 < feature.std() < 10 for feature in features)


@pytest.mark.parametrize("in_channels", [1, 2, 4])
def test_images_may_have_other_channels(name, in_channels):
    with torch.device("meta"):
        encoder = create_encoder(name, in_channels)
        features = encoder.eval()(torch.empty(1, in_channels, *SIZE))
    assert encoder.state_dict()[encoder.stem()].shape[1] == in_channels
    assert [feature.shape[1] for feature in features] == list(encoder.channels)


@pytest.mark.parametrize(("name", "stride"), DILATED)
def test_dilation_keeps_what_strides_computed(name, stride):
    """Every second (or fourth) cell of a dilated feature is the strided one's; the weights are the same."""
    torch.manual_seed(0)
    strided, dilated = create_encoder(name), create_encoder(name, output_stride=stride)
    dilated.load_state_dict(strided.state_dict(), strict=True)
    assert dilated.strides == tuple(min(nominal, stride) for nominal in NOMINAL_STRIDES)
    for fine, coarse, finer, coarser in zip(run(dilated), run(strided), dilated.strides, strided.strides, strict=True):
        assert fine.shape[2:] == (SIZE[0] // finer, SIZE[1] // finer)
        step = coarser // finer
        # TensorFlow's padding of even sizes lies at the far end, so its strided cells are the last of each step.
        first = step - 1 if "lite" in name else 0
        # Squeeze and excitation averages over the finer grid: 9e-6 in MobileNetV3, below 1e-5 everywhere.
        largest = coarse.abs().max()
        assert (fine[:, :, first::step, first::step] - coarse).abs().max() <= 5e-5 * largest
        if step > 1:  # the neighbours are other values, so the comparison can fail
            other = 0 if first else 1
            assert (fine[:, :, other::step, other::step] - coarse).abs().max() > 1e-2 * largest


@pytest.mark.parametrize("name", DDRNETS)
@pytest.mark.parametrize("stride", [8, 16])
def test_ddrnet_refuses_other_strides_with_the_reason(name, stride):
    reason = f"encoder '{name}' cannot give output stride {stride} because its branches exchange .*; use 32"
    with pytest.raises(ConfigError, match=reason):
        create_encoder(name, output_stride=stride)


@pytest.mark.parametrize(("stride", "nearest"), [(4, 8), (20, 16), (64, 32), (0, 8)])
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "ghostnet"])
def test_strides_that_no_encoder_gives_are_refused_with_the_nearest(name, stride, nearest):
    with pytest.raises(ConfigError, match=rf"stride {stride}; use {nearest} \(possible: 8, 16, 32\)"):
        create_encoder(name, output_stride=stride)


def test_names_and_channels_are_checked():
    with pytest.raises(ConfigError, match="unknown encoder 'resnet-18'; did you mean 'resnet18'"):
        create_encoder("resnet-18")
    with pytest.raises(ConfigError, match="in_channels must be at least 1, found 0"):
        create_encoder("resnet18", in_channels=0)


# What the exports of DeepLabV3+ on every encoder were proven with, on all targets. A library that begins to use another
# operation is noticed here, in seconds, before a converter meets it.
PROVEN = {
    *(
        "conv2d",
        "batch_norm",
        "pad",
        "cat",
        "alias",
        "max_pool2d",
        "adaptive_avg_pool2d",
        "mean",
        "upsample_bilinear2d",
    ),
    *("relu", "hardtanh", "hardswish", "hardsigmoid", "add", "mul"),
}


def test_captured_it_gives_the_same_bits_with_proven_operations(name):
    torch.manual_seed(0)
    encoder = create_encoder(name).eval()
    image = torch.randn(1, 3, *SIZE)
    with torch.no_grad():
        captured = torch.export.export(encoder, (image,)).module(check_guards=False)
        assert all(torch.equal(found, wanted) for found, wanted in zip(captured(image), encoder(image), strict=True))
    calls = {node.target.__name__ for node in captured.graph.nodes if node.op == "call_function"}
    assert {call.partition(".")[0].rstrip("_") for call in calls} <= PROVEN


WITHOUT = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[1].split(","):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
from seg_core.errors import MissingDependencyError
from seg_core.models import build_placeholder
from seg_core.models.encoders import create_encoder
from seg_core.spec import ModelSpec

build_placeholder(ModelSpec("ddrnet_23_slim", 3))
create_encoder("ddrnet_23_slim")
assert not {"torchvision", "timm"} & set(sys.modules), "imported before they were needed"
for name in sys.argv[2:]:
    try:
        create_encoder(name)
    except MissingDependencyError as error:
        print(error)
"""


def test_libraries_are_imported_when_needed_and_missed_by_name():
    command = [sys.executable, "-c", WITHOUT]
    both = subprocess.run([*command, "torchvision,timm", "resnet18", "ghostnet"], capture_output=True, text=True)
    assert both.stdout.splitlines() == [
        f"encoder '{name}' needs the package 'torchvision', which is not installed: run  pip install 'segproof[torch]'"
        for name in ("resnet18", "ghostnet")
    ], both.stderr
    one = subprocess.run([*command, "timm", "resnet18", "ghostnet"], capture_output=True, text=True)
    assert one.stdout.splitlines() == [
        "encoder 'ghostnet' needs the package 'timm', which is not installed: run  pip install 'segproof[torch]'"
    ], one.stderr
