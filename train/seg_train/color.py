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


def color_matrix(
    mean: float, brightness: float = 1.0, contrast: float = 1.0, saturation: float = 1.0, hue_deg: float = 0.0
) -> Float:
    """Return the (3, 4) map of (B, G, R, 1), pixel values 0 to 255, that these changes make together.

    Colours are moved away from their luma by `saturation` (0: grey), turned about the axis of greys by `hue_deg`
    (120 takes red to green, green to blue, blue to red) and moved away from `mean`, the picture's mean value, by
    `contrast`; that mean is multiplied by `brightness`.
    """
    saturated = np.outer(_GREY, LUMA_BGR) * (1 - saturation) + np.eye(3) * saturation
    linear = contrast * turn_about_grey(hue_deg) @ saturated
    offset = (brightness - contrast) * mean
    return np.column_stack([linear, offset * _GREY])


def turn_about_grey(hue_deg: float) -> Float:
    """Return the (3, 3) rotation of colours (B, G, R) about the axis of greys, red towards green (Rodrigues)."""
    angle = math.radians(hue_deg)
    axis = _GREY / math.sqrt(3)
    cross = np.array([[0.0, axis[2], -axis[1]], [-axis[2], 0.0, axis[0]], [axis[1], -axis[0], 0.0]])
    return np.eye(3) * math.cos(angle) + cross * math.sin(angle) + np.outer(axis, axis) * (1 - math.cos(angle))


def apply_color(image_bgr: UInt8, matrix: Float) -> UInt8:
    """Return uint8 (h, w, 3) after a (3, 4) map of its colours, rounded and cut to 0 to 255."""
    return np.asarray(cv2.transform(image_bgr, matrix), np.uint8)
