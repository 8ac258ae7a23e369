import dataclasses

import numpy as np
import pytest

from seg_core import (
    ArtifactError,
    ImageError,
    LabelSet,
    PostprocessSpec,
    Predictor,
    PreprocessSpec,
    Roi,
    SpecError,
    TensorSpec,
)


@pytest.fixture
def stripes():
    """A picture whose thirds are red, green and blue (BGR in memory)."""
    image = np.zeros((48, 96, 3), np.uint8)
    image[:, :32, 2] = image[:, 32:64, 1] = image[:, 64:, 0] = 200
    return image


def test_a_picture_becomes_labels_at_its_own_size(colour_predictor, stripes):
    prediction = colour_predictor.predict(stripes)
    expected = np.repeat(np.arange(3, dtype=np.uint8), 32)
    # Nearest neighbour puts a border off by at most one of the network's pixels, three of the picture's.
    wrong = np.flatnonzero((prediction.labels != expected).any(axis=0))
    assert set(wrong) <= {29, 30, 31, 32, 33, 34, 61, 62, 63, 64, 65, 66}
    assert prediction.labels.shape == (48, 96)
    assert prediction.labels.dtype == np.uint8


def test_a_region_is_labelled_alone(colour_predictor, stripes):
    prediction = colour_predictor.predict(stripes, Roi(8, 64, 32, 32))
    assert prediction.geometry.box == Roi(8, 64, 32, 32)
    assert (prediction.labels[8:40, 64:] == 2).all()
    assert (prediction.labels == 2).sum() == 32 * 32


def test_times_are_told_by_step(colour_predictor, stripes):
    times = colour_predictor.predict(stripes).timings_ms
    assert set(times) == {"preprocess", "run", "postprocess", "total"}
    assert all(value > 0 for value in times.values())
    assert times["total"] == pytest.approx(times["preprocess"] + times["run"] + times["postprocess"])


def test_wrong_pictures_and_regions_are_refused(colour_predictor, stripes):
    with pytest.raises(ImageError, match="expected BGR uint8"):
        colour_predictor.predict(stripes[..., 0])
    with pytest.raises(ImageError, match="beyond the image"):
        colour_predictor.predict(stripes, Roi(0, 0, 49, 96))


def test_closing_releases_the_runner(colour_predictor):
    with colour_predictor as predictor:
        assert not predictor.runner.closed
    assert predictor.runner.closed


def test_contracts_that_contradict_the_runner_are_refused(colour_predictor):
    runner, labels = colour_predictor.runner, colour_predictor.labels
    post = PostprocessSpec()
    spec = colour_predictor.preprocessor.spec
    with pytest.raises(SpecError, match=r"takes \(1, 3, 32, 32\) nchw, preprocessing makes \(1, 3, 64, 64\)"):
        Predictor(runner, dataclasses.replace(spec, size_hw=(64, 64)), post, labels)
    raw = PreprocessSpec((32, 32), scale=1.0, mean=(0.0,) * 3, std=(1.0,) * 3, dtype="uint8")
    with pytest.raises(SpecError, match="takes float32, preprocessing makes uint8"):
        Predictor(runner, raw, post, labels)
    with pytest.raises(SpecError, match="3 channels for 2 classes"):
        Predictor(runner, spec, post, LabelSet(("a", "b")))
    runner.outputs = runner.inputs
    with pytest.raises(SpecError, match="no output that is logits or labels"):
        Predictor(runner, spec, post, labels)
    runner.inputs = runner.inputs * 2
    with pytest.raises(SpecError, match="takes 2 inputs"):
        Predictor(runner, spec, post, labels)


def test_a_runner_that_forgets_its_output_is_named(colour_predictor, stripes):
    colour_predictor.runner.run = lambda feeds: {"other": np.zeros(1)}
    with pytest.raises(ArtifactError, match="'logits': the network gave only other"):
        colour_predictor.predict(stripes)


def test_half_precision_inputs_are_fed_as_such(colour_predictor, stripes):
    runner = colour_predictor.runner
    seen = []
    runner.inputs = (TensorSpec("image", "image", (1, 3, 32, 32), "float16", "nchw"),)
    plain = runner.run
    runner.run = lambda feeds: seen.append(feeds["image"].dtype) or plain(feeds)
    predictor = Predictor(runner, colour_predictor.preprocessor.spec, PostprocessSpec(), colour_predictor.labels)
    predictor.predict(stripes)
    assert seen == [np.float16]


def test_opening_nothing_is_an_error_that_names_it(tmp_path):
    with pytest.raises(ArtifactError, match=r"none\.onnx"):
        Predictor.open(tmp_path / "none.onnx")
