"""The two implementations of the contract must give the same bytes; the rules they follow are pinned by hand."""

import subprocess
import sys

import cv2
import numpy as np
import pytest

from seg_core import Preprocessor, PreprocessSpec, Roi, reference_preprocess
from seg_core import reference as numpy_path

CASES = 5000


def random_side(rng):
    return int(rng.choice([1, 2, 3, rng.integers(1, 12), rng.integers(1, 90), rng.integers(1, 90)]))


def random_spec(rng, size_hw):
    color = str(rng.choice(["rgb", "bgr", "gray"]))
    channels = 1 if color == "gray" else 3
    if rng.random() < 0.2:
        values = {"scale": 1.0, "mean": (0.0,) * channels, "std": (1.0,) * channels, "dtype": "uint8"}
    else:
        mean, std = rng.random(channels), rng.random(channels) + 0.1
        values = {"scale": float(rng.choice([1 / 255, 1.0, 0.017])), "mean": tuple(mean), "std": tuple(std)}
    return PreprocessSpec(
        size_hw,
        color=color,
        resize=str(rng.choice(["stretch", "letterbox", "center_crop"])),
        interpolation=str(rng.choice(["linear_exact", "linear_exact", "nearest"])),
        reduce=str(rng.choice(["none", "halve"])),
        pad_value=int(rng.integers(0, 256)),
        layout=str(rng.choice(["nchw", "nhwc"])),
        **values,
    )


def random_roi(rng, height, width):
    top, bottom = sorted(int(value) for value in rng.integers(0, height + 1, 2))
    left, right = sorted(int(value) for value in rng.integers(0, width + 1, 2))
    if rng.random() < 0.6 or top == bottom or left == right:
        return None
    return Roi(top, left, bottom - top, right - left)


def test_numpy_and_opencv_agree_bit_for_bit():
    rng = np.random.default_rng(20)
    for case in range(CASES):
        size_hw = (random_side(rng), random_side(rng))
        source_hw = (random_side(rng), random_side(rng))
        if case % 7 == 0:  # whole ratios take special paths in OpenCV
            source_hw = tuple(side * int(rng.integers(1, 5)) for side in size_hw)
        spec, roi = random_spec(rng, size_hw), random_roi(rng, *source_hw)
        image = rng.integers(0, 256, (*source_hw, 3), np.uint8)
        fast, geometry = Preprocessor(spec)(image, roi)
        slow, slow_geometry = reference_preprocess(spec, image, roi)
        assert geometry == slow_geometry
        assert fast.shape == slow.shape == spec.tensor_shape
        assert fast.dtype == slow.dtype == spec.dtype
        assert fast.flags.c_contiguous
        assert slow.flags.c_contiguous
        assert fast.tobytes() == slow.tobytes(), f"case {case}: {spec} on {source_hw}, region {roi}"
        labels = rng.integers(0, 19, size_hw, np.uint8)
        restored = numpy_path.restore_labels(geometry, labels, 7)
        np.testing.assert_array_equal(geometry.restore_labels(labels, 7), restored)


@pytest.mark.parametrize(("source_hw", "size_hw"), [((1080, 1920), (256, 256)), ((37, 53), (641, 481))])
def test_they_agree_on_large_pictures_too(source_hw, size_hw):
    image = np.random.default_rng(1).integers(0, 256, (*source_hw, 3), np.uint8)
    for reduce in ("none", "halve"):
        spec = PreprocessSpec(size_hw, reduce=reduce)
        assert Preprocessor(spec)(image).tensor.tobytes() == reference_preprocess(spec, image)[0].tobytes()


@pytest.mark.parametrize(("source", "target"), [(49, 256), (93, 256), (499, 256), (98, 512), (198, 512)])
def test_the_scale_of_linear_exact_is_the_inverse_of_the_inverse(source, target):
    row = np.random.default_rng(2).integers(0, 256, (1, source, 1), np.uint8)
    # 1 / (dst / src) and src / dst differ in the last bit here; where that bit decides a tie, weights move by 1/256.
    other = (source / target * (np.arange(target) + 0.5) - 0.5) % 1 * 256
    same = (1.0 / (target / source) * (np.arange(target) + 0.5) - 0.5) % 1 * 256
    assert (np.rint(other) % 256 != np.rint(same) % 256).any()  # 0 and 256 would be the same pixel
    expected = cv2.resize(row, (target, 1), interpolation=cv2.INTER_LINEAR_EXACT)
    np.testing.assert_array_equal(numpy_path.resize_linear_exact(row, (1, target))[..., 0], expected)


