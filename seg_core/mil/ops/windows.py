"""Where the windows of convolutions and pools lie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from seg_core.runners.base import Array


def resolve_padding(
    pad_type: str,
    pad: Sequence[int] | Array | None,
    sizes: Sequence[int],
    extents: Sequence[int],
    strides: Sequence[int],
) -> list[tuple[int, int]]:
    """Return (before, after) padding a spatial axis.

    `extents` are dilated kernel sizes. "same" gives ceil(size / stride) outputs and puts an odd pixel after,
    "same_lower" before. Raises ValueError for another pad type.
    """
    if pad_type == "valid":
        return [(0, 0)] * len(sizes)
    if pad_type == "custom":
        values = [int(value) for value in pad] if pad is not None else [0] * (2 * len(sizes))
        return list(zip(values[::2], values[1::2], strict=True))
    if pad_type not in ("same", "same_lower"):
        raise ValueError(f"pad_type {pad_type!r} is not known")
    result = []
    for size, extent, stride in zip(sizes, extents, strides, strict=True):
        total = max(0, (-(-size // stride) - 1) * stride + extent - size)
        small = total // 2
        result.append((small, total - small) if pad_type == "same" else (total - small, small))
    return result


def pad_spatial(x: Array, padding: Sequence[tuple[int, int]], value: float = 0.0) -> Array:
    """Return `x` with its last axes padded by a constant; `x` itself when there is nothing to pad."""
    if not any(before or after for before, after in padding):
        return x
    lead = x.ndim - len(padding)
    sizes = [size + before + after for size, (before, after) in zip(x.shape[lead:], padding, strict=True)]
    padded = np.full((*x.shape[:lead], *sizes), value, x.dtype)
    inside = [slice(before, before + size) for size, (before, _) in zip(x.shape[lead:], padding, strict=True)]
    padded[(slice(None),) * lead + tuple(inside)] = x
    return padded


def taps(size: int, dilation: int, stride: int, count: int) -> Iterator[slice]:
    """Yield, for each of the `size` positions in a window, the slice of it over `count` windows of one axis."""
    for index in range(size):
        start = index * dilation
        yield slice(start, start + stride * (count - 1) + 1, stride)


def per_axis(values: Sequence[int] | Array | None, rank: int) -> list[int]:
    """Return one integer a spatial axis; absent means 1."""
    return [1] * rank if values is None else [int(value) for value in values]
