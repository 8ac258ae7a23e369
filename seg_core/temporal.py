"""How steadily a video is labelled: do labels stay with the things they name from one frame to the next?

Labels of a frame are carried to the next along dense optical flow (DIS; Kroeger et al., ECCV 2016), so that things that
move do not count as change. Pixels whose flow there and back does not agree were hidden or came into view, and are left
out, by the criterion of Sundaram, Brox & Keutzer (ECCV 2010): |w + w'|² < 0.01 (|w|² + |w'|²) + 0.5.

- **Flicker** is the share of the other pixels whose label is not the one that was carried there; 0 is steady.
- **Temporal consistency** is the mIoU between carried and new labels (TC of Liu et al., "Efficient Semantic Video
  Segmentation with Per-frame Inference", ECCV 2020), in which small classes count as much as large ones; 1 is steady.

Neither says that the labels are right: a network that always says the same has no flicker.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from seg_core.errors import SegError
from seg_core.metrics import ConfusionMatrix

UInt8 = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]

#: Label of carried pixels that do not count; a model has at most 255 classes.
_UNSEEN = 255

#: Two of DIS's patches of 8 pixels. On less OpenCV raises an error of its own or, on wide frames, crashes.
_SHORTEST_SIDE = 16


@dataclass(frozen=True)
class Motion:
    """Where each pixel of a frame was in the one before.

    `source` is float32 (H, W, 2): x and y in the frame before. `seen` is bool (H, W): whether it was to be seen there.
    """

    source: Float32
    seen: npt.NDArray[np.bool_]

    def carry(self, labels: UInt8) -> UInt8:
        """Return labels uint8 (H, W) of the frame before where they have gone, 255 where nothing was seen."""
        x, y = cv2.split(self.source)  # OpenCV 5 misreads one map of pairs beside an empty second one
        moved = cv2.remap(labels, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=(_UNSEEN,))
        return np.where(self.seen, np.asarray(moved, np.uint8), np.uint8(_UNSEEN))


def estimate_motion(before_bgr: UInt8, after_bgr: UInt8) -> Motion:
    """Estimate the motion between two frames BGR uint8 (H, W, 3).

    Raises SegError when their sizes differ or a side is shorter than 16.
    """
    if before_bgr.shape != after_bgr.shape:
        raise SegError(f"frames: {before_bgr.shape} and {after_bgr.shape} differ in size, so nothing can be followed")
    if min(before_bgr.shape[:2]) < _SHORTEST_SIDE:
        height, width = before_bgr.shape[:2]
        raise SegError(
            f"frames: {height}x{width} (HxW) are too small to follow anything; give sides of at least {_SHORTEST_SIDE}"
        )
    before, after = (cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY) for frame in (before_bgr, after_bgr))
    estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    back = np.asarray(estimator.calc(after, before, np.empty(0)), np.float32)
    forth = np.asarray(estimator.calc(before, after, np.empty(0)), np.float32)
    height, width = before.shape
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    source = back + np.stack([columns, rows], axis=-1)
    x, y = cv2.split(source)
    there = np.asarray(cv2.remap(forth, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
    gap = np.square(back + there).sum(axis=-1)
    lengths = np.square(back).sum(axis=-1) + np.square(there).sum(axis=-1)
    inside = (source >= 0).all(axis=-1) & (source[..., 0] <= width - 1) & (source[..., 1] <= height - 1)
    return Motion(source, np.asarray((gap < 0.01 * lengths + 0.5) & inside, np.bool_))


class TemporalConsistency:
    """Flicker and temporal consistency over any number of pairs of frames."""

    def __init__(self, num_classes: int) -> None:
        """Start with no pairs."""
        self._matrix = ConfusionMatrix(num_classes, _UNSEEN)

    def update(self, motion: Motion, before: UInt8, after: UInt8) -> None:
        """Add the labels uint8 (H, W) of two consecutive frames; 255 in either means that a pixel does not count.

        Raises SegError when another label is not a class.
        """
        unknown = after == _UNSEEN
        carried = np.where(unknown, np.uint8(_UNSEEN), motion.carry(before))
        self._matrix.update(np.where(unknown, np.uint8(0), after), carried)

    def merge(self, other: TemporalConsistency) -> None:
        """Add the pairs of `other`; raises SegError when it was made for other classes."""
        self._matrix.merge(other._matrix)

    def flicker(self) -> float:
        """Return the share of pixels whose label changed, NaN when none was followed."""
        return 1.0 - self._matrix.pixel_accuracy()

    def mean_iou(self) -> float:
        """Return the mIoU between carried and new labels, NaN when no pixel was followed."""
        return self._matrix.mean_iou()

    def to_json(self) -> dict[str, Any]:
        """Return both as JSON types, None where no pixel was followed."""
        followed = int(self._matrix.counts.sum())
        return {
            "flicker": self.flicker() if followed else None,
            "temporal_consistency": self.mean_iou() if followed else None,
            "followed_pixels": followed,
        }
