"""Bilinear resizing by matrices is bilinear resizing."""

import pytest
import torch
import torch.nn.functional as F

from seg_core.models import build_model
from seg_core.models.resampling import enlarge, grid_positions, missing_columns, resize_bilinear
from seg_core.spec import ModelSpec


@pytest.mark.parametrize(
    ("size_in", "size_out"),
    [
        ((4, 4), (32, 32)),
        ((1, 1), (7, 5)),
        ((28, 28), (224, 224)),
        ((3, 5), (8, 8)),
        ((9, 7), (4, 7)),
        ((6, 6), (6, 6)),
    ],
)
def test_equals_interpolate_in_value_and_gradient(size_in, size_out):
    generator = torch.Generator().manual_seed(3)
    features = torch.randn((2, 3, *size_in), generator=generator, dtype=torch.float64, requires_grad=True)
    weights = torch.randn((2, 3, *size_out), generator=generator, dtype=torch.float64)
    expected = F.interpolate(features, size_out, mode="bilinear", align_corners=False)
    got = enlarge(features, size_out)
    assert (got - expected).abs().max() < 1e-6  # the positions are float32
    (gradient,) = torch.autograd.grad((got * weights).sum(), features)
    (wanted,) = torch.autograd.grad((expected * weights).sum(), features)
    assert (gradient - wanted).abs().max() < 1e-5


def test_inference_keeps_the_exportable_operation():
    features = torch.randn(1, 2, 4, 4)
    assert torch.equal(
        resize_bilinear(features, (9, 9), training=False),
        F.interpolate(features, (9, 9), mode="bilinear", align_corners=False),
    )


def test_a_network_answers_alike_in_training_and_in_use():
    torch.manual_seed(0)
    network = build_model(ModelSpec("ddrnet_23_slim", 3))
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    image = torch.randn(4, 3, 72, 104)
    trained = network.train()(image)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    network.training = True
    for module in network.modules():
        if not isinstance(module, torch.nn.BatchNorm2d):
            module.training = True
    by_matrices = network(image)
    by_interpolation = network.eval()(image)
    assert by_matrices.shape == trained.shape
    assert (by_matrices - by_interpolation).abs().max() < 1e-4 * by_interpolation.abs().max()


@pytest.mark.parametrize("stride", [1, 2, 3, 8, 100])
@pytest.mark.parametrize("size_in", [(8, 6), (64, 6), (64, 48)])
def test_a_stride_makes_every_stride_th_row_and_column_of_the_enlarged_map(size_in, stride):
    features = torch.randn(2, 3, *size_in, generator=torch.Generator().manual_seed(0))
    rows, columns = (grid_positions(size, stride) for size in (64, 48))
    expected = enlarge(features, (64, 48))[:, :, rows, columns]
    assert expected.numel() > 0
    torch.testing.assert_close(enlarge(features, (64, 48), stride), expected)


@pytest.mark.parametrize(
    ("width", "dtype", "expected"),
    [
        (28, torch.bfloat16, 4),
        (28, torch.float32, 0),
        (45, torch.bfloat16, 3),
        (32, torch.bfloat16, 0),
        (7, torch.bfloat16, 1),
        (4, torch.bfloat16, 0),  # as many zeros as columns would cost more than they bring
        (1, torch.float32, 0),
    ],
)
def test_rows_are_filled_up_to_16_bytes_where_that_takes_few_columns(width, dtype, expected):
    assert missing_columns(width, dtype) == expected


@pytest.mark.parametrize("stride", [1, 2])
def test_columns_of_zeros_leave_half_precision_as_it_was(stride):
    features = torch.randn(2, 3, 28, 28, generator=torch.Generator().manual_seed(0)).bfloat16().requires_grad_()
    got = enlarge(features, (224, 224), stride)
    exact = enlarge(features.double(), (224, 224), stride)
    assert got.shape == exact.shape
    assert (got - exact).abs().max() < 2**-7 * exact.abs().max()
    (gradient,) = torch.autograd.grad(got.square().sum(), features)
    (wanted,) = torch.autograd.grad(exact.square().sum(), features)
    assert (gradient - wanted).abs().max() < 2**-6 * wanted.abs().max()
