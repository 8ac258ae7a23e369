"""Every family of operations, through real conversions of torch code, against torch's own results."""

import numpy as np
import pytest
from mil_material import relative_error, run_against_torch

torch = pytest.importorskip("torch")
pytest.importorskip("coremltools")
F = torch.nn.functional
pytestmark = pytest.mark.export

#: float32 operations of one kind agree to a few units in the last place of the largest value.
CLOSE = 2e-6


def weights(*shape):
    # made by numpy: torch's generator would be recorded in the trace
    return torch.from_numpy(np.random.default_rng(7).normal(0, 0.3, shape).astype(np.float32))


IMAGE = (2, 6, 11, 14)
W = weights(8, 6, 3, 3)
B = weights(6)
WINDOWS = {
    "conv_same_size": ("conv", lambda x: F.conv2d(x, W, weights(8), padding=1)),
    "conv_strided": ("conv", lambda x: F.conv2d(x, W, stride=(2, 3), padding=(0, 2))),
    "conv_dilated": ("conv", lambda x: F.conv2d(x, W, padding=4, dilation=(4, 2))),
    "conv_1x1": ("conv", lambda x: F.conv2d(x, weights(5, 6, 1, 1), weights(5))),
    "conv_1x1_strided": ("conv", lambda x: F.conv2d(x, weights(5, 6, 1, 1), stride=2)),
    "conv_1x1_padded": ("conv", lambda x: F.conv2d(x, weights(5, 6, 1, 1), padding=1)),
    "conv_grouped": ("conv", lambda x: F.conv2d(x, weights(8, 3, 3, 3), padding=1, groups=2)),
    "conv_1x1_grouped": ("conv", lambda x: F.conv2d(x, weights(9, 2, 1, 1), groups=3)),
    "conv_depthwise": ("conv", lambda x: F.conv2d(x, weights(6, 1, 3, 3), padding=2, dilation=2, groups=6)),
    "conv_depthwise_multiplied": ("conv", lambda x: F.conv2d(x, weights(12, 1, 5, 3), stride=2, groups=6)),
    "conv_same_keyword": ("conv", lambda x: F.conv2d(x, weights(4, 6, 4, 2), padding="same")),
    "conv_dynamic_weight": ("conv", lambda x: F.conv2d(x[:, :, :5, :5], x[:1, :, :3, :3])),
    "deconv": ("conv_transpose", lambda x: F.conv_transpose2d(x, weights(6, 4, 4, 4), weights(4), 2, 1)),
    "deconv_output_padding": (
        "conv_transpose",
        lambda x: F.conv_transpose2d(x, weights(6, 4, 3, 3), stride=2, padding=1, output_padding=1),
    ),
    "deconv_grouped_dilated": (
        "conv_transpose",
        lambda x: F.conv_transpose2d(x, weights(6, 2, 3, 2), stride=(2, 1), groups=3, dilation=2),
    ),
    "avg_pool": ("avg_pool", lambda x: F.avg_pool2d(x, 3, 2, 1)),
    "avg_pool_excluding_padding": ("avg_pool", lambda x: F.avg_pool2d(x, 5, 2, 2, count_include_pad=False)),
    "avg_pool_ceil": ("avg_pool", lambda x: F.avg_pool2d(x, 3, 2, ceil_mode=True)),
    "avg_pool_ceil_padded": ("avg_pool", lambda x: F.avg_pool2d(x, 4, 3, 1, ceil_mode=True)),
    "avg_pool_ceil_excluding": (
        "avg_pool",
        lambda x: F.avg_pool2d(x, 4, 3, 1, ceil_mode=True, count_include_pad=False),
    ),
    "avg_pool_of_dappm": ("avg_pool", lambda x: F.avg_pool2d(x, 17, 8, 8)),
    "max_pool": ("max_pool", lambda x: F.max_pool2d(x - 5, 3, 2, 1)),
    "max_pool_ceil": ("max_pool", lambda x: F.max_pool2d(x - 5, (3, 2), (2, 3), ceil_mode=True)),
    "global_pool": ("reduce_mean", lambda x: F.adaptive_avg_pool2d(x, 1)),
    "global_max_pool": ("reduce_max", lambda x: F.adaptive_max_pool2d(x, 1)),
}
RESIZES = {
    "bilinear_x2": ("upsample_bilinear", lambda x: F.interpolate(x, scale_factor=2, mode="bilinear")),
    "bilinear_x8": ("upsample_bilinear", lambda x: F.interpolate(x, size=(88, 112), mode="bilinear")),
    "bilinear_odd": ("upsample_bilinear", lambda x: F.interpolate(x, size=(30, 25), mode="bilinear")),
    "bilinear_down": ("upsample_bilinear", lambda x: F.interpolate(x, size=(5, 7), mode="bilinear")),
    "bilinear_aligned": (
        "upsample_bilinear",
        lambda x: F.interpolate(x, size=(44, 42), mode="bilinear", align_corners=True),
    ),
    "bilinear_from_1x1": ("upsample_bilinear", lambda x: F.interpolate(x[:, :, :1, :1], size=(4, 5), mode="bilinear")),
    "nearest_x3": ("upsample_nearest_neighbor", lambda x: F.interpolate(x, scale_factor=3, mode="nearest")),
    "nearest_size": ("upsample_nearest_neighbor", lambda x: F.interpolate(x, size=(22, 42), mode="nearest")),
}
ELEMENTWISE = {
    "relu": ("relu", F.relu),
    "relu6": ("relu6", lambda x: F.relu6(4 * x)),
    "leaky_relu": ("leaky_relu", lambda x: F.leaky_relu(x, 0.2)),
    "prelu": ("prelu", lambda x: F.prelu(x, weights(6))),
    "elu": ("elu", lambda x: F.elu(x, 0.7)),
    "gelu": ("gelu", F.gelu),
    "gelu_tanh": ("gelu", lambda x: F.gelu(x, approximate="tanh")),
    "erf": ("erf", torch.erf),
    "sigmoid": ("sigmoid", lambda x: torch.sigmoid(40 * x)),
    "silu": ("silu", lambda x: F.silu(30 * x)),
    "hard_sigmoid": ("sigmoid_hard", lambda x: F.hardsigmoid(3 * x)),
    "hard_swish": ("mul", lambda x: F.hardswish(3 * x)),
    "mish": ("softplus", F.mish),
    "softplus": ("softplus", lambda x: F.softplus(30 * x)),
    "tanh": ("tanh", torch.tanh),
    "softmax": ("softmax", lambda x: F.softmax(50 * x, 1)),
    "log_softmax": ("softmax", lambda x: F.log_softmax(x, 1)),
    "clamp": ("clip", lambda x: torch.clamp(x, -0.5, 0.25)),
    "powers": ("pow", lambda x: torch.pow(x.abs() + 1, 1.5) + torch.rsqrt(x.abs() + 1) + torch.exp(x) - x.square()),
    "trigonometry": ("sin", lambda x: torch.sin(x) + torch.cos(x) * torch.atan(x)),
    "rounding": ("floor", lambda x: torch.floor(x) + torch.ceil(x * 2) + torch.round(x * 3) + torch.sign(x)),
    "logarithm": ("log", lambda x: torch.log(x.abs() + 0.5) + torch.sqrt(x.abs())),
    "division": ("real_div", lambda x: x / (x.abs() + 2)),
    "extremes": ("maximum", lambda x: torch.maximum(x, x.flip(3)) - torch.minimum(x, 0.5 * x)),
    "selection": ("select", lambda x: torch.where(x > 0.3, x, 1 - x)),
    "comparison": ("greater_equal", lambda x: torch.logical_and(x >= 0.1, torch.logical_not(x > 0.9)).float()),
    "remainder": ("floor_div", lambda x: torch.floor_divide(10 * x, 3.0)),
}
SHAPES = {
    "argmax": ("reduce_argmax", lambda x: torch.argmax(x, 1).int()),
    "means": ("reduce_mean", lambda x: x.mean((2, 3), keepdim=True) + x.mean(1, keepdim=True)),
    "sums": ("reduce_sum", lambda x: x.sum(1) + x.amax(1) - x.amin(1)),
    "norm": ("reduce_l2_norm", lambda x: x / torch.norm(x, dim=1, keepdim=True)),
    "log_sum_exp": ("reduce_log_sum_exp", lambda x: torch.logsumexp(30 * x, 1)),
    "concat": ("concat", lambda x: torch.cat([x, 2 * x, x[:, :1]], 1)),
    "stack": ("stack", lambda x: torch.stack([x, -x], 1)),
    "chunk": ("split", lambda x: x.chunk(3, 1)[1] * 2 + x.chunk(3, 1)[2]),
    "split_sizes": ("split", lambda x: torch.split(x, [1, 3, 2], 1)[1] * 2),
    "slices": ("slice_by_index", lambda x: x[:, 1:-1, ::2, -5:] * x[:, 0:1, 0:1, 3:4]),
    "index": ("slice_by_index", lambda x: x[:, 2] + x[:, -1]),
    "gather": ("gather", lambda x: x[:, torch.tensor([4, 0, 4])]),
    "gather_along": ("gather_along_axis", lambda x: torch.gather(x, 1, torch.ones((2, 3, 11, 14), dtype=torch.int64))),
    "scatter_along": (
        "scatter_along_axis",
        lambda x: x.scatter(2, torch.tensor([9, 0, 4]).reshape(1, 1, 3, 1).expand(2, 6, 3, 14), 5 * x[:, :, :3]),
    ),
    "reshape": ("reshape", lambda x: x.reshape(2, 3, 2, 11, 14).transpose(1, 2).reshape(2, 6, 11, 14)),
    "squeeze": ("squeeze", lambda x: x[:, :1].squeeze(1).unsqueeze(0) * 2),
    "permute": ("transpose", lambda x: x.permute(0, 2, 3, 1) * 2),
    "tile": ("tile", lambda x: x.repeat(1, 2, 1, 3)),
    "pad_constant": ("pad", lambda x: F.pad(x, (1, 2, 3, 0), value=0.5)),
    "pad_reflect": ("pad", lambda x: F.pad(x, (1, 2, 3, 4), mode="reflect")),
    "pad_replicate": ("pad", lambda x: F.pad(x, (3, 2, 1, 4), mode="replicate")),
    "pixel_shuffle": ("pixel_shuffle", lambda x: F.pixel_shuffle(x.repeat(1, 2, 1, 1), 2)),
    "cumsum": ("cumsum", lambda x: torch.cumsum(x, 2)),
    "topk": ("topk", lambda x: torch.topk(x, 3, 1)[0]),
    "cast": ("cast", lambda x: (x * 4).int().float() + (x > 0).float()),
    "matmul": ("matmul", lambda x: torch.matmul(x, x.transpose(2, 3))),
    "linear": ("linear", lambda x: F.linear(x, weights(5, 14), weights(5))),
    "einsum": ("einsum", lambda x: torch.einsum("nchw,nwhu->nchu", x, x.permute(0, 3, 2, 1))),
    "layer_norm": ("layer_norm", lambda x: F.layer_norm(x, (14,), weights(14), weights(14))),
    "instance_norm": ("instance_norm", lambda x: F.instance_norm(x + 5, weight=weights(6), bias=weights(6))),
    "batch_norm": ("batch_norm", lambda x: F.batch_norm(x.relu(), B, B**2 + 1, B, -B)),
}  # fmt: skip
FAMILIES = {"windows": WINDOWS, "resizes": RESIZES, "elementwise": ELEMENTWISE, "shapes": SHAPES}
CASES = {name: case for family in FAMILIES.values() for name, case in family.items()}


