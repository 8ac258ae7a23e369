"""How well one label map agrees with another, accumulated over a data set.

All scores are computed from counts summed over every pixel of every image, never as a mean of per-image
scores, so that they depend neither on the order of the images nor on how they are batched or merged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from seg_core.errors import SegError

LabelMap = npt.NDArray[np.uint8]
Scores = npt.NDArray[np.float64]


class ConfusionMatrix:
    """Count how often pixels of each target class are predicted as each class.

    `counts` is int64 (num_classes, num_classes): rows are the target, columns the prediction. Pixels whose
    target is `ignore_index` are not counted, whatever is predicted there. A class absent from both target and
    prediction has the score NaN and stays out of the means; a class that is predicted but nowhere in the
    target scores 0 and counts.
    """

    def __init__(self, num_classes: int, ignore_index: int = 255) -> None:
        """Start with no pixels; `ignore_index` may lie outside the classes (as usual) or be one of them."""
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.counts: npt.NDArray[np.int64] = np.zeros((num_classes, num_classes), np.int64)

    def update(self, prediction: LabelMap, target: LabelMap) -> None:
        """Add the pixels of two label maps of the same shape, (H, W) or (N, H, W).

        Raises SegError when the shapes differ or a value is neither a class nor, in the target, `ignore_index`.
        """
        prediction, target = _counted_pixels(prediction, target, self.num_classes, self.ignore_index)
        cells = target.astype(np.int64) * self.num_classes + prediction
        self.counts += np.bincount(cells, minlength=self.num_classes**2).reshape(self.counts.shape)

    def merge(self, other: ConfusionMatrix) -> None:
        """Add the counts of `other`; raises SegError when it was made for other classes."""
        if (other.num_classes, other.ignore_index) != (self.num_classes, self.ignore_index):
            raise SegError(
                f"confusion matrices of {self.num_classes} classes (ignoring {self.ignore_index}) and "
                f"{other.num_classes} classes (ignoring {other.ignore_index}) cannot be merged"
            )
        self.counts += other.counts

    def pixel_accuracy(self) -> float:
        """Return the share of counted pixels whose class is right; NaN when none was counted."""
        return _ratio(np.trace(self.counts), self.counts.sum())

    def class_iou(self) -> Scores:
        """Return intersection over union (Jaccard) a class, float64 (num_classes,), NaN where absent."""
        return self._divide(self._hits(), self._target_pixels() + self._predicted_pixels() - self._hits())

    def class_dice(self) -> Scores:
        """Return the Dice coefficient (F1) a class, float64 (num_classes,), NaN where absent."""
        return self._divide(2 * self._hits(), self._target_pixels() + self._predicted_pixels())

    def class_accuracy(self) -> Scores:
        """Return recall a class, float64 (num_classes,), NaN where the target has none of it."""
        return self._divide(self._hits(), self._target_pixels())

    def class_pixels(self) -> npt.NDArray[np.int64]:
        """Return how many counted pixels the target has of each class (its support), int64 (num_classes,)."""
        return self._target_pixels()

    def class_areas(self) -> npt.NDArray[np.int64]:
        """Return the pixels of each class's intersection, union and target, int64 (3, num_classes).

        They add up over images where IoUs do not. An ignored class has none.
        """
        hits, target = self._hits(), self._target_pixels()
        areas = np.stack([hits, target + self._predicted_pixels() - hits, target])
        if self.ignore_index < self.num_classes:
            areas[:, self.ignore_index] = 0
        return areas

    def row_shares(self) -> Scores:
        """Return `counts` with each row as shares of its sum, float64 (num_classes, num_classes); NaN in empty rows.

        Cell (i, j) is the share of the target's pixels of class i that are predicted as j.
        """
        whole = self._target_pixels()[:, None]
        shares = np.full(self.counts.shape, np.nan)
        np.divide(self.counts, whole, out=shares, where=whole > 0)
        return shares

    def mean_iou(self) -> float:
        """Return the mean of `class_iou` over the classes present in target or prediction."""
        return _mean_of_present(self.class_iou())

    def mean_dice(self) -> float:
        """Return the mean of `class_dice` over the classes present in target or prediction."""
        return _mean_of_present(self.class_dice())

    def mean_accuracy(self) -> float:
        """Return the mean of `class_accuracy` over the classes present in the target."""
        return _mean_of_present(self.class_accuracy())

    def to_json(self, names: Sequence[str] | None = None) -> dict[str, Any]:
        """Return every score as JSON types, `per_class` being IoU by name; NaN becomes None.

        `names` are the class names in index order; without them the keys are the indices.
        """
        keys = list(names) if names is not None else [str(index) for index in range(self.num_classes)]
        if len(keys) != self.num_classes:
            raise SegError(f"{len(keys)} class names for a confusion matrix of {self.num_classes} classes")
        return {
            "miou": _number(self.mean_iou()),
            "pixel_accuracy": _number(self.pixel_accuracy()),
            "mean_accuracy": _number(self.mean_accuracy()),
            "mean_dice": _number(self.mean_dice()),
            "per_class": {key: _number(value) for key, value in zip(keys, self.class_iou().tolist(), strict=True)},
        }

    def _hits(self) -> npt.NDArray[np.int64]:
        return np.diagonal(self.counts)

    def _target_pixels(self) -> npt.NDArray[np.int64]:
        return np.asarray(self.counts.sum(axis=1))

    def _predicted_pixels(self) -> npt.NDArray[np.int64]:
        return np.asarray(self.counts.sum(axis=0))

    def _divide(self, part: npt.NDArray[np.int64], whole: npt.NDArray[np.int64]) -> Scores:
        scores = np.full(self.num_classes, np.nan)
        np.divide(part, whole, out=scores, where=whole > 0)
        if self.ignore_index < self.num_classes:
            scores[self.ignore_index] = np.nan  # its target pixels were left out, so no score of it means anything
        return scores


class BoundaryAgreement:
    """Score how well the outlines of the classes agree: the boundary F-score within `tolerance_px`.

    A boundary pixel of a class has a 4-neighbour of another class; the image's own edge is no boundary, nor
    are pixels that touch ignored ones. Precision is the share of predicted boundary pixels that lie within
    `tolerance_px` (Euclidean) of a target boundary pixel of the same class, recall the reverse, and F their
    harmonic mean (Csurka et al., "What is a good evaluation measure for semantic segmentation?", BMVC 2013;
    here with counts summed over the data set). Classes without boundary on both sides score NaN.
    """

    def __init__(self, num_classes: int, ignore_index: int = 255, tolerance_px: int = 2) -> None:
        """Start with no pixels; raises SegError when `tolerance_px` is negative."""
        if tolerance_px < 0:
            raise SegError(f"boundary tolerance: expected at least 0 px, found {tolerance_px}")
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.tolerance_px = tolerance_px
        self._disc = _disc(tolerance_px)
        # Columns: predicted boundary pixels, those of them near the target's; target's, those near the prediction's.
        self.counts: npt.NDArray[np.int64] = np.zeros((num_classes, 4), np.int64)

    def update(self, prediction: LabelMap, target: LabelMap) -> None:
        """Add one pair of label maps, uint8 (H, W); raises SegError as `ConfusionMatrix.update` does."""
        _counted_pixels(prediction, target, self.num_classes, self.ignore_index)
        ignored = (target == self.ignore_index).astype(np.uint8)
        usable = cv2.dilate(ignored, np.ones((3, 3), np.uint8)) == 0
        for label in np.setdiff1d(np.union1d(prediction, target), self.ignore_index):
            predicted = _boundary(prediction == label) & usable
            wanted = _boundary(target == label) & usable
            self.counts[label] += (
                np.count_nonzero(predicted),
                np.count_nonzero(predicted & self._near(wanted)),
                np.count_nonzero(wanted),
                np.count_nonzero(wanted & self._near(predicted)),
            )

    def merge(self, other: BoundaryAgreement) -> None:
        """Add the counts of `other`; raises SegError when it was made for other classes or another tolerance."""
        if (other.num_classes, other.tolerance_px) != (self.num_classes, self.tolerance_px):
            raise SegError("boundary counts of other classes or another tolerance cannot be merged")
        self.counts += other.counts

    def class_f(self) -> Scores:
        """Return the boundary F-score a class, float64 (num_classes,), NaN where neither side has a boundary."""
        predicted, predicted_near, wanted, wanted_near = self.counts.T.astype(np.float64)
        precision = np.divide(predicted_near, predicted, out=np.zeros_like(predicted), where=predicted > 0)
        recall = np.divide(wanted_near, wanted, out=np.zeros_like(wanted), where=wanted > 0)
        total = precision + recall
        f_score = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
        return np.where(predicted + wanted > 0, f_score, np.nan)

    def mean_f(self) -> float:
        """Return the mean of `class_f` over the classes that have a boundary on either side; NaN without any."""
        return _mean_of_present(self.class_f())

    def _near(self, boundary: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        return np.asarray(cv2.dilate(boundary.astype(np.uint8), self._disc) > 0)


def boundary_agreement(
    prediction: LabelMap, target: LabelMap, num_classes: int, ignore_index: int = 255, tolerance_px: int = 2
) -> float:
    """Return the mean boundary F-score of one pair of label maps, uint8 (H, W); see `BoundaryAgreement`."""
    agreement = BoundaryAgreement(num_classes, ignore_index, tolerance_px)
    agreement.update(prediction, target)
    return agreement.mean_f()


def _counted_pixels(
    prediction: LabelMap, target: LabelMap, num_classes: int, ignore_index: int
) -> tuple[LabelMap, LabelMap]:
    if prediction.shape != target.shape:
        raise SegError(f"label maps to compare differ in shape: prediction {prediction.shape}, target {target.shape}")
    counted = target != ignore_index
    predicted, wanted = prediction[counted], target[counted]
    _check_classes(prediction, num_classes, "prediction", "")
    _check_classes(wanted, num_classes, "target", f" or {ignore_index} (ignored)")
    return predicted, wanted


def _check_classes(labels: LabelMap, num_classes: int, side: str, also: str) -> None:
    if labels.size and (int(labels.max()) >= num_classes or int(labels.min()) < 0):
        strange = [int(value) for value in np.unique(labels) if not 0 <= value < num_classes]
        shown = ", ".join(map(str, strange[:5])) + (", …" if len(strange) > 5 else "")
        raise SegError(f"{side}: expected labels 0..{num_classes - 1}{also}, found {shown}")


def _boundary(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    # OpenCV's default border for erosion is "all set": the edge of the image makes no boundary.
    return np.asarray(mask & (cv2.erode(mask.astype(np.uint8), cross) == 0))


def _disc(radius: int) -> npt.NDArray[np.uint8]:
    offsets = np.arange(-radius, radius + 1)
    return (offsets[:, None] ** 2 + offsets[None, :] ** 2 <= radius**2).astype(np.uint8)


def _ratio(part: np.int64, whole: np.int64) -> float:
    return float(part) / float(whole) if whole else float("nan")


def _mean_of_present(scores: Scores) -> float:
    present = scores[~np.isnan(scores)]
    return float(present.mean()) if present.size else float("nan")


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
