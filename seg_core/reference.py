"""The preprocessing contract in numpy alone: the normative definition, integer for integer.

It is what ports to other languages are written from and tested against, and the way to preprocess without OpenCV.
Plain rather than fast: about ten times slower than `seg_core.preprocessing`. The sizes come from `seg_core.geometry`.

- LINEAR_EXACT, per axis in float64 without fused multiply-add: `scale = 1 / (dst / src)`,
  `f = scale * (d + 0.5) - 0.5`, index `floor(f)`, weight `a = round_half_even((f - floor(f)) * 256)`. Where the index
  is below 0 or at or beyond the last pixel, that edge pixel is taken whole (a = 0). Horizontally
  `p0 * (256 - a) + p1 * a` (8.8 fixed point), vertically the same on those (8.16), then `(v + 32768) >> 16`.
- NEAREST, per axis in float64: index `min(floor(d * (1 / (dst / src))), src - 1)`.
- halve: while both sides are at least twice the target, `(a + b + c + d + 2) >> 2` of each 2x2 block; an odd last row
  or column is dropped.
- pad: all three channels get `pad_value`, before the colour order changes.
- gray: `(3735 * B + 19235 * G + 9798 * R + 16384) >> 15` on the resized and padded picture.
- prior: of a contract that has one, uint8 `prior_values[label]` of the previous label map at network size follows as
  the last channel; 0 where a label has no entry, and everywhere without a previous label map (see `seg_core.prior`).
- normalise: scale, mean and std are rounded to float32; then float32 `((x * scale) - mean) / std`, a rounding after
  each operation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from seg_core.errors import ImageError
from seg_core.geometry import Geometry, Roi, plan_geometry
from seg_core.prior import UNKNOWN, blank_padding, check_prior
from seg_core.spec import PreprocessSpec

UInt8 = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]


def reference_preprocess(
    spec: PreprocessSpec, image_bgr: UInt8, roi: Roi | None = None, prior: UInt8 | None = None
) -> tuple[npt.NDArray[Any], Geometry]:
    """Return the input tensor (`spec.tensor_shape`, `spec.dtype`) of a BGR uint8 picture (H, W, 3), and its geometry.

    `prior` is the previous label map uint8 (h, w), None for none. Raises ImageError when the picture is something else
    or `roi` reaches beyond it, SpecError when `prior` does not fit the contract.
    """
    check_prior(spec, prior)
    if image_bgr.dtype != np.uint8 or image_bgr.ndim != 3 or image_bgr.shape[2] != 3 or image_bgr.size == 0:
        raise ImageError(f"image: expected BGR uint8 (H, W, 3), found {image_bgr.dtype} {image_bgr.shape}")
    geometry = plan_geometry((image_bgr.shape[0], image_bgr.shape[1]), spec, roi)
    region = image_bgr[geometry.box.slices]
    if spec.reduce == "halve":
        region = halve(region, geometry.resized_hw)
    resize = resize_linear_exact if spec.interpolation == "linear_exact" else resize_nearest
    canvas = np.full((*spec.size_hw, 3), spec.pad_value, np.uint8)
    canvas[geometry.content.slices] = resize(region, geometry.resized_hw)
    values = normalise(spec, add_prior(spec, reorder(canvas, spec.color), prior))
    if spec.layout == "nchw":
        values = values.transpose(2, 0, 1)
    return np.ascontiguousarray(values[np.newaxis]), geometry


def resize_linear_exact(image: UInt8, size_hw: tuple[int, int]) -> UInt8:
    """Return uint8 (H, W, C) as uint8 (h, w, C) by the integer definition above."""
    top, bottom, down = _linear_axis(image.shape[0], size_hw[0])
    left, right, across = _linear_axis(image.shape[1], size_hw[1])
    pixels: Ints = image.astype(np.int64)
    across = across[np.newaxis, :, np.newaxis]
    rows = pixels[:, left] * (256 - across) + pixels[:, right] * across
    down = down[:, np.newaxis, np.newaxis]
    value = np.asarray(rows[top] * (256 - down) + rows[bottom] * down, np.int64)
    return np.asarray((value + 32768) >> 16, np.uint8)


def resize_nearest(image: UInt8, size_hw: tuple[int, int]) -> UInt8:
    """Return uint8 (H, W) or (H, W, C) as uint8 of height and width `size_hw` by the definition above."""
    rows = _nearest_axis(image.shape[0], size_hw[0])
    columns = _nearest_axis(image.shape[1], size_hw[1])
    return image[rows][:, columns]


def halve(image: UInt8, target_hw: tuple[int, int]) -> UInt8:
    """Return uint8 (H, W, C) halved while both sides are at least twice `target_hw`."""
    while image.shape[0] >= 2 * target_hw[0] and image.shape[1] >= 2 * target_hw[1]:
        even = image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2].astype(np.uint16)
        total = even[::2, ::2] + even[::2, 1::2] + even[1::2, ::2] + even[1::2, 1::2]
        image = ((total + 2) >> 2).astype(np.uint8)
    return image


def reorder(canvas_bgr: UInt8, color: str) -> UInt8:
    """Return BGR uint8 (h, w, 3) as uint8 (h, w, C) in the order of `color`: "rgb", "bgr" or "gray"."""
    if color == "gray":
        blue, green, red = (canvas_bgr[..., channel].astype(np.int64) for channel in range(3))
        return ((3735 * blue + 19235 * green + 9798 * red + 16384) >> 15).astype(np.uint8)[..., np.newaxis]
    return canvas_bgr[..., ::-1] if color == "rgb" else canvas_bgr


def add_prior(spec: PreprocessSpec, pixels: UInt8, prior: UInt8 | None) -> UInt8:
    """Return uint8 (h, w, C) with the channel of `prior` after the colours, where the contract has one."""
    if not spec.has_prior:
        return pixels
    plane = np.zeros((*spec.size_hw, 1), np.uint8)
    if prior is not None:
        for label, value in enumerate(spec.prior_values):
            plane[prior == label] = value
    return np.concatenate([pixels, plane], axis=2)


def normalise(spec: PreprocessSpec, pixels: UInt8) -> npt.NDArray[Any]:
    """Return uint8 (h, w, C) in the dtype of `spec`: normalised float32, or unchanged uint8."""
    if spec.dtype == "uint8":
        return pixels
    scaled = pixels.astype(np.float32) * np.float32(spec.scale)
    centred = scaled - np.array(spec.mean, np.float32)
    return centred / np.array(spec.std, np.float32)


def restore_labels(geometry: Geometry, labels: UInt8, outside_label: int = 0) -> UInt8:
    """Return network-size labels uint8 (h, w) at source size uint8 (H, W), as `Geometry.restore_labels` does."""
    inside = labels[geometry.content.slices]
    placed = np.full(geometry.source_hw, outside_label, np.uint8)
    placed[geometry.box.slices] = resize_nearest(inside, geometry.box.size_hw)
    return placed


def carry_labels(labels: UInt8, before: Geometry, after: Geometry) -> UInt8 | None:
    """Return labels uint8 (h, w) of the previous frame as the prior of the next, as `seg_core.prior` does."""
    if before.source_hw != after.source_hw:
        return None
    if before == after:
        return blank_padding(labels, before)
    source = restore_labels(before, labels, UNKNOWN)
    canvas = np.full(after.size_hw, UNKNOWN, np.uint8)
    canvas[after.content.slices] = resize_nearest(source[after.box.slices], after.resized_hw)
    return canvas


def _linear_axis(source: int, target: int) -> tuple[Ints, Ints, Ints]:
    """Return for each target pixel the two source indices and the weight (0..256) of the second."""
    scale = 1.0 / (target / source)
    position = scale * (np.arange(target, dtype=np.float64) + 0.5) - 0.5
    index = np.floor(position)
    weight = np.rint((position - index) * 256.0)
    inside = (index >= 0) & (index < source - 1)
    first = np.clip(index, 0, source - 1).astype(np.int64)
    second = np.minimum(first + 1, source - 1)
    return first, second, np.where(inside, weight, 0.0).astype(np.int64)


def _nearest_axis(source: int, target: int) -> Ints:
    scale = 1.0 / (target / source)
    index = np.floor(np.arange(target, dtype=np.float64) * scale).astype(np.int64)
    return np.minimum(index, source - 1)