def all_of(names):
    """Return one function with one output a case: a conversion costs more than everything in it."""
    return lambda x: tuple(CASES[name][1](x) for name in names)


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """Give (program, {case: (ours, torch's)}) of a family, converted when first asked for."""
    done = {}

    def give(family):
        if family not in done:
            path = tmp_path_factory.mktemp(family) / "m.mlpackage"
            program, pairs = run_against_torch(all_of(FAMILIES[family]), [IMAGE], path)
            done[family] = program, dict(zip(FAMILIES[family], pairs, strict=True))
        return done[family]

    return give


@pytest.mark.parametrize(("family", "name"), [(family, name) for family, cases in FAMILIES.items() for name in cases])
def test_operation_agrees_with_torch(family, name, converted):
    program, pairs = converted(family)
    found, expected = pairs[name]
    assert CASES[name][0] in {step.name for step in program.steps}
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    assert relative_error(found, expected) <= CLOSE


#: What newer opsets convert to other operations or other inputs.
NEWER = ["conv_strided", "avg_pool_ceil_padded", "bilinear_odd", "bilinear_aligned", "nearest_size", "gather", "slices",
         "topk", "argmax", "reshape", "cast", "instance_norm", "gather_along", "index"]  # fmt: skip


@pytest.mark.parametrize("target", ["iOS16", "iOS17", "iOS18"])
def test_operations_of_newer_opsets_agree_with_torch(target, tmp_path):
    program, pairs = run_against_torch(all_of(NEWER), [IMAGE], tmp_path / "m.mlpackage", target=target)
    assert program.opset == {"iOS16": "CoreML6", "iOS17": "CoreML7", "iOS18": "CoreML8"}[target]
    errors = {name: relative_error(*pair) for name, pair in zip(NEWER, pairs, strict=True)}
    assert {name: error for name, error in errors.items() if error > CLOSE} == {}


