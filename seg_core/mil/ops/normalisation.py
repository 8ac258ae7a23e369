"""Batch, instance, layer, L2 and local response normalisation."""

from __future__ import annotations

import numpy as np

from seg_core.mil.ops.elementwise import along_channels
from seg_core.mil.ops.table import operation
from seg_core.mil.ops.windows import pad_spatial, taps
from seg_core.runners.base import Array


@operation("batch_norm")
def batch_norm(
    x: Array,
    mean: Array,
    variance: Array,
    gamma: Array | None = None,
    beta: Array | None = None,
    epsilon: float = 1e-5,
) -> Array:
    """Normalise (N, C, ...) by stored statistics, as one multiplication and one addition a value."""
    scale = 1 / np.sqrt(variance.astype(np.float64) + float(epsilon))
    if gamma is not None:
        scale = scale * gamma
    shift = -mean * scale if beta is None else beta - mean * scale
    result = x * along_channels(scale.astype(np.float32), x)
    result += along_channels(shift.astype(np.float32), x)
    return np.asarray(result)


def _standardise(x: Array, axes: tuple[int, ...], epsilon: float) -> Array:
    centred = x - np.mean(x, axis=axes, keepdims=True, dtype=np.float64).astype(np.float32)
    variance = np.mean(np.square(centred), axis=axes, keepdims=True, dtype=np.float64)
    return np.asarray(centred * (1 / np.sqrt(variance + float(epsilon))).astype(np.float32))


@operation("instance_norm")
def instance_norm(x: Array, gamma: Array | None = None, beta: Array | None = None, epsilon: float = 1e-5) -> Array:
    """Normalise each channel of each image of (N, C, ...) by its own statistics."""
    result = _standardise(x, tuple(range(2, x.ndim)), epsilon)
    if gamma is not None:
        result = result * along_channels(gamma, x)
    return result if beta is None else result + along_channels(beta, x)


@operation("layer_norm")
def layer_norm(
    x: Array,
    axes: Array | None = None,
    gamma: Array | None = None,
    beta: Array | None = None,
    epsilon: float = 1e-5,
) -> Array:
    """Normalise over `axes` (all by default)."""
    over = tuple(range(x.ndim)) if axes is None else tuple(sorted(int(axis) % x.ndim for axis in axes))
    shape = [size if axis in over else 1 for axis, size in enumerate(x.shape)]
    result = _standardise(x, over, epsilon)
    if gamma is not None:
        result = result * gamma.reshape(shape)
    return result if beta is None else result + beta.reshape(shape)


@operation("l2_norm")
def l2_norm(x: Array, epsilon: float = 1e-6) -> Array:
    """Divide by the root of the sum of squares over the last three axes."""
    total = np.sum(np.square(x), axis=(-3, -2, -1), keepdims=True, dtype=np.float64)
    return np.asarray(x / np.sqrt(total + float(epsilon)).astype(np.float32))


@operation("local_response_norm")
def local_response_norm(x: Array, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Array:
    """Divide by a power of the squares over `size` neighbouring channels of (N, C, ...)."""
    count = int(size)
    squares = np.moveaxis(np.square(x), 1, -1)
    padded = pad_spatial(squares, [(count // 2, (count - 1) // 2)])
    total = np.zeros(squares.shape, np.float32)
    for tap in taps(count, 1, 1, x.shape[1]):
        total += padded[..., tap]
    return np.asarray(x / (float(k) + float(alpha) / count * np.moveaxis(total, -1, 1)) ** float(beta))