@pytest.mark.parametrize(("source", "target"), [(255, 256), (301, 256), (333, 256), (302, 512), (1022, 512)])
def test_ties_of_linear_exact_are_rounded_to_even(source, target):
    row = np.random.default_rng(2).integers(0, 256, (1, source, 1), np.uint8)
    weights = (1.0 / (target / source) * (np.arange(target) + 0.5) - 0.5) % 1 * 256
    assert (weights % 1 == 0.5).all()  # as of every odd side at 256, and of twice an odd one at 512
    expected = cv2.resize(row, (target, 1), interpolation=cv2.INTER_LINEAR_EXACT)
    np.testing.assert_array_equal(numpy_path.resize_linear_exact(row, (1, target))[..., 0], expected)


@pytest.mark.parametrize(("source", "target"), [(6, 34), (6, 94)])
def test_nearest_uses_the_same_inverse(source, target):
    assert 1.0 / (target / source) != source / target
    row = np.arange(source, dtype=np.uint8)[np.newaxis]
    expected = cv2.resize(row, (target, 1), interpolation=cv2.INTER_NEAREST)
    np.testing.assert_array_equal(numpy_path.resize_nearest(row, (1, target)), expected)


def test_linear_exact_by_hand():
    row = np.array([[[0], [100]]], np.uint8)
    # f = 0.5 * (d + 0.5) - 0.5 = -0.25, 0.25, 0.75, 1.25: edge, a = 64, a = 192, edge.
    np.testing.assert_array_equal(numpy_path.resize_linear_exact(row, (1, 4))[0, :, 0], [0, 25, 75, 100])


def test_halving_drops_an_odd_last_row_and_column_and_rounds_halves_up():
    image = np.array([[0, 1, 9], [0, 1, 9], [9, 9, 9]], np.uint8)[..., np.newaxis]
    np.testing.assert_array_equal(numpy_path.halve(image, (1, 1))[..., 0], [[1]])  # (0 + 1 + 0 + 1 + 2) >> 2


def test_halving_stops_where_one_side_would_fall_below_the_target():
    image = np.zeros((64, 20, 3), np.uint8)
    assert numpy_path.halve(image, (8, 8)).shape == (32, 10, 3)


def test_at_two_to_one_halving_is_linear_exact():
    image = np.random.default_rng(3).integers(0, 256, (64, 48, 3), np.uint8)
    once = numpy_path.halve(image, (32, 24))
    np.testing.assert_array_equal(once, numpy_path.resize_linear_exact(image, (32, 24)))


def test_gray_is_the_stated_integer_rule_and_opencvs_own():
    rng = np.random.default_rng(4)
    image = rng.integers(0, 256, (512, 512, 3), np.uint8)
    gray = numpy_path.reorder(image, "gray")[..., 0]
    np.testing.assert_array_equal(gray, cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))
    assert numpy_path.reorder(np.full((1, 1, 3), 255, np.uint8), "gray").item() == 255


def test_every_operation_of_the_normalisation_rounds_to_float32():
    spec = PreprocessSpec((1, 256), color="gray", mean=(0.1,), std=(0.3,))
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 256, 1)
    single = numpy_path.normalise(spec, pixels).ravel()
    double = ((np.arange(256) * spec.scale - 0.1) / 0.3).astype(np.float32)
    assert single.dtype == np.float32
    assert (single != double).any(), "rounding once at the end must be told apart from rounding each step"
    expected = [(np.float32(x) * np.float32(1 / 255) - np.float32(0.1)) / np.float32(0.3) for x in range(256)]
    np.testing.assert_array_equal(single, np.array(expected, np.float32))


def test_the_reference_needs_no_opencv():
    script = (
        "import sys; sys.modules['cv2'] = None\n"
        "import numpy as np\n"
        "from seg_core import PreprocessSpec, reference_preprocess\n"
        "tensor, geometry = reference_preprocess(PreprocessSpec((4, 4)), np.zeros((9, 7, 3), np.uint8))\n"
        "print(tensor.shape)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "(1, 3, 4, 4)", done.stderr
