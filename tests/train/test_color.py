"""Changes of colour as one linear map: what each does, and that a picture is given what the map says."""

import cv2
import numpy as np
import pytest

from seg_core.config.schema import AugmentSection
from seg_core.geometry import plan_geometry
from seg_core.labels import CELEBAMASK_HQ
from seg_core.spec import PreprocessSpec
from seg_train.augment import Augmenter
from seg_train.color import LUMA_BGR, apply_color, color_matrix, turn_about_grey


def picture(seed=0):
    return np.random.default_rng(seed).integers(90, 160, (16, 24, 3), dtype=np.uint8)


def hue(image_bgr):
    return cv2.cvtColor(image_bgr.astype(np.float32) / 255, cv2.COLOR_BGR2HSV)[..., 0]


def test_without_changes_it_is_the_same_picture():
    np.testing.assert_array_equal(apply_color(picture(), color_matrix(120.0)), picture())


def test_a_picture_becomes_what_the_map_says_rounded_and_cut():
    image = np.random.default_rng(1).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    matrix = color_matrix(float(image.mean()), brightness=1.3, contrast=1.4, saturation=1.5, hue_deg=20)
    exact = image @ matrix[:, :3].T + matrix[:, 3]
    got = apply_color(image, matrix)
    assert np.abs(got - np.clip(exact, 0, 255)).max() <= 1
    assert {0, 255} <= set(np.unique(got))


def test_brightness_multiplies_the_mean_and_leaves_differences():
    image = picture()
    mean = float(image.mean())
    got = apply_color(image, color_matrix(mean, brightness=0.7)).astype(float)
    assert got.mean() == pytest.approx(0.7 * mean, abs=0.5)
    np.testing.assert_allclose(got - got.mean(), image - mean, atol=1.1)


def test_contrast_multiplies_differences_and_leaves_the_mean():
    image = picture()
    mean = float(image.mean())
    got = apply_color(image, color_matrix(mean, contrast=0.5)).astype(float)
    np.testing.assert_allclose(got, mean + 0.5 * (image - mean), atol=1)


def test_saturation_moves_colours_from_their_luma():
    image = picture()
    luma = (image @ LUMA_BGR)[..., np.newaxis]
    for saturation in (0.0, 0.5, 1.4):
        got = apply_color(image, color_matrix(120.0, saturation=saturation))
        np.testing.assert_allclose(got, luma + saturation * (image - luma), atol=1)
    grey = apply_color(image, color_matrix(120.0, saturation=0.0))
    assert (np.ptp(grey, axis=2) == 0).all()


def test_hue_turns_the_way_hsv_counts_and_keeps_greys():
    np.testing.assert_allclose(turn_about_grey(120) @ np.eye(3), [[0, 1, 0], [0, 0, 1], [1, 0, 0]], atol=1e-12)
    np.testing.assert_allclose(turn_about_grey(77) @ np.ones(3), np.ones(3))
    image = picture()
    turned = (hue(apply_color(image, color_matrix(120.0, hue_deg=15))) - hue(image)) % 360
    assert np.median(turned) == pytest.approx(15, abs=2)


def test_training_pictures_are_changed_as_far_as_the_options_say_and_no_further():
    still = AugmentSection(
        flip=0, scale=(1, 1), translate=0, rotate_deg=0, brightness=0, contrast=0, saturation=0, hue_deg=0,
        grayscale=0, blur=0, jpeg=0, low_resolution=0,
    )  # fmt: skip
    image, mask = picture(), np.zeros((16, 24), np.uint8)
    geometry = plan_geometry((16, 24), PreprocessSpec((16, 24)))

    def shown(changes, seed):
        options = still.model_copy(update=changes)
        return Augmenter(options, CELEBAMASK_HQ)(image, mask, geometry, np.random.default_rng(seed))[0]

    np.testing.assert_array_equal(shown({}, 0), image)
    means = [shown({"brightness": 0.2}, seed).mean() / image.mean() for seed in range(40)]
    assert 0.79 < min(means) < 0.85
    assert 1.15 < max(means) < 1.21
    spreads = [shown({"contrast": 0.4}, seed).std() / image.std() for seed in range(40)]
    assert 0.58 < min(spreads) < 0.7
    assert 1.3 < max(spreads) < 1.42
    grey = sum(bool((np.ptp(shown({"grayscale": 0.5}, seed), axis=2) == 0).all()) for seed in range(40))
    assert 10 < grey < 30
