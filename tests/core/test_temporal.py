"""Flicker counts labels that change, and not things that move."""

import cv2
import numpy as np
import pytest

from seg_core.errors import SegError
from seg_core.temporal import TemporalConsistency, estimate_motion

HW = (96, 128)


@pytest.fixture(scope="module")
def scene():
    """A picture with texture everywhere, larger than a frame, and a label map of blobs on it."""
    rng = np.random.default_rng(0)
    size = (HW[0] + 64, HW[1] + 64)
    noise = sum(
        cv2.resize(rng.uniform(0, 1, (size[0] // step + 1, size[1] // step + 1, 3)), size[::-1]) for step in (3, 9, 27)
    )
    labels = np.zeros(size, np.uint8)
    cv2.circle(labels, (90, 80), 30, 1, -1)
    cv2.circle(labels, (110, 60), 12, 2, -1)
    return np.uint8(80 * noise), labels


def view(array, top, left):
    return np.ascontiguousarray(array[top : top + HW[0], left : left + HW[1]])


def score(before, after, labels_before, labels_after):
    consistency = TemporalConsistency(3)
    consistency.update(estimate_motion(before, after), labels_before, labels_after)
    return consistency


def test_a_still_scene_with_still_labels_is_steady(scene):
    image, labels = (view(part, 32, 32) for part in scene)
    found = score(image, image, labels, labels)
    assert found.flicker() == 0.0
    assert found.mean_iou() == 1.0
    assert found.to_json()["followed_pixels"] == labels.size


def test_changed_labels_are_counted_to_the_pixel(scene):
    image, labels = (view(part, 32, 32) for part in scene)
    changed = labels.copy()
    changed[10:20, 10:30] = 2
    found = score(image, image, labels, changed)
    assert found.flicker() == pytest.approx(200 / labels.size)
    assert found.mean_iou() < 0.9


@pytest.mark.parametrize("size_hw", [(8, 8), (11, 11), (15, 64), (64, 15)])
def test_frames_too_small_to_follow_are_one_line(size_hw):
    frame = np.zeros((*size_hw, 3), np.uint8)
    with pytest.raises(SegError, match=rf"{size_hw[0]}x{size_hw[1]} \(HxW\) are too small .* at least 16"):
        estimate_motion(frame, frame)


@pytest.mark.parametrize("size_hw", [(16, 16), (16, 640), (640, 16)])
def test_the_smallest_frames_are_followed(size_hw):
    frame = np.random.default_rng(0).integers(0, 256, (*size_hw, 3), np.uint8)
    assert estimate_motion(frame, frame).seen.all()


@pytest.mark.parametrize(("down", "right"), [(3, 0), (0, -5), (4, 7)])
def test_motion_is_no_flicker(scene, down, right):
    (image, labels), moved = scene, (32 + down, 32 + right)
    before, after = view(image, 32, 32), view(image, *moved)
    found = score(before, after, view(labels, 32, 32), view(labels, *moved))
    still = float((view(labels, 32, 32) != view(labels, *moved)).mean())
    assert still > 0.01
    assert found.flicker() < 0.1 * still
    assert found.mean_iou() > 0.97


def test_labels_that_stay_behind_are_flicker(scene):
    image, labels = scene
    found = score(view(image, 32, 32), view(image, 36, 39), view(labels, 32, 32), view(labels, 32, 32))
    assert found.flicker() > 0.02


def test_noise_and_light_are_no_motion(scene):
    image, labels = (view(part, 32, 32) for part in scene)
    noisy = np.clip(1.08 * image + np.random.default_rng(1).normal(0, 5, image.shape), 0, 255).astype(np.uint8)
    found = score(image, noisy, labels, labels)
    assert found.flicker() < 0.002
    assert found.to_json()["followed_pixels"] > 0.95 * labels.size


def test_what_comes_into_view_does_not_count(scene):
    image, labels = scene
    motion = estimate_motion(view(image, 32, 32), view(image, 32, 40))
    carried = motion.carry(view(labels, 32, 32))
    assert (carried[:, -6:] == 255).all()
    assert (carried[:, :100] != 255).mean() > 0.95


def test_unknown_labels_do_not_count(scene):
    image, labels = (view(part, 32, 32) for part in scene)
    before, after = labels.copy(), labels.copy()
    before[:10], after[-10:] = 255, 255
    found = score(image, image, before, after)
    assert found.flicker() == 0.0
    assert found.to_json()["followed_pixels"] == labels.size - 20 * labels.shape[1]


def test_pairs_add_up(scene):
    image, labels = (view(part, 32, 32) for part in scene)
    steady, changed = score(image, image, labels, labels), score(image, image, labels, 2 - labels)
    flicker = changed.flicker()
    changed.merge(steady)
    assert changed.flicker() == pytest.approx(flicker / 2)


def test_nothing_followed_has_no_score_and_sizes_must_agree(scene):
    assert TemporalConsistency(3).to_json() == {"flicker": None, "temporal_consistency": None, "followed_pixels": 0}
    image = view(scene[0], 0, 0)
    with pytest.raises(SegError, match="differ in size"):
        estimate_motion(image, image[:-1])
