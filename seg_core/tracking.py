"""What a video network remembers from frame to frame, and when it must forget.

The memory is the last label map at network size with its geometry (`seg_core.prior` says how it travels) and a
thumbnail of the frame, by which a cut to another scene is noticed.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from seg_core.geometry import Geometry
from seg_core.prior import carry_labels

UInt8 = npt.NDArray[np.uint8]

#: Mean difference of two thumbnails' grey values from which on they are of different scenes. In the bundled clip
#: neighbours differ by at most 4 and frames a second apart by 18; of 100 portraits no two neighbours by less than 32.
#: A cut that is taken for motion costs a wrong prior, which training has seen; the reverse costs one frame of memory.
CUT_DIFFERENCE = 24.0

_SAMPLED_HW = (64, 64)
_THUMBNAIL_HW = (16, 16)


class PriorState:
    """The previous frame of one video: asked before each frame, told after it."""

    def __init__(self) -> None:
        """Begin with nothing known."""
        self._labels: UInt8 | None = None
        self._geometry: Geometry | None = None
        self._thumbnail: npt.NDArray[np.float32] | None = None

    def reset(self) -> None:
        """Forget the previous frame."""
        self._labels = self._geometry = self._thumbnail = None

    def recall(self, frame_bgr: UInt8, geometry: Geometry) -> UInt8 | None:
        """Return the prior uint8 (h, w) of a frame BGR uint8 (H, W, 3) that is seen by `geometry`.

        None for the first frame, after a cut and where the size of the frames changed.
        """
        thumbnail = _thumbnail(frame_bgr)
        before, self._thumbnail = self._thumbnail, thumbnail
        if self._labels is None or self._geometry is None or before is None:
            return None
        if float(np.abs(thumbnail - before).mean()) > CUT_DIFFERENCE:
            return None
        return carry_labels(self._labels, self._geometry, geometry)

    def keep(self, labels: UInt8, geometry: Geometry) -> None:
        """Remember the labels uint8 (h, w) at network size that the frame of the last `recall` got."""
        self._labels, self._geometry = labels, geometry


def _thumbnail(frame_bgr: UInt8) -> npt.NDArray[np.float32]:
    # Sampled first: averaging all of a large frame would take longer than preprocessing it.
    sampled = cv2.resize(frame_bgr, _SAMPLED_HW[::-1], interpolation=cv2.INTER_NEAREST)
    grey = cv2.cvtColor(sampled, cv2.COLOR_BGR2GRAY)
    return np.asarray(cv2.resize(grey, _THUMBNAIL_HW[::-1], interpolation=cv2.INTER_AREA), np.float32)
