import numpy as np
import pytest

from seg_core import CELEBAMASK_HQ, ImageError, LabelSet
from seg_core.visualize import NO_CLASS_BGR, colourise, compare_view, draw_legend, overlay, side_by_side

LABELS = LabelSet(("nothing", "one", "two"), ((0, 0, 0), (250, 10, 20), (0, 200, 100)))


def test_palettes_are_rgb_and_pictures_bgr():
    coloured = colourise(np.array([[0, 1, 2, 255]], np.uint8), LABELS.palette)
    assert coloured[0].tolist() == [[0, 0, 0], [20, 10, 250], [100, 200, 0], list(NO_CLASS_BGR)]


@pytest.mark.parametrize("opacity", [0.0, 0.5, 1.0])
def test_overlay_tints_classes_and_leaves_the_background(opacity):
    image = np.full((20, 30, 3), 100, np.uint8)
    labels = np.zeros((20, 30), np.uint8)
    labels[:, 10:20] = 1
    labels[:, 20:] = 255
    view = overlay(image, labels, LABELS, opacity)
    assert (view[:, :8] == 100).all()
    assert (view[:, 23:] == 100).all()
    expected = (1 - opacity) * 100 + opacity * np.array([20, 10, 250])
    assert np.abs(view[10, 15] - expected).max() <= 1
    assert (image == 100).all()


def test_borders_between_classes_are_drawn_thin():
    labels = np.zeros((20, 30), np.uint8)
    labels[:, 15:] = 1
    view = overlay(np.zeros((20, 30, 3), np.uint8), labels, LABELS, 0.0)
    columns = np.flatnonzero(view.any(axis=(0, 2)))
    assert 1 <= len(columns) <= 2
    assert set(columns) <= {14, 15}


def test_sizes_must_match():
    with pytest.raises(ImageError, match="differ in size"):
        overlay(np.zeros((4, 4, 3), np.uint8), np.zeros((5, 4), np.uint8), LABELS)


def test_pictures_stand_side_by_side_at_one_height():
    row = side_by_side(np.zeros((20, 10, 3), np.uint8), np.full((40, 40, 3), 9, np.uint8), gap=4)
    assert row.shape == (20, 10 + 4 + 20, 3)
    assert (row[:, 10:14] == 255).all()
    assert (row[:, 14:] == 9).all()


def test_the_legend_shows_each_chosen_class_in_its_colour_and_wraps():
    wide = draw_legend(CELEBAMASK_HQ, 1600, [1, 13])
    narrow = draw_legend(CELEBAMASK_HQ, 200)
    assert wide.shape[1] == 1600
    assert narrow.shape[0] > 4 * wide.shape[0]
    seen = {tuple(pixel) for pixel in wide.reshape(-1, 3).tolist()}
    assert {CELEBAMASK_HQ.palette[1][::-1], CELEBAMASK_HQ.palette[13][::-1]} <= seen
    assert CELEBAMASK_HQ.palette[2][::-1] not in seen
    everything = {tuple(pixel) for pixel in narrow.reshape(-1, 3).tolist()}
    assert {colour[::-1] for colour in CELEBAMASK_HQ.palette} <= everything


def test_frames_of_a_video_get_one_size_with_a_fixed_legend():
    image = np.zeros((60, 40, 3), np.uint8)
    few, many = np.zeros((60, 40), np.uint8), np.arange(2400, dtype=np.uint16).reshape(60, 40) % 19
    every = range(19)
    shapes = {
        compare_view(image, labels.astype(np.uint8), CELEBAMASK_HQ, classes=every).shape for labels in (few, many)
    }
    assert len(shapes) == 1


def test_one_pixel_and_one_class_can_be_shown():
    assert compare_view(np.zeros((1, 1, 3), np.uint8), np.zeros((1, 1), np.uint8), LABELS).shape[0] > 1
