"""Pictures of how a run is doing: validation images with truth and prediction, and the confusion matrix. All BGR."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from seg_core.labels import LabelSet
from seg_core.metrics import ConfusionMatrix
from seg_core.spec import PreprocessSpec
from seg_core.visualize import colourise, draw_legend, overlay, side_by_side
from seg_train.events import Sample

UInt8 = npt.NDArray[np.uint8]

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_INK_BGR = (40, 40, 40)
_FULL_BGR = np.array((180, 90, 30), np.float64)  # a share of 1; 0 is white
_EMPTY_BGR = (225, 225, 225)
_NUMBERED_CLASSES = 40


def displayed(pixels: UInt8, spec: PreprocessSpec) -> UInt8:
    """Return uint8 (h, w, C) in the contract's channels as BGR (h, w, 3); a previous mask is left out."""
    if spec.color == "gray":
        return np.repeat(pixels[:, :, :1], 3, axis=2)
    colours = pixels[:, :, :3]
    return np.ascontiguousarray(colours[:, :, ::-1] if spec.color == "rgb" else colours)


def draw_batch(images: Sequence[UInt8], targets: Sequence[UInt8], labels: LabelSet, columns: int = 4) -> UInt8:
    """Return pictures BGR (h, w, 3), each beside its classes' colours, `columns` pairs in a row above a legend.

    What belongs to no class is grey. Targets are uint8 (h, w).
    """
    pairs = [
        np.hstack([image, colourise(target, labels.palette)]) for image, target in zip(images, targets, strict=True)
    ]
    columns = min(columns, len(pairs))
    pairs += [np.full_like(pairs[0], 255)] * (-len(pairs) % columns)
    sheet = np.vstack([np.hstack(pairs[start : start + columns]) for start in range(0, len(pairs), columns)])
    found = np.unique(np.concatenate([np.unique(target) for target in targets]))
    return np.vstack([sheet, draw_legend(labels, sheet.shape[1], [int(c) for c in found if c < labels.num_classes])])


def draw_sample(sample: Sample, labels: LabelSet) -> UInt8:
    """Return picture, truth and prediction in one row, uint8 (h, about 3 w, 3)."""
    return side_by_side(
        sample.image_bgr,
        overlay(sample.image_bgr, sample.truth, labels),
        overlay(sample.image_bgr, sample.predicted, labels),
    )


def draw_confusion(matrix: ConfusionMatrix, names: Sequence[str], cell_px: int = 30) -> UInt8:
    """Return the confusion matrix as a table, uint8 (h, w, 3): rows are the truth, columns the prediction.

    The darker a cell, the larger the share of its row's pixels; shares from 1 % are written in, as percentages.
    Rows of classes without a pixel in the truth are grey. Tables of many classes have small cells without numbers.
    """
    count = matrix.num_classes
    numbered = count <= _NUMBERED_CLASSES
    cell = cell_px if numbered else max(6, cell_px // 3)
    size = 0.42 if numbered else 0.2
    labels = [_draw_text(name, size, cell) for name in names]
    margin = max(label.shape[1] for label in labels)
    picture = np.full((margin + count * cell, margin + count * cell, 3), 255, np.uint8)
    for index, label in enumerate(labels):
        place = margin + index * cell
        width = label.shape[1]
        picture[place : place + cell, margin - width : margin] = label
        picture[margin - width : margin, place : place + cell] = cv2.rotate(label, cv2.ROTATE_90_COUNTERCLOCKWISE)
    for row, shares in enumerate(matrix.row_shares()):
        for column, share in enumerate(shares):
            top, left = margin + row * cell, margin + column * cell
            _draw_cell(picture[top : top + cell, left : left + cell], float(share), numbered)
    return picture


def _draw_cell(cell: UInt8, share: float, numbered: bool) -> None:
    cell[:] = _EMPTY_BGR if np.isnan(share) else np.round(255 + (_FULL_BGR - 255) * share)
    cell[0, :] = cell[:, 0] = 255
    if not numbered or np.isnan(share) or share < 0.01:
        return
    text = f"{100 * share:.0f}"
    (width, height), _ = cv2.getTextSize(text, _FONT, 0.36, 1)
    colour = (255, 255, 255) if share > 0.5 else _INK_BGR
    origin = ((cell.shape[1] - width) // 2 + 1, (cell.shape[0] + height) // 2)
    cv2.putText(cell, text, origin, _FONT, 0.36, colour, 1, cv2.LINE_AA)


def _draw_text(text: str, size: float, height: int) -> UInt8:
    """Return `text` on a white strip of that height; OpenCV's letters are ASCII, others come out as '?'."""
    (width, letters), _ = cv2.getTextSize(text, _FONT, size, 1)
    strip = np.full((height, width + 12, 3), 255, np.uint8)
    return np.asarray(
        cv2.putText(strip, text, (4, (height + letters) // 2), _FONT, size, _INK_BGR, 1, cv2.LINE_AA), np.uint8
    )
