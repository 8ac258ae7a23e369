"""Average, maximum and L2 pools over the spatial axes of (N, C, ...)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seg_core.mil.ops.table import operation
from seg_core.mil.ops.windows import pad_spatial, per_axis, resolve_padding, taps
from seg_core.runners.base import Array

Padding = list[tuple[int, int]]


@dataclass(frozen=True)
class _Windows:
    """The windows of one pool. `reach` is `padding` plus what ceil mode needs beyond it."""

    kernel: list[int]
    strides: list[int]
    counts: list[int]
    padding: Padding
    reach: Padding

    def fold(self, padded: Array, combine: np.ufunc) -> Array:
        """Combine each window of an input padded to `reach`, one axis after the other.

        The taps of a window are added one by one: running sums along an axis would need fewer operations
        but cancel digits.
        """
        for axis, (kernel, stride, count) in enumerate(zip(self.kernel, self.strides, self.counts, strict=True)):
            lead = (slice(None),) * (axis + 2)
            pieces = (padded[(*lead, tap)] for tap in taps(kernel, 1, stride, count))
            total = next(pieces).copy()
            for piece in pieces:
                combine(total, piece, out=total)
            padded = total
        return padded


def _plan(
    x: Array, kernel_sizes: Array, strides: Array | None, pad_type: str, pad: Array | None, ceil_mode: bool
) -> _Windows:
    kernel, step = per_axis(kernel_sizes, x.ndim - 2), per_axis(strides, x.ndim - 2)
    padding = resolve_padding(pad_type, pad, x.shape[2:], kernel, step)
    counts, reach = [], []
    for size, extent, stride, (before, after) in zip(x.shape[2:], kernel, step, padding, strict=True):
        count = (size + before + after - extent + (stride - 1 if ceil_mode else 0)) // stride + 1
        if ceil_mode and (count - 1) * stride >= size + before:  # a window must start inside the image or before it
            count -= 1
        counts.append(count)
        reach.append((before, max(after, (count - 1) * stride + extent - size - before)))
    return _Windows(kernel, step, counts, padding, reach)


@operation("max_pool", exact=True)
def max_pool(
    x: Array,
    kernel_sizes: Array,
    pad_type: str,
    strides: Array | None = None,
    pad: Array | None = None,
    ceil_mode: bool = False,
) -> Array:
    """Maximum of each window; padding never wins."""
    windows = _plan(x, kernel_sizes, strides, pad_type, pad, bool(ceil_mode))
    return windows.fold(pad_spatial(x, windows.reach, -np.inf), np.maximum)


@operation("avg_pool")
def avg_pool(
    x: Array,
    kernel_sizes: Array,
    pad_type: str,
    strides: Array | None = None,
    pad: Array | None = None,
    exclude_padding_from_average: bool = False,
    ceil_mode: bool = False,
) -> Array:
    """Mean of each window.

    Padding counts as zeros unless excluded. What ceil mode reaches beyond the padding never counts, as in
    PyTorch's avg_pool2d.
    """
    windows = _plan(x, kernel_sizes, strides, pad_type, pad, bool(ceil_mode))
    sums = windows.fold(pad_spatial(x, windows.reach), np.add)
    counted = np.ones((1, 1, *x.shape[2:]), np.float32)
    outside = windows.reach
    if not bool(exclude_padding_from_average):
        counted = pad_spatial(counted, windows.padding, 1.0)
        outside = [(0, far - near) for (_, far), (_, near) in zip(windows.reach, windows.padding, strict=True)]
    return np.asarray(sums / windows.fold(pad_spatial(counted, outside), np.add))


@operation("l2_pool")
def l2_pool(
    x: Array,
    kernel_sizes: Array,
    pad_type: str,
    strides: Array | None = None,
    pad: Array | None = None,
    ceil_mode: bool = False,
) -> Array:
    """Root of the sum of squares of each window."""
    windows = _plan(x, kernel_sizes, strides, pad_type, pad, bool(ceil_mode))
    return np.sqrt(windows.fold(pad_spatial(np.square(x), windows.reach), np.add))
