"""The fourth channel: its contract, its two implementations and its way from frame to frame."""

from dataclasses import replace

import numpy as np
import pytest

from seg_core.errors import SpecError
from seg_core.geometry import Roi, plan_geometry
from seg_core.preprocessing import Preprocessor
from seg_core.prior import UNKNOWN, carry_labels, even_values, prior_table
from seg_core.reference import carry_labels as reference_carry
from seg_core.reference import reference_preprocess
from seg_core.spec import IMAGENET_MEAN, IMAGENET_STD, PreprocessSpec, from_json, to_json
from seg_core.spec.preprocess import PRIOR_MEAN, PRIOR_STD

HW = (24, 40)


def make_spec(**fields):
    color = fields.get("color", "rgb")
    mean, std = ((0.5,), (0.25,)) if color == "gray" else (IMAGENET_MEAN, IMAGENET_STD)
    usual = {"mean": (*mean, PRIOR_MEAN), "std": (*std, PRIOR_STD), "prior_values": even_values(19)}
    return PreprocessSpec(HW, prior="previous_labels", **{**usual, **fields})


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def test_a_contract_without_a_prior_is_written_as_before():
    spec = PreprocessSpec(HW)
    written = to_json(spec)
    assert "prior" not in written
    assert "prior_values" not in written
    assert written["version"] == 1
    assert from_json(PreprocessSpec, written) == spec


def test_a_contract_with_one_says_so_and_has_its_own_version():
    spec = make_spec()
    written = to_json(spec)
    assert (written["version"], written["prior"], written["prior_values"][:2]) == (2, "previous_labels", [13, 26])
    assert from_json(PreprocessSpec, written) == spec
    assert (spec.channels, spec.color_channels, spec.tensor_shape) == (4, 3, (1, 4, *HW))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"version": 1}, "version: prior 'previous_labels' is of version 2, found 1"),
        ({"version": 3}, "reads versions 1 and 2, found 3"),
        ({"prior_values": ()}, "prior_values: prior 'previous_labels' takes one a class, found 0"),
        ({"prior_values": (1, 256)}, "pixel values of 0..255"),
        ({"mean": IMAGENET_MEAN}, r"mean: rgb with a prior has 4 channel\(s\), found 3"),
    ],
)
def test_contradictions_are_named(fields, words):
    with pytest.raises(SpecError, match=words):
        make_spec(**fields)
    with pytest.raises(SpecError, match="'none' takes none, found 19"):
        PreprocessSpec(HW, prior_values=even_values(19))
    with pytest.raises(SpecError, match="'none' is of version 1, found 2"):
        PreprocessSpec(HW, version=2)


@pytest.mark.parametrize("num_classes", [2, 19, 254, 255])
def test_every_class_has_a_value_of_its_own_and_none_is_nothing(num_classes):
    values = even_values(num_classes)
    assert len(set(values)) == num_classes
    assert min(values) > 0
    assert max(values) <= 255
    table = prior_table(replace(make_spec(), prior_values=values))
    assert table[UNKNOWN] == 0
    assert tuple(table[:num_classes]) == values


@pytest.mark.parametrize("color", ["rgb", "bgr", "gray"])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
def test_both_implementations_give_the_same_bytes(color, layout, resize, rng):
    spec = make_spec(color=color, layout=layout, resize=resize)
    image = rng.integers(0, 256, (57, 61, 3), np.uint8)
    for prior in (None, rng.integers(0, 19, HW, np.uint8), np.full(HW, UNKNOWN, np.uint8)):
        fast, geometry = Preprocessor(spec)(image, Roi(3, 4, 50, 40), prior)
        defined, defined_geometry = reference_preprocess(spec, image, Roi(3, 4, 50, 40), prior)
        assert fast.shape == spec.tensor_shape
        assert fast.tobytes() == defined.tobytes()
        assert geometry == defined_geometry


def test_the_colours_are_those_of_the_contract_without_a_prior(rng):
    image = rng.integers(0, 256, (*HW, 3), np.uint8)
    tensor, _ = Preprocessor(make_spec())(image, prior=rng.integers(0, 19, HW, np.uint8))
    plain, _ = Preprocessor(PreprocessSpec(HW))(image)
    np.testing.assert_array_equal(tensor[:, :3], plain)


