"""Upsampling and resizing of the last two axes.

Sampling grids follow the MIL specification of `upsample_bilinear` and `resize_bilinear`; the ratio is always
recomputed from the sizes (PyTorch's recompute_scale_factor=True).
"""

from __future__ import annotations

import math

import numpy as np

from seg_core.mil.ops.table import operation
from seg_core.runners.base import Array


def _grid(size: int, wanted: int, mode: str) -> Array:
    """Return the source coordinate of each output pixel along one axis, in float64, clamped to the image."""
    index = np.arange(wanted, dtype=np.float64)
    if mode == "UNALIGN_CORNERS":
        points = (index + 0.5) * (size / wanted) - 0.5
    elif mode == "DEFAULT":
        points = index * (size / wanted)
    elif mode in ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS"):
        points = index * ((size - 1) / (wanted - 1)) if wanted > 1 else index
        if wanted == 1 and mode == "ALIGN_CORNERS":
            points = index + (size - 1) / 2
    elif mode == "OFFSET_CORNERS":
        points = (index + 0.5) * (max(1, size - 1) / wanted)
    else:
        raise ValueError(f"sampling mode {mode!r} is not known")
    return np.clip(points, 0, size - 1)


def _interpolate(x: Array, axis: int, wanted: int, mode: str) -> Array:
    size = x.shape[axis]
    points = _grid(size, wanted, mode)
    low = np.minimum(np.floor(points).astype(np.intp), size - 1)
    high = np.minimum(low + 1, size - 1)
    shape = (-1,) + (1,) * (-axis - 1)
    weight = (points - low).astype(np.float32).reshape(shape)
    below, above = np.take(x, low, axis), np.take(x, high, axis)
    # a*(1-w) + b*w, as PyTorch computes it: a + (b-a)*w rounds differently and turns infinities into NaN
    below *= 1 - weight
    above *= weight
    return np.asarray(np.add(below, above, out=below))


def bilinear(x: Array, size_hw: tuple[int, int], mode: str) -> Array:
    """Resize the last two axes of float32 `x` bilinearly; columns first, where there are still few rows."""
    return _interpolate(_interpolate(x, -1, size_hw[1], mode), -2, size_hw[0], mode)


def nearest(x: Array, size_hw: tuple[int, int]) -> Array:
    """Resize the last two axes by taking pixel floor(i * size / wanted)."""
    rows, columns = (np.arange(wanted) * size // wanted for size, wanted in zip(x.shape[-2:], size_hw, strict=True))
    return np.asarray(np.take(np.take(x, columns, -1), rows, -2))


def _scaled(x: Array, height: float, width: float) -> tuple[int, int]:
    return math.floor(x.shape[-2] * float(height)), math.floor(x.shape[-1] * float(width))


@operation("upsample_nearest_neighbor", exact=True)
def upsample_nearest_neighbor(x: Array, scale_factor_height: float = 1, scale_factor_width: float = 1) -> Array:
    """Upsample by factors, nearest neighbour."""
    return nearest(x, _scaled(x, scale_factor_height, scale_factor_width))


@operation("resize_nearest_neighbor", exact=True)
def resize_nearest_neighbor(x: Array, target_size_height: int, target_size_width: int) -> Array:
    """Resize to a size, nearest neighbour."""
    return nearest(x, (int(target_size_height), int(target_size_width)))


@operation("upsample_bilinear")
def upsample_bilinear(
    x: Array,
    scale_factor_height: float = 1,
    scale_factor_width: float = 1,
    align_corners: bool = True,
    half_pixel_centers: bool | None = None,
) -> Array:
    """Upsample by factors, bilinear; half-pixel centres are the opposite of aligned corners unless stated."""
    aligned = bool(align_corners)
    halves = not aligned if half_pixel_centers is None else bool(half_pixel_centers)
    if aligned and halves:
        raise ValueError("align_corners and half_pixel_centers contradict each other")
    mode = "STRICT_ALIGN_CORNERS" if aligned else "UNALIGN_CORNERS" if halves else "DEFAULT"
    return bilinear(x, _scaled(x, scale_factor_height, scale_factor_width), mode)


@operation("resize_bilinear")
def resize_bilinear(
    x: Array, target_size_height: int = 1, target_size_width: int = 1, sampling_mode: str = "DEFAULT"
) -> Array:
    """Resize to a size, bilinear."""
    return bilinear(x, (int(target_size_height), int(target_size_width)), sampling_mode)


@operation("resize")
def resize(
    x: Array,
    shape: Array,
    resized_dims: int,
    interpolation_mode: str = "LINEAR",
    sampling_mode: str = "DEFAULT",
) -> Array:
    """Resize the last axes (iOS 17); a 0 in `shape` keeps the size of `x`."""
    if int(resized_dims) != 2:
        raise ValueError(f"only two resized axes are known, these are {int(resized_dims)}")
    size_hw = tuple(int(wanted) or size for wanted, size in zip(shape[-2:], x.shape[-2:], strict=True))
    if interpolation_mode == "LINEAR":
        return bilinear(x, (size_hw[0], size_hw[1]), sampling_mode)
    if interpolation_mode == "NEAREST_NEIGHBOR" and sampling_mode == "DEFAULT":
        return nearest(x, (size_hw[0], size_hw[1]))
    raise ValueError(f"{interpolation_mode} with sampling mode {sampling_mode} is not known")
