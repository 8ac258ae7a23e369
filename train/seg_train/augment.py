"""Random changes to an (image, mask) pair, on OpenCV alone and aware of labels.

Geometry is one affine map from the source straight to the network's canvas, so a pixel is interpolated
once however many changes are drawn. It starts from the map that the preprocessing contract itself makes:
with everything switched off, the pair is what evaluation and the phone see.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from seg_core.config.schema import AugmentSection
from seg_core.geometry import Geometry
from seg_core.labels import LabelSet
from seg_core.mask_reading import swap_table
from seg_train.color import apply_color, color_matrix

Image = npt.NDArray[np.uint8]
Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Move:
    """A drawn change of place: `matrix` maps what the contract frames to a canvas of `size_hw`."""

    matrix: Matrix
    size_hw: tuple[int, int]
    mirrored: bool


class Augmenter:
    """Draw and apply the changes of an AugmentSection."""

    def __init__(self, options: AugmentSection, labels: LabelSet, pad_value: int = 114) -> None:
        """Remember what may happen; pixels from outside the source become `pad_value` and `ignore_index`."""
        self.options = options
        self.ignore_index = labels.ignore_index
        self.pad_value = pad_value
        self._swap = swap_table(labels)

    def __call__(
        self, image_bgr: Image, mask: Image, geometry: Geometry, rng: np.random.Generator
    ) -> tuple[Image, Image]:
        """Return (canvas_bgr, mask), uint8 (h, w, 3) and (h, w); the inputs stay as they are.

        The size is `crop_hw` of the options, that of `geometry` where they have none.
        """
        move = self.draw_move(geometry.size_hw, rng)
        canvas, target = self.place(image_bgr, mask, contract_matrix(geometry), move)
        return self.vary(canvas, rng), target

    def draw_move(self, framed_hw: tuple[int, int], rng: np.random.Generator) -> Move:
        """Draw how what the contract frames at `framed_hw` moves on its way to the canvas."""
        options = self.options
        size_hw = options.crop_hw or framed_hw
        matrix = self._draw_matrix(framed_hw, size_hw, rng)
        mirrored = rng.random() < options.flip
        if mirrored:
            matrix = np.array([[-1.0, 0.0, size_hw[1] - 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]) @ matrix
        return Move(matrix, size_hw, bool(mirrored))

    def place(self, image_bgr: Image, mask: Image, framing: Matrix, move: Move, reduce: int = 1) -> tuple[Image, Image]:
        """Return the canvas and mask that `move` makes of a source; `framing` takes its pixels to the framed size.

        `image_bgr` is at 1 / `reduce` of the source's size, `mask` at all of it.
        """
        matrix = move.matrix @ framing
        canvas = self._warp(image_bgr, matrix @ enlargement(reduce), move.size_hw, cv2.INTER_LINEAR)
        target = self._warp(mask, matrix, move.size_hw, cv2.INTER_NEAREST)
        if move.mirrored:
            target = np.asarray(cv2.LUT(target, self._swap), np.uint8)
        return canvas, target

    def label_after(self, label: int, move: Move) -> int:
        """Return what label things of `label` have once `move` was made."""
        return int(self._swap[label]) if move.mirrored else label

    def vary(self, canvas: Image, rng: np.random.Generator) -> Image:
        """Return the canvas in other colours, spoilt as cameras do and partly hidden, as the options ask for."""
        canvas = self._degrade(self._recolour(canvas, rng), rng)
        return self._erase(canvas, rng) if rng.random() < self.options.erase else canvas

    def _draw_matrix(self, framed_hw: tuple[int, int], size_hw: tuple[int, int], rng: np.random.Generator) -> Matrix:
        options = self.options
        height, width = framed_hw
        zoom = _log_uniform(options.scale, rng)
        angle = math.radians(rng.uniform(-options.rotate_deg, options.rotate_deg))
        shift_x = rng.uniform(-options.translate, options.translate) * width
        shift_y = rng.uniform(-options.translate, options.translate) * height
        zoom_y = zoom_x = zoom
        if options.stretch != (1.0, 1.0):
            aspect = math.sqrt(_log_uniform(options.stretch, rng))
            zoom_y, zoom_x = zoom / aspect, zoom * aspect
        if options.crop_hw is not None:
            # Anywhere inside what is framed, as far as the piece is the smaller; else what is framed anywhere in it.
            shift_y += rng.uniform(-0.5, 0.5) * abs(height * zoom_y - size_hw[0])
            shift_x += rng.uniform(-0.5, 0.5) * abs(width * zoom_x - size_hw[1])
        return turn_about_centre(angle, (zoom_y, zoom_x), framed_hw, size_hw, (shift_y, shift_x))

    def _warp(self, pixels: Image, matrix: Matrix, size_hw: tuple[int, int], how: int) -> Image:
        outside = (self.pad_value,) * 3 if pixels.ndim == 3 else (self.ignore_index,)
        warped = cv2.warpAffine(pixels, matrix[:2], size_hw[::-1], flags=how, borderValue=outside)
        return warped.astype(np.uint8, copy=False)

    def _recolour(self, canvas: Image, rng: np.random.Generator) -> Image:
        options = self.options
        contrast = 1 + rng.uniform(-options.contrast, options.contrast)
        brightness = 1 + rng.uniform(-options.brightness, options.brightness)
        saturation = 1 + rng.uniform(-options.saturation, options.saturation)
        hue_deg = rng.uniform(-options.hue_deg, options.hue_deg)
        if rng.random() < options.grayscale:
            saturation = 0.0
        # A sixteenth of the pixels says it well enough; numpy's own mean takes longer than changing all the colours.
        mean = sum(cv2.mean(np.ascontiguousarray(canvas[::4, ::4]))[:3]) / 3
        return apply_color(canvas, color_matrix(mean, brightness, contrast, saturation, hue_deg))

    def _degrade(self, canvas: Image, rng: np.random.Generator) -> Image:
        """Apply what cameras and codecs do: loss of resolution, blur, JPEG blocks."""
        options = self.options
        height, width = canvas.shape[:2]
        if rng.random() < options.low_resolution:
            factor = rng.uniform(0.3, 0.8)
            small = cv2.resize(
                canvas, (max(1, int(width * factor)), max(1, int(height * factor))), interpolation=cv2.INTER_AREA
            )
            canvas = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.uint8, copy=False)
        if rng.random() < options.blur:
            canvas = cv2.GaussianBlur(canvas, (0, 0), rng.uniform(0.4, 1.8)).astype(np.uint8, copy=False)
        if rng.random() < options.jpeg:
            _, data = cv2.imencode(".jpg", canvas, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 90))])
            canvas = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8)
        return canvas

    def _erase(self, canvas: Image, rng: np.random.Generator) -> Image:
        """Hide one box behind noise-free colour, as a hand or a microphone hides part of a face."""
        height, width = canvas.shape[:2]
        box_h, box_w = (max(1, int(side * rng.uniform(0.1, 0.35))) for side in (height, width))
        top, left = int(rng.integers(0, height - box_h + 1)), int(rng.integers(0, width - box_w + 1))
        canvas = canvas.copy()
        canvas[top : top + box_h, left : left + box_w] = rng.integers(0, 256, 3)
        return canvas


def enlargement(factor: int) -> Matrix:
    """Return the (3, 3) map of pixel centres from a picture at 1 / `factor` of its size to all of it."""
    offset = (factor - 1) / 2
    return np.array([[factor, 0.0, offset], [0.0, factor, offset], [0.0, 0.0, 1.0]])


def allowed_reduction(matrix: Matrix) -> int:
    """Return the largest of 8, 4, 2, 1 by which a source may be reduced before `matrix` and is not enlarged after."""
    shrinks = (1.0 + 1e-9) / max(1e-9, float(np.linalg.norm(matrix[:2, :2], 2)))
    return next(factor for factor in (8, 4, 2, 1) if factor <= shrinks or factor == 1)


def turn_about_centre(
    angle: float,
    zoom_yx: tuple[float, float],
    from_hw: tuple[int, int],
    to_hw: tuple[int, int],
    shift_yx: tuple[float, float] = (0.0, 0.0),
) -> Matrix:
    """Return the (3, 3) map that zooms, then turns by `angle` in radians, and takes centre to centre plus a shift."""
    (zoom_y, zoom_x), (shift_y, shift_x) = zoom_yx, shift_yx
    cos, sin = math.cos(angle), math.sin(angle)
    a, b, c, d = cos * zoom_x, -sin * zoom_y, sin * zoom_x, cos * zoom_y
    centre_y, centre_x = (from_hw[0] - 1) / 2, (from_hw[1] - 1) / 2
    to_y, to_x = (to_hw[0] - 1) / 2 + shift_y, (to_hw[1] - 1) / 2 + shift_x
    return np.array(
        [
            [a, b, to_x - a * centre_x - b * centre_y],
            [c, d, to_y - c * centre_x - d * centre_y],
            [0.0, 0.0, 1.0],
        ]
    )


def _log_uniform(bounds: tuple[float, float], rng: np.random.Generator) -> float:
    return math.exp(rng.uniform(math.log(bounds[0]), math.log(bounds[1])))


def contract_matrix(geometry: Geometry) -> Matrix:
    """Return the (3, 3) map of pixel centres, (x, y, 1) in the source to the canvas, that `geometry` describes."""
    box, (pad_top, pad_left) = geometry.box, geometry.pad_top_left
    scale_y = geometry.resized_hw[0] / box.height
    scale_x = geometry.resized_hw[1] / box.width
    return np.array(
        [
            [scale_x, 0.0, scale_x * (0.5 - box.left) - 0.5 + pad_left],
            [0.0, scale_y, scale_y * (0.5 - box.top) - 0.5 + pad_top],
            [0.0, 0.0, 1.0],
        ]
    )
