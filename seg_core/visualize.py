"""Show label maps: coloured, laid over the picture, side by side, with a legend. All pictures are BGR uint8."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from seg_core.errors import ImageError
from seg_core.labels import LabelSet

UInt8 = npt.NDArray[np.uint8]

#: Colour (BGR) of labels that are no class, such as ignored or outside pixels.
NO_CLASS_BGR = (128, 128, 128)

_BORDER_BGR = (255, 255, 255)
_GAP_BGR = (255, 255, 255)
_TEXT_BGR = (40, 40, 40)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def colourise(labels: UInt8, palette: Sequence[tuple[int, int, int]]) -> UInt8:
    """Return labels uint8 (H, W) as BGR uint8 (H, W, 3); `palette` is (red, green, blue) by class."""
    table = np.full((256, 3), NO_CLASS_BGR, np.uint8)
    table[: len(palette)] = np.array(palette, np.uint8)[:, ::-1]
    return np.asarray(table[labels], np.uint8)


def overlay(image_bgr: UInt8, labels: UInt8, label_set: LabelSet, opacity: float = 0.55) -> UInt8:
    """Return the picture (H, W, 3) tinted by class, with thin white lines between classes.

    `opacity` 0 shows the picture, 1 the colours. Classes whose colour is black (background) and labels that are no
    class are left untinted. Raises ImageError when the sizes differ.
    """
    if image_bgr.shape[:2] != labels.shape:
        raise ImageError(f"overlay: image {image_bgr.shape[:2]} and labels {labels.shape} differ in size")
    tint = colourise(labels, label_set.palette)
    mixed = np.asarray(cv2.addWeighted(image_bgr, 1.0 - opacity, tint, opacity, 0.0), np.uint8)
    plain = np.ones(256, np.bool_)
    plain[: label_set.num_classes] = [not any(colour) for colour in label_set.palette]
    untinted = plain[labels]
    mixed[untinted] = image_bgr[untinted]
    borders = _borders(labels)
    mixed[borders] = np.asarray(cv2.addWeighted(mixed, 0.35, np.full_like(mixed, _BORDER_BGR), 0.65, 0.0))[borders]
    return mixed


def side_by_side(*images_bgr: UInt8, gap: int = 8) -> UInt8:
    """Return the pictures in one row, white in between; all are scaled to the height of the first."""
    height = images_bgr[0].shape[0]
    parts: list[UInt8] = []
    for image in images_bgr:
        width = max(1, round(image.shape[1] * height / image.shape[0]))
        if parts:
            parts.append(np.full((height, gap, 3), _GAP_BGR, np.uint8))
        same = image.shape[:2] == (height, width)
        parts.append(image if same else np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)))
    return np.hstack(parts)


def draw_legend(label_set: LabelSet, width: int, classes: Sequence[int] | None = None) -> UInt8:
    """Return a white strip (h, `width`, 3) with a colour swatch and the name of each of `classes` (default: all).

    Entries wrap into as many rows as `width` needs; above 1,600 pixels they grow with it.
    """
    unit = max(1.0, width / 1600)
    row, swatch, pad, line = round(22 * unit), round(14 * unit), round(6 * unit), max(1, int(unit))
    size = 0.42 * unit
    chosen = range(label_set.num_classes) if classes is None else classes
    places: list[tuple[int, int, int]] = []
    x, y = pad, 0
    for index in chosen:
        (text_width, _), _ = cv2.getTextSize(label_set.names[index], _FONT, size, line)
        wide = swatch + 2 * pad + text_width
        if x > pad and x + wide > width:
            x, y = pad, y + row
        places.append((index, x, y))
        x += wide + pad
    strip = np.full((y + row, width, 3), 255, np.uint8)
    for index, x, y in places:
        top = y + (row - swatch) // 2
        corners = (x, top), (x + swatch, top + swatch)
        cv2.rectangle(strip, *corners, label_set.palette[index][::-1], cv2.FILLED)
        cv2.rectangle(strip, *corners, _TEXT_BGR, line)
        origin = (x + swatch + pad, top + swatch - round(2 * unit))
        cv2.putText(strip, label_set.names[index], origin, _FONT, size, _TEXT_BGR, line, cv2.LINE_AA)
    return strip


def compare_view(
    image_bgr: UInt8,
    labels: UInt8,
    label_set: LabelSet,
    opacity: float = 0.55,
    classes: Sequence[int] | None = None,
) -> UInt8:
    """Return picture, overlay and class colours in one row above a legend of `classes` (default: those that occur).

    Frames of a video need a fixed choice of classes, or their heights would differ.
    """
    tinted = overlay(image_bgr, labels, label_set, opacity)
    row = side_by_side(image_bgr, tinted, colourise(labels, label_set.palette))
    if classes is None:
        counts = np.bincount(labels.ravel(), minlength=256)[: label_set.num_classes]
        classes = [int(index) for index in np.flatnonzero(counts)]
    return np.vstack([row, draw_legend(label_set, row.shape[1], classes)])


def _borders(labels: UInt8) -> npt.NDArray[np.bool_]:
    """Return bool (H, W): pixels next to another class; lines grow with the picture so that they stay visible."""
    thickness = 1 + min(labels.shape) // 700
    kernel = np.ones((thickness + 1, thickness + 1), np.uint8)
    return np.asarray(cv2.morphologyEx(labels, cv2.MORPH_GRADIENT, kernel) > 0)
