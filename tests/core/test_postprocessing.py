import numpy as np
import pytest

from seg_core import (
    ArtifactError,
    Postprocessor,
    PostprocessSpec,
    PreprocessSpec,
    Roi,
    SpecError,
    TensorSpec,
    plan_geometry,
)
from seg_core.postprocessing import argmax_planes

RNG = np.random.default_rng(0)


def logits_spec(shape, layout="nchw", dtype="float32"):
    return TensorSpec("logits", "logits", shape, dtype, layout)


def geometry(source_hw, size_hw=(16, 16), resize="stretch", roi=None):
    return plan_geometry(source_hw, PreprocessSpec(size_hw, resize=resize), roi)


def test_argmax_is_numpys_with_ties_to_the_lower_index():
    for _ in range(200):
        shape = tuple(int(side) for side in (RNG.integers(1, 256), RNG.integers(1, 12), RNG.integers(1, 12)))
        scores = RNG.integers(-2, 3, shape).astype(np.float32)
        np.testing.assert_array_equal(argmax_planes(scores), scores.argmax(axis=0))


@pytest.mark.parametrize("resize", ["labels", "logits"])
def test_both_layouts_and_float16_give_the_same_labels(resize):
    post = Postprocessor(PostprocessSpec(resize))
    scores = RNG.integers(-50, 50, (1, 5, 16, 16)).astype(np.float32)
    way = geometry((40, 30), resize="letterbox")
    expected = post(scores, logits_spec(scores.shape), way)
    last = np.ascontiguousarray(scores.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(post(last, logits_spec(last.shape, "nhwc"), way), expected)
    half = scores.astype(np.float16)
    np.testing.assert_array_equal(post(half, logits_spec(half.shape, dtype="float16"), way), expected)
    assert expected.shape == (40, 30)
    assert expected.dtype == np.uint8


@pytest.mark.parametrize("resize", ["labels", "logits"])
def test_outside_the_region_is_the_outside_label(resize):
    scores = np.zeros((1, 3, 16, 16), np.float32)
    scores[:, 2] = 1
    labels = Postprocessor(PostprocessSpec(resize, outside_label=9))(
        scores, logits_spec(scores.shape), geometry((30, 50), roi=Roi(3, 5, 10, 20))
    )
    assert (labels[3:13, 5:25] == 2).all()
    assert (labels == 9).sum() == labels.size - 200


def test_labels_are_replicated_and_logits_are_interpolated():
    scores = np.zeros((1, 2, 2, 2), np.float32)
    scores[0, 1] = [[3, -1], [3, -1]]
    way = geometry((4, 8), size_hw=(2, 2))
    by_labels = Postprocessor(PostprocessSpec("labels"))(scores, logits_spec(scores.shape), way)
    by_logits = Postprocessor(PostprocessSpec("logits"))(scores, logits_spec(scores.shape), way)
    assert by_labels[0].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    # Columns interpolate 3, 3, 2.5, 1.5, 0.5, -0.5, -1, -1: the border moves to where the scores are equal.
    assert by_logits[0].tolist() == [1, 1, 1, 1, 1, 0, 0, 0]


@pytest.mark.parametrize("resize", ["labels", "logits"])
def test_padding_of_the_letterbox_is_cut_away(resize):
    scores = np.zeros((1, 3, 16, 16), np.float32)
    scores[0, 1] = 1
    scores[0, 2, :4] = scores[0, 2, 12:] = 5  # what the network says of padding must not show
    way = geometry((8, 16), resize="letterbox")
    labels = Postprocessor(PostprocessSpec(resize))(scores, logits_spec(scores.shape), way)
    assert (labels == 1).all()


def test_outputs_at_an_eighth_are_brought_to_input_size():
    scores = RNG.normal(size=(1, 4, 2, 3)).astype(np.float32)
    way = geometry((16, 24), size_hw=(16, 24))
    labels = Postprocessor(PostprocessSpec("labels"))(scores, logits_spec(scores.shape), way)
    np.testing.assert_array_equal(labels, scores[0].argmax(0).repeat(8, 0).repeat(8, 1))
    smooth = Postprocessor(PostprocessSpec("logits"))(scores, logits_spec(scores.shape), way)
    assert smooth.shape == (16, 24)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
def test_integer_labels_pass_through(dtype):
    given = RNG.integers(0, 19, (1, 16, 16)).astype(dtype)
    spec = TensorSpec("labels", "labels", given.shape, dtype, "nhw")
    for resize in ("labels", "logits"):
        labels = Postprocessor(PostprocessSpec(resize))(given, spec, geometry((16, 16)))
        assert labels.dtype == np.uint8
        np.testing.assert_array_equal(labels, given[0])


def test_what_does_not_fit_is_named():
    post = Postprocessor(PostprocessSpec())
    scores = np.zeros((1, 3, 16, 16), np.float32)
    with pytest.raises(ArtifactError, match=r"has shape \(1, 3, 16, 16\), its manifest says \(1, 4, 16, 16\)"):
        post(scores, logits_spec((1, 4, 16, 16)), geometry((9, 9)))
    with pytest.raises(SpecError, match="no whole fraction"):
        post(scores, logits_spec(scores.shape), geometry((9, 9), size_hw=(24, 24)))
    with pytest.raises(ArtifactError, match="batch of one"):
        post(np.zeros((2, 3, 16, 16), np.float32), logits_spec((2, 3, 16, 16)), geometry((9, 9)))
    with pytest.raises(ArtifactError, match="logits are floats"):
        post(scores.astype(np.int32), logits_spec(scores.shape), geometry((9, 9)))
    with pytest.raises(SpecError, match="role of an input"):
        post(scores, TensorSpec("image", "image", scores.shape, "float32", "nchw"), geometry((9, 9)))
    labels = TensorSpec("labels", "labels", (1, 16, 16), "int32", "nhw")
    with pytest.raises(ArtifactError, match=r"labels lie in -1\.\.0"):
        post(np.full((1, 16, 16), -1, np.int32) * np.eye(16, dtype=np.int32), labels, geometry((9, 9)))
    with pytest.raises(ArtifactError, match="labels are integers"):
        post(np.zeros((1, 16, 16), np.float32), labels, geometry((9, 9)))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_overflowed_scores_never_become_a_plausible_mask(bad):
    scores = np.zeros((1, 3, 16, 16), np.float32)
    scores[0, 1, 4, 4] = bad
    with pytest.raises(ArtifactError, match="NaN or infinity"):
        Postprocessor(PostprocessSpec())(scores, logits_spec(scores.shape), geometry((9, 9)))