def test_torch_export_front_end(tmp_path):
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, 2, 1), torch.nn.BatchNorm2d(8), torch.nn.ReLU(), torch.nn.AvgPool2d(3, 2, 1),
        torch.nn.Hardswish(), torch.nn.Upsample(scale_factor=4, mode="bilinear"),
    )  # fmt: skip
    _, pairs = run_against_torch(net, [(1, 3, 16, 24)], tmp_path / "m.mlpackage", frontend="export", target="iOS17")
    assert relative_error(*pairs[0]) <= CLOSE


def test_attention_of_ios18(tmp_path):
    shape = (2, 3, 5, 8)
    program, pairs = run_against_torch(
        F.scaled_dot_product_attention, [shape] * 3, tmp_path / "m.mlpackage", target="iOS18"
    )
    assert "scaled_dot_product_attention" in {step.name for step in program.steps}
    assert relative_error(*pairs[0]) <= CLOSE


HALF = ["conv_same_size", "avg_pool_of_dappm", "bilinear_x8", "batch_norm", "gelu", "means"]


def test_half_precision_rounds_every_result(tmp_path):
    _, pairs = run_against_torch(all_of(HALF), [IMAGE], tmp_path / "m.mlpackage", precision="FLOAT16", target="iOS16")
    errors = {name: relative_error(*pair) for name, pair in zip(HALF, pairs, strict=True)}
    assert all(found.dtype == np.float16 for found, _ in pairs)  # iOS 16 hands out what it computes
    assert {name: error for name, error in errors.items() if not 0 < error <= 2e-3} == {}


