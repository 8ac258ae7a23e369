"""What torch never converts to: padding words, sampling modes, exact operations on hand-made numbers."""

import math

import numpy as np
import pytest

from seg_core.mil.ops import OPERATIONS


def call(name, *args, **kwargs):
    return OPERATIONS.get(name).function(*args, **kwargs)


def ramp(*shape):
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


#: Grid points of the MIL specification for an input [0, 1].
GRIDS = [
    ("UNALIGN_CORNERS", 5, [0, 0.1, 0.5, 0.9, 1]),
    ("STRICT_ALIGN_CORNERS", 5, [0, 0.25, 0.5, 0.75, 1]),
    ("ALIGN_CORNERS", 5, [0, 0.25, 0.5, 0.75, 1]),
    ("DEFAULT", 5, [0, 0.4, 0.8, 1, 1]),
    ("OFFSET_CORNERS", 5, [0.1, 0.3, 0.5, 0.7, 0.9]),
    ("DEFAULT", 6, [0, 1 / 3, 2 / 3, 1, 1, 1]),
    ("OFFSET_CORNERS", 6, [1 / 12, 3 / 12, 5 / 12, 7 / 12, 9 / 12, 11 / 12]),
    ("STRICT_ALIGN_CORNERS", 1, [0]),
    ("ALIGN_CORNERS", 1, [0.5]),
]


@pytest.mark.parametrize(("mode", "wanted", "points"), GRIDS)
def test_sampling_modes_follow_the_specification(mode, wanted, points):
    x = np.array([[[0, 1]]], np.float32)
    row = call("resize_bilinear", x, 1, wanted, mode)[0, 0]
    column = call("resize_bilinear", x.transpose(0, 2, 1), wanted, 1, mode)[0, :, 0]
    np.testing.assert_allclose(row, points, atol=1e-6)
    np.testing.assert_array_equal(column, row)


def test_upsample_bilinear_states_the_same_grids():
    x = ramp(1, 1, 3, 4)
    for options, mode in [
        ({}, "STRICT_ALIGN_CORNERS"),
        ({"align_corners": False}, "UNALIGN_CORNERS"),
        ({"align_corners": False, "half_pixel_centers": False}, "DEFAULT"),
    ]:
        expected = call("resize_bilinear", x, 6, 10, mode)
        np.testing.assert_array_equal(call("upsample_bilinear", x, 2.0, 2.5, **options), expected)
    with pytest.raises(ValueError, match="contradict"):
        call("upsample_bilinear", x, 2, 2, align_corners=True, half_pixel_centers=True)


def test_resize_of_ios17_keeps_sizes_of_zero_and_refuses_what_it_cannot_prove():
    x = ramp(1, 2, 3, 4)
    kept = call("resize", x, np.array([0, 8]), 2, "LINEAR", "UNALIGN_CORNERS")
    np.testing.assert_array_equal(kept, call("resize_bilinear", x, 3, 8, "UNALIGN_CORNERS"))
    nearest = call("resize", x, np.array([6, 4]), 2, "NEAREST_NEIGHBOR", "DEFAULT")
    np.testing.assert_array_equal(nearest, x.repeat(2, axis=2))
    with pytest.raises(ValueError, match="OFFSET_CORNERS"):
        call("resize", x, np.array([6, 4]), 2, "NEAREST_NEIGHBOR", "OFFSET_CORNERS")


def test_bilinear_does_not_spread_infinities():
    x = np.array([[[0, 1, np.inf]]], np.float32)
    with np.errstate(invalid="ignore"):
        row = call("resize_bilinear", x, 1, 6, "STRICT_ALIGN_CORNERS")[0, 0]
    np.testing.assert_allclose(row[:3], [0, 0.4, 0.8], atol=1e-6)


def test_same_padding_puts_the_odd_pixel_after_and_same_lower_before():
    x, kernel = ramp(1, 1, 4, 4) + 1, np.ones((1, 1, 2, 2), np.float32)
    after = call("conv", x, kernel, pad_type="same")
    before = call("conv", x, kernel, pad_type="same_lower")
    assert after.shape == before.shape == x.shape
    assert after[0, 0, 0, 0] == x[0, 0, :2, :2].sum()
    assert before[0, 0, 0, 0] == x[0, 0, 0, 0]
    assert call("conv", x, kernel, pad_type="valid").shape == (1, 1, 3, 3)
    assert call("conv", x, kernel, pad_type="same", strides=np.array([3, 3])).shape == (1, 1, 2, 2)
    with pytest.raises(ValueError, match="mirror"):
        call("conv", x, kernel, pad_type="mirror")


def test_bands_of_rows_do_not_show(monkeypatch):
    """A convolution is computed in bands of rows; their borders must not change a value."""
    rng = np.random.default_rng(3)
    x, weight = rng.normal(size=(1, 4, 23, 9)).astype(np.float32), rng.normal(size=(6, 4, 3, 3)).astype(np.float32)
    options = {
        "pad_type": "custom",
        "pad": np.array([2, 2, 1, 1]),
        "strides": np.array([2, 1]),
        "dilations": np.array([2, 1]),
    }
    whole = call("conv", x, weight, **options)
    monkeypatch.setattr("seg_core.mil.ops.convolution._BAND_BYTES", 1)
    np.testing.assert_allclose(call("conv", x, weight, **options), whole, rtol=0, atol=1e-5)


