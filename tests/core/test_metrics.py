"""The scores, against numbers worked out by hand and an independent definition."""

import json
import math

import numpy as np
import pytest

from seg_core.errors import SegError
from seg_core.metrics import BoundaryAgreement, ConfusionMatrix, boundary_agreement

TARGET = np.array([[0, 0, 1, 1], [0, 0, 1, 255]], np.uint8)
PREDICTION = np.array([[0, 1, 1, 1], [0, 0, 2, 2]], np.uint8)


def matrix(prediction=PREDICTION, target=TARGET, classes=4):
    confusion = ConfusionMatrix(classes)
    confusion.update(prediction, target)
    return confusion


def test_counts_by_hand():
    assert matrix().counts.tolist() == [[3, 1, 0, 0], [0, 2, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_scores_by_hand():
    confusion = matrix()
    assert confusion.pixel_accuracy() == 5 / 7
    np.testing.assert_allclose(confusion.class_iou(), [3 / 4, 2 / 4, 0, np.nan])
    np.testing.assert_allclose(confusion.class_dice(), [6 / 7, 4 / 6, 0, np.nan])
    np.testing.assert_allclose(confusion.class_accuracy(), [3 / 4, 2 / 3, np.nan, np.nan])
    assert confusion.mean_iou() == pytest.approx(
        (3 / 4 + 2 / 4 + 0) / 3
    )  # predicted-only class 2 counts, absent 3 does not
    assert confusion.mean_dice() == pytest.approx((6 / 7 + 4 / 6 + 0) / 3)
    assert confusion.mean_accuracy() == pytest.approx((3 / 4 + 2 / 3) / 2)


def test_support_and_row_shares_by_hand():
    confusion = matrix()
    assert confusion.class_pixels().tolist() == [4, 3, 0, 0]
    np.testing.assert_allclose(confusion.row_shares()[:2], [[3 / 4, 1 / 4, 0, 0], [0, 2 / 3, 1 / 3, 0]])
    assert np.isnan(confusion.row_shares()[2:]).all()


def test_areas_by_hand_add_up_over_pictures():
    assert matrix().class_areas().tolist() == [[3, 2, 0, 0], [4, 4, 1, 0], [4, 3, 0, 0]]
    parts = [matrix(PREDICTION[rows], TARGET[rows]).class_areas() for rows in (slice(1), slice(1, None))]
    assert sum(parts).tolist() == matrix().class_areas().tolist()
    ignoring = ConfusionMatrix(4, ignore_index=1)
    ignoring.update(PREDICTION, np.where(TARGET == 255, 0, TARGET))
    assert ignoring.class_areas()[:, 1].tolist() == [0, 0, 0]


def test_counts_agree_with_a_plain_loop():
    rng = np.random.default_rng(0)
    target = rng.integers(0, 6, (40, 31)).astype(np.uint8)
    prediction = rng.integers(0, 5, (40, 31)).astype(np.uint8)
    confusion = ConfusionMatrix(5, ignore_index=5)
    confusion.update(prediction, target)
    expected = np.zeros((5, 5), int)
    for wanted, found in zip(target.ravel(), prediction.ravel(), strict=True):
        if wanted != 5:
            expected[wanted, found] += 1
    assert confusion.counts.tolist() == expected.tolist()


def test_merging_parts_equals_one_pass():
    whole = matrix()
    first, second = matrix(PREDICTION[:1], TARGET[:1]), matrix(PREDICTION[1:], TARGET[1:])
    first.merge(second)
    assert first.counts.tolist() == whole.counts.tolist()


def test_merging_other_classes_is_refused():
    with pytest.raises(SegError, match=r"4 classes .* 5 classes"):
        matrix().merge(ConfusionMatrix(5))


def test_an_ignored_class_among_the_classes_has_no_score():
    confusion = ConfusionMatrix(3, ignore_index=0)
    confusion.update(np.array([[0, 1, 2]], np.uint8), np.array([[0, 1, 1]], np.uint8))
    np.testing.assert_allclose(confusion.class_iou(), [np.nan, 1 / 2, 0])


def test_labels_out_of_range_are_named():
    with pytest.raises(SegError, match=r"prediction: expected labels 0\.\.1, found 2$"):
        matrix(classes=2)
    with pytest.raises(SegError, match=r"target: expected labels 0\.\.1 or 255 \(ignored\), found 7, 9"):
        matrix(np.zeros((1, 3), np.uint8), np.array([[9, 7, 255]], np.uint8), classes=2)


def test_maps_of_different_shape_are_refused():
    with pytest.raises(SegError, match=r"prediction \(1, 4\), target \(2, 4\)"):
        matrix(PREDICTION[:1])


def test_json_holds_no_nan_and_names_the_classes():
    scores = json.loads(json.dumps(matrix().to_json(["a", "b", "c", "d"]), allow_nan=False))
    assert scores["per_class"] == {"a": 0.75, "b": 0.5, "c": 0.0, "d": None}
    assert ConfusionMatrix(2).to_json()["miou"] is None
    with pytest.raises(SegError, match="2 class names"):
        matrix().to_json(["a", "b"])


def square(top, left, side=10, size=40):
    labels = np.zeros((size, size), np.uint8)
    labels[top : top + side, left : left + side] = 1
    return labels


def test_boundaries_within_tolerance_agree_fully():
    assert boundary_agreement(square(10, 10), square(10, 10), 2) == 1.0
    assert boundary_agreement(square(12, 10), square(10, 10), 2, tolerance_px=2) == 1.0
    assert boundary_agreement(square(28, 28), square(2, 2), 2, tolerance_px=2) == 0.0


def test_boundary_score_agrees_with_distances_between_all_pairs():
    prediction, target, tolerance = square(13, 14, side=12), square(10, 10), 2

    def outline(labels, label):
        inside = np.pad(labels == label, 1, mode="edge")
        around = inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]
        return np.argwhere((labels == label) & ~around)

    scores = []
    for label in (0, 1):
        found, wanted = outline(prediction, label), outline(target, label)
        near = np.linalg.norm(found[:, None] - wanted[None], axis=2) <= tolerance
        precision, recall = near.any(axis=1).mean(), near.any(axis=0).mean()
        scores.append(2 * precision * recall / (precision + recall))
    assert 0 < scores[1] < 1
    assert boundary_agreement(prediction, target, 2, tolerance_px=tolerance) == pytest.approx(np.mean(scores))


def test_the_edge_of_the_image_and_ignored_pixels_make_no_boundary():
    flat = np.zeros((9, 9), np.uint8)
    assert math.isnan(boundary_agreement(flat, flat, 2))
    target = flat.copy()
    target[:, 5:] = 255
    assert math.isnan(boundary_agreement(flat, target, 2))


def test_boundary_counts_merge_and_refuse_another_tolerance():
    parts = [BoundaryAgreement(2, tolerance_px=1) for _ in range(3)]
    parts[0].update(square(11, 10), square(10, 10))
    parts[1].update(square(20, 20), square(10, 10))
    for prediction in (square(11, 10), square(20, 20)):
        parts[2].update(prediction, square(10, 10))
    parts[0].merge(parts[1])
    assert parts[0].mean_f() == parts[2].mean_f()
    with pytest.raises(SegError, match="tolerance"):
        parts[0].merge(BoundaryAgreement(2, tolerance_px=2))