def test_half_precision_loses_what_half_precision_cannot_hold(tmp_path):
    """2049 is no half-precision number and 70000 overflows: an evaluator that kept float32 would not notice."""
    _, pairs = run_against_torch(
        lambda x: (((0 * x + 1) + 2048) * 1.5 - 3072, (0 * x + 350) * 200 / 200),
        [(1, 2, 4, 4)],
        tmp_path / "m.mlpackage",
        precision="FLOAT16",
    )
    assert np.all(pairs[0][0] == 0)
    assert np.all(pairs[0][1] == 1.5)
    assert np.all(np.isinf(pairs[1][0]))


def test_the_program_is_run_as_written_not_as_meant(tmp_path):
    """Two places where the converter itself leaves torch: what Core ML would compute is what comes out.

    A reciprocal becomes `inverse`, which adds 1e-4; group normalisation's affine part becomes a `batch_norm`
    of variance 1 with an epsilon of its own, 5e-6 off.
    """

    def both(x):
        return torch.reciprocal(x.abs() + 1), F.group_norm(x, 3, B, B)

    _, (inverse, group) = run_against_torch(both, [IMAGE], tmp_path / "m.mlpackage")
    as_written = 1 / (1 / inverse[1].astype(np.float64) + 1e-4)
    assert relative_error(inverse[0], as_written) <= CLOSE
    assert relative_error(*inverse) > 5e-5
    shift = B.numpy().reshape(1, -1, 1, 1)
    assert relative_error(group[0], (group[1] - shift) / np.sqrt(1 + 1e-5) + shift) <= CLOSE
    assert relative_error(*group) > CLOSE
