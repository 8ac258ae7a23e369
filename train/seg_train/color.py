"""Brightness, contrast, saturation and hue of a picture as one linear map of its colours.

One map is one pass over the pixels and one rounding, where a way through HSV is three of each.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

UInt8 = npt.NDArray[np.uint8]
Float = npt.NDArray[np.float64]

#: ITU-R BT.601 luma of B, G and R.
LUMA_BGR = np.array([0.114, 0.587, 0.299])
_GREY = np.ones(3)
_SAME, _LUMA, _MEAN = np.eye(3), np.outer(_GREY, LUMA_BGR), np.full((3, 3), 1 / 3)
#: The cross product with the axis of greys.
_ACROSS = np.array([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / math.sqrt(3)


def color_matrix(
    mean: float, brightness: float = 1.0, contrast: float = 1.0, saturation: float = 1.0, hue_deg: float = 0.0
) -> Float:
    """Return the (3, 4) map of (B, G, R, 1), pixel values 0 to 255, that these changes make together.

    Colours are moved away from their luma by `saturation` (0: grey), turned about the axis of greys by `hue_deg`
    (120 takes red to green, green to blue, blue to red) and moved away from `mean`, the picture's mean value, by
    `contrast`; that mean is multiplied by `brightness`.
    """
    # Turning leaves greys as they are, so that it is the colourful part alone that is turned.
    matrix = np.empty((3, 4))
    matrix[:, :3] = (contrast * (1 - saturation)) * _LUMA + (contrast * saturation) * turn_about_grey(hue_deg)
    matrix[:, 3] = (brightness - contrast) * mean
    return matrix


def turn_about_grey(hue_deg: float) -> Float:
    """Return the (3, 3) rotation of colours (B, G, R) about the axis of greys, red towards green (Rodrigues)."""
    angle = math.radians(hue_deg)
    return _SAME * math.cos(angle) - _ACROSS * math.sin(angle) + _MEAN * (1 - math.cos(angle))


def apply_color(image_bgr: UInt8, matrix: Float) -> UInt8:
    """Return uint8 (h, w, 3) after a (3, 4) map of its colours, rounded and cut to 0 to 255."""
    return np.asarray(cv2.transform(image_bgr, matrix), np.uint8)