def test_one_dimensional_convolutions():
    x = ramp(2, 3, 10)
    weight = np.ones((3, 3, 2), np.float32)
    assert call("conv", x, weight, strides=np.array([2])).shape == (2, 3, 5)
    assert call("conv", x, weight)[0, 0, 0] == x[0, :, :2].sum()
    assert call("conv_transpose", x, weight, strides=np.array([2])).shape == (2, 3, 20)
    with pytest.raises(ValueError, match="3-D"):
        call("conv", x[..., None, None], weight[..., None, None])


def test_transposed_convolution_of_same_padding_multiplies_the_size():
    x = ramp(1, 1, 3, 3)
    out = call("conv_transpose", x, np.ones((1, 1, 4, 4), np.float32), pad_type="same", strides=np.array([2, 2]))
    assert out.shape == (1, 1, 6, 6)


def test_average_pool_of_large_offsets_keeps_its_digits():
    """Running sums over a row of 1e6 would lose the last digits of each mean."""
    x = (1e6 + np.random.default_rng(0).uniform(size=(1, 1, 64, 64))).astype(np.float32)
    found = call("avg_pool", x, np.array([17, 17]), "custom", np.array([8, 8]), np.array([8, 8, 8, 8]), True)
    window = x.astype(np.float64)[0, 0, 8 * 4 - 8 : 8 * 4 + 9, 8 * 4 - 8 : 8 * 4 + 9].mean()
    assert abs(found[0, 0, 4, 4] - window) <= 0.25  # half-digit spacing of float32 there is 0.03


def test_space_and_depth_change_places_and_come_back():
    x = ramp(2, 3, 4, 6)
    for there, back in [("space_to_depth", "depth_to_space"), ("pixel_unshuffle", "pixel_shuffle")]:
        packed = call(there, x, 2)
        assert packed.shape == (2, 12, 2, 3)
        np.testing.assert_array_equal(call(back, packed, 2), x)
    assert call("space_to_depth", x, 2)[0, 1, 0, 0] == x[0, 1, 0, 0]
    assert call("pixel_unshuffle", x, 2)[0, 1, 0, 0] == x[0, 0, 0, 1]


def test_small_rearrangements():
    x = ramp(2, 3, 4)
    np.testing.assert_array_equal(call("reshape", x, np.array([6, 0])), x.reshape(6, 4))
    np.testing.assert_array_equal(call("reshape", x, np.array([1, 0, 0, 0])), x[None])
    np.testing.assert_array_equal(call("squeeze", x[:, :1], np.array([0, 1])), x[:, 0])
    np.testing.assert_array_equal(call("slice_by_size", x, np.array([0, -2, 1]), np.array([1, 1, -1])), x[:1, 1:2, 1:])
    np.testing.assert_array_equal(call("concat", (x, -x), 1, True)[:, 1], -x[:, 0])
    np.testing.assert_array_equal(call("flatten2d", x, 2), x.reshape(6, 4))
    np.testing.assert_array_equal(call("reverse", x, np.array([-1])), x[..., ::-1])
    np.testing.assert_array_equal(call("crop", x, np.array([1, 0]), np.array([1, 2])), x[:, 1:, 1:2])
    np.testing.assert_array_equal(call("one_hot", np.array([2, 0]), 3), np.eye(3)[[2, 0]])
    np.testing.assert_array_equal(call("range_1d", np.int32(7), np.int32(1), np.int32(3)), [1, 4])
    np.testing.assert_array_equal(call("gather_nd", x, np.array([[1, 2], [0, 0]])), x[[1, 0], [2, 0]])
    np.testing.assert_array_equal(call("cumsum", x, 2, True, True)[..., 0], x[..., 1:].sum(-1))
    np.testing.assert_array_equal(call("fill_like", x, np.float32(2)), np.full(x.shape, 2))


def test_error_function_is_exact_in_float32():
    x = np.concatenate([np.linspace(-6, 6, 20011), 10.0 ** np.arange(-30, 2), [np.inf, -np.inf]]).astype(np.float32)
    exact = np.array([math.erf(value) for value in x])
    np.testing.assert_allclose(call("erf", x), exact, rtol=1.2e-7, atol=0)  # one unit in the last place
    assert np.isnan(call("erf", np.array([np.nan], np.float32))).all()


def test_ties_go_to_the_lower_index():
    x = np.array([[1, 3, 3, 0, 0]], np.float32)
    assert call("reduce_argmax", x, 1) == 1
    assert call("reduce_argmin", x, 1) == 3
    np.testing.assert_array_equal(call("topk", x, 2, 1)[1], [[1, 2]])


def test_integers_stay_integers_in_reductions():
    x = np.full((2, 3), 2**30, np.int32)
    assert call("reduce_max", x, np.array([0])).dtype == np.int32
    assert call("reduce_sum", np.ones((2, 3), np.int32), np.array([0, 1])) == 6