def test_values_are_scaled_and_normalised_and_nothing_is_zero():
    labels = np.full(HW, UNKNOWN, np.uint8)
    labels[0, :19] = np.arange(19)
    tensor, _ = Preprocessor(make_spec())(np.zeros((*HW, 3), np.uint8), prior=labels)
    expected = (13 * np.arange(1, 20, dtype=np.float32)) * np.float32(1 / 255) / np.float32(PRIOR_STD)
    np.testing.assert_array_equal(tensor[0, 3, 0, :19], expected)
    assert not tensor[0, 3, 1:].any()


def test_raw_pixels_carry_the_values_as_they_are(rng):
    spec = make_spec(dtype="uint8", scale=1.0, mean=(0.0,) * 4, std=(1.0,) * 4, layout="nhwc")
    labels = rng.integers(0, 19, HW, np.uint8)
    tensor, _ = Preprocessor(spec)(np.zeros((*HW, 3), np.uint8), prior=labels)
    assert tensor.dtype == np.uint8
    np.testing.assert_array_equal(tensor[0, ..., 3], 13 * (labels + 1))


def test_priors_that_do_not_fit_are_refused():
    image = np.zeros((*HW, 3), np.uint8)
    for run in (
        Preprocessor(make_spec()),
        lambda *given, prior: reference_preprocess(make_spec(), *given, prior=prior),
    ):
        with pytest.raises(SpecError, match=r"expected uint8 labels \(24, 40\), found uint8 \(40, 24\)"):
            run(image, prior=np.zeros(HW[::-1], np.uint8))
    with pytest.raises(SpecError, match="takes no previous labels"):
        Preprocessor(PreprocessSpec(HW))(image, prior=np.zeros(HW, np.uint8))


def test_labels_stay_as_they_are_while_the_geometry_does(rng):
    labels = rng.integers(0, 19, HW, np.uint8)
    geometry = plan_geometry((100, 120), make_spec())
    np.testing.assert_array_equal(carry_labels(labels, geometry, geometry), labels)


def test_padding_is_never_known(rng):
    labels = rng.integers(0, 19, HW, np.uint8)
    geometry = plan_geometry((100, 100), make_spec(resize="letterbox"))
    carried = carry_labels(labels, geometry, geometry)
    inside = geometry.content.slices
    np.testing.assert_array_equal(carried[inside], labels[inside])
    assert (carried == UNKNOWN).sum() == carried.size - inside_pixels(geometry)


def inside_pixels(geometry):
    return geometry.content.height * geometry.content.width


def test_another_region_takes_the_labels_to_where_they_were():
    spec = make_spec()
    before = plan_geometry((240, 400), spec)
    labels = np.zeros(HW, np.uint8)
    labels[:, 20:] = 7  # the right half of the picture
    after = plan_geometry((240, 400), spec, Roi(0, 100, 240, 200))  # the middle: its right half is the picture's
    carried = carry_labels(labels, before, after)
    assert (carried[:, :20] == 0).all()
    assert (carried[:, 20:] == 7).all()
    back = carry_labels(carried, after, before)
    assert (back[:, :10] == UNKNOWN).all()
    assert (back[:, 30:] == UNKNOWN).all()
    np.testing.assert_array_equal(back[:, 10:30], labels[:, 10:30])


@pytest.mark.parametrize("resize", ["stretch", "letterbox", "center_crop"])
def test_carrying_is_defined_in_numpy_too(resize, rng):
    spec = make_spec(resize=resize)
    labels = rng.integers(0, 19, HW, np.uint8)
    rois = [None, Roi(2, 3, 70, 50), Roi(11, 0, 33, 61), Roi(0, 0, 1, 1)]
    for first in rois:
        for second in rois:
            before, after = plan_geometry((91, 67), spec, first), plan_geometry((91, 67), spec, second)
            np.testing.assert_array_equal(carry_labels(labels, before, after), reference_carry(labels, before, after))


def test_pictures_of_another_size_begin_anew(rng):
    spec = make_spec()
    before, after = plan_geometry((91, 67), spec), plan_geometry((92, 67), spec)
    labels = rng.integers(0, 19, HW, np.uint8)
    assert carry_labels(labels, before, after) is None
    assert reference_carry(labels, before, after) is None
