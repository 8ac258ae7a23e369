"""Find the square that a face-parsing network expects: one face, head and shoulders, filling the frame.

The detector is OpenCV's own Haar cascade (Viola and Jones, CVPR 2001; `frontalface_alt2`, Lienhart 2002), which ships
inside the OpenCV 4 wheels: no download, no licence to clear. It finds upright, frontal faces.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from seg_core.errors import ImageError, MissingDependencyError
from seg_core.geometry import Roi

UInt8 = npt.NDArray[np.uint8]

# Medians over 100 CelebAMask-HQ images, whose frame is the one to reproduce: the whole image is 1.59 times as wide as
# the detector's box (1.49 to 1.72 for the middle 80) and its centre lies 0.08 boxes higher.
SIDE_PER_FACE = 1.6
RISE_PER_FACE = 0.08

_CASCADE = "haarcascade_frontalface_alt2.xml"
# Larger pictures are scaled down first: faces that matter stay far above the cascade's 20 pixels.
_SEARCH_SIDE = 640
_MIN_FACE = 24
_MIN_NEIGHBOURS = 6


class FoundFace(NamedTuple):
    """The head-and-shoulders square of the largest face, and how many faces were seen."""

    roi: Roi
    faces: int


class FaceFinder:
    """Detect frontal faces in BGR uint8 pictures."""

    def __init__(self) -> None:
        """Load the cascade; raises MissingDependencyError where this OpenCV has none (5.x wheels)."""
        folder = getattr(getattr(cv2, "data", None), "haarcascades", "")
        path = Path(folder) / _CASCADE
        if not hasattr(cv2, "CascadeClassifier") or not folder or not path.is_file():
            wanted = "opencv-python-headless<5"
            raise MissingDependencyError(wanted, f"face detection (OpenCV {cv2.__version__} has no cascades)", wanted)
        self._cascade = cv2.CascadeClassifier(str(path))

    def find(self, image_bgr: UInt8) -> FoundFace:
        """Return the square around the largest face of BGR uint8 (H, W, 3); raises ImageError when there is none."""
        height, width = image_bgr.shape[:2]
        scale = min(1.0, _SEARCH_SIDE / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = cv2.cvtColor(cv2.resize(image_bgr, size, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
        boxes = self._cascade.detectMultiScale(small, 1.1, _MIN_NEIGHBOURS, minSize=(_MIN_FACE, _MIN_FACE))
        if len(boxes) == 0:
            raise ImageError("no frontal face found; give the square by hand: --roi TOP,LEFT,SIDE")
        left, top, side, _ = (float(value) / scale for value in max(boxes, key=lambda box: int(box[2])))
        return FoundFace(frame_face(top, left, side, (height, width)), len(boxes))


def frame_face(top: float, left: float, side: float, source_hw: tuple[int, int]) -> Roi:
    """Return the head-and-shoulders square around a detector's face box, moved and cut to lie inside the picture."""
    height, width = source_hw
    frame = min(round(side * SIDE_PER_FACE), height, width)
    centre_y, centre_x = top + side / 2 - side * RISE_PER_FACE, left + side / 2
    frame_top = min(max(0, round(centre_y - frame / 2)), height - frame)
    frame_left = min(max(0, round(centre_x - frame / 2)), width - frame)
    return Roi(frame_top, frame_left, frame, frame)
