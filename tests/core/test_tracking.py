"""A predictor that remembers the frame before, and when it forgets."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from seg_core import LabelSet, PostprocessSpec, Predictor, PreprocessSpec, Roi, TensorSpec
from seg_core.geometry import plan_geometry
from seg_core.tracking import PriorState
from seg_core.video import open_video

HW = (16, 24)
VALUES = (80, 160, 240)


class RememberingRunner:
    """Scores are the colours (RGB); what came in as the fourth channel is kept, as pixel values."""

    target = "fake"

    def __init__(self, stride=1):
        self.inputs = (TensorSpec("image", "image", (1, 4, *HW), "float32", "nchw"),)
        shape = (1, 3, HW[0] // stride, HW[1] // stride)
        self.outputs = (TensorSpec("logits", "logits", shape, "float32", "nchw"),)
        self.stride = stride
        self.priors = []

    def run(self, feeds):
        tensor = feeds["image"]
        self.priors.append(np.rint(tensor[0, 3] * 255).astype(np.uint8))
        return {"logits": np.ascontiguousarray(tensor[:, :3, :: self.stride, :: self.stride])}

    def close(self):
        pass


def make_predictor(stride=1, **fields):
    spec = PreprocessSpec(HW, mean=(0.0,) * 4, std=(1.0,) * 4, prior="previous_labels", prior_values=VALUES, **fields)
    return Predictor(RememberingRunner(stride), spec, PostprocessSpec(), LabelSet(("red", "green", "blue")))


def stripes(first=0, height=48, width=72):
    """Thirds of red, green and blue from left to right, beginning with the class `first`."""
    image = np.zeros((height, width, 3), np.uint8)
    for third in range(3):
        image[:, third * width // 3 : (third + 1) * width // 3, 2 - (first + third) % 3] = 120
    return image


def test_a_frame_is_told_what_the_one_before_got():
    predictor = make_predictor()
    first, second = predictor.track(stripes()), predictor.track(stripes())
    assert not first.used_prior
    assert second.used_prior
    told = predictor.runner.priors
    assert not told[0].any()
    assert [set(np.unique(told[1][:, 8 * third : 8 * third + 8])) for third in range(3)] == [{80}, {160}, {240}]
    np.testing.assert_array_equal(first.labels, second.labels)


def test_single_pictures_are_told_nothing_and_leave_no_trace():
    predictor = make_predictor()
    predictor.track(stripes())
    assert not predictor.predict(stripes(1)).used_prior
    assert not predictor.runner.priors[1].any()
    predictor.track(stripes())
    assert set(np.unique(predictor.runner.priors[2][:, :8])) == {80}


def test_resetting_forgets():
    predictor = make_predictor()
    predictor.track(stripes())
    predictor.reset()
    assert not predictor.track(stripes()).used_prior


def test_other_frame_sizes_and_cuts_begin_anew():
    predictor = make_predictor()
    predictor.track(stripes())
    assert not predictor.track(stripes(height=50)).used_prior
    assert predictor.track(stripes(height=50)).used_prior
    assert not predictor.track(255 - stripes(height=50)).used_prior
    assert predictor.track(255 - stripes(height=50)).used_prior


def test_another_region_is_told_what_lay_there():
    predictor = make_predictor()
    predictor.track(stripes())
    predictor.track(stripes(), Roi(0, 24, 48, 24))  # the green third alone
    assert set(np.unique(predictor.runner.priors[1])) == {160}
    predictor.track(stripes())
    assert set(np.unique(predictor.runner.priors[2][:, :8])) == {0}  # outside the region nothing is known
    assert set(np.unique(predictor.runner.priors[2][:, 8:16])) == {160}


def test_padding_is_told_as_unknown():
    predictor = make_predictor(resize="letterbox", pad_value=200)
    predictor.track(stripes(height=24))
    predictor.track(stripes(height=24))
    content = plan_geometry((24, 72), predictor.preprocessor.spec).content
    told = predictor.runner.priors[1].copy()
    assert (told[content.slices] > 0).all()
    told[content.slices] = 0
    assert not told.any()


@pytest.mark.parametrize("resize", ["labels", "logits"])
def test_scores_at_a_fraction_are_told_at_the_networks_size(resize):
    predictor = make_predictor(stride=8)
    predictor.postprocessor.spec = replace(predictor.postprocessor.spec, resize=resize)
    predictor.track(stripes())
    predictor.track(stripes())
    told = predictor.runner.priors[1]
    assert told.shape == HW
    assert [told[0, column] for column in (0, 12, 23)] == [80, 160, 240]


def test_networks_without_a_prior_track_as_they_predict(colour_predictor):
    image = stripes()
    first = colour_predictor.predict(image)
    for _ in range(2):
        tracked = colour_predictor.track(image)
        assert not tracked.used_prior
        np.testing.assert_array_equal(tracked.labels, first.labels)


def test_motion_is_no_cut_and_cuts_are(samples_dir):
    (clip,) = samples_dir.glob("*.mp4")
    with open_video(clip) as video:
        frames = list(video)[::3]
    photo = cv2.imread(str(samples_dir / "obama.jpg"))
    geometry = plan_geometry(frames[0].shape[:2], PreprocessSpec(HW))
    state = PriorState()
    known = []
    for frame in frames:
        known.append(state.recall(frame, geometry) is not None)
        state.keep(np.zeros(HW, np.uint8), geometry)
    assert known == [False] + [True] * (len(frames) - 1)
    assert state.recall(cv2.resize(photo, frames[0].shape[1::-1]), geometry) is None
