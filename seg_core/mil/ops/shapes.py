"""Operations that only rearrange, join, cut or create values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seg_core.mil.ops.table import operation
from seg_core.runners.base import Array


@operation("shape", exact=True)
def shape(x: Array) -> Array:
    """Return the shape as int32."""
    return np.array(x.shape, np.int32)


@operation("reshape", exact=True)
def reshape(x: Array, shape: Array) -> Array:
    """Reshape; -1 is inferred, 0 takes the size of `x` counted from the right (1 where `x` has none)."""
    wanted = [int(size) for size in shape]
    for index, size in enumerate(wanted):
        if size == 0:
            source = x.ndim - len(wanted) + index
            wanted[index] = x.shape[source] if source >= 0 else 1
    return x.reshape(wanted)


@operation("transpose", exact=True)
def transpose(x: Array, perm: Array) -> Array:
    """Permute axes."""
    return np.transpose(x, [int(axis) for axis in perm])


@operation("expand_dims", exact=True)
def expand_dims(x: Array, axes: Array) -> Array:
    """Insert axes of size 1 at positions of the result."""
    return np.expand_dims(x, tuple(int(axis) for axis in axes))


@operation("squeeze", exact=True)
def squeeze(x: Array, axes: Array | None = None) -> Array:
    """Drop axes of size 1; named axes of another size stay, as in PyTorch."""
    if axes is None:
        return np.squeeze(x)
    named = (int(axis) % x.ndim for axis in axes)
    return np.squeeze(x, tuple(axis for axis in named if x.shape[axis] == 1))


@operation("flatten2d", exact=True)
def flatten2d(x: Array, axis: int = 1) -> Array:
    """Flatten the axes before `axis` to rows and the rest to columns."""
    split = int(axis) if int(axis) >= 0 else x.ndim + int(axis)
    return x.reshape(int(np.prod(x.shape[:split], dtype=np.int64)), -1)


@operation("concat", exact=True)
def concat(values: Sequence[Array], axis: int, interleave: bool = False) -> Array:
    """Join along an axis, one after the other or interleaved slice by slice."""
    if not bool(interleave):
        return np.concatenate([np.atleast_1d(value) for value in values], int(axis))
    where = int(axis) % values[0].ndim
    joined = np.stack(values, where + 1)
    return joined.reshape(*values[0].shape[:where], -1, *values[0].shape[where + 1 :])


@operation("stack", exact=True)
def stack(values: Sequence[Array], axis: int) -> Array:
    """Join along a new axis."""
    return np.stack(values, int(axis))


@operation("split", exact=True)
def split(x: Array, axis: int, num_splits: int | None = None, split_sizes: Array | None = None) -> tuple[Array, ...]:
    """Cut along an axis into equal parts or parts of stated sizes."""
    if split_sizes is not None:
        return tuple(np.split(x, np.cumsum([int(size) for size in split_sizes])[:-1], int(axis)))
    if num_splits is None:
        raise ValueError("neither num_splits nor split_sizes is given")
    return tuple(np.split(x, int(num_splits), int(axis)))


@operation("pad", exact=True)
def pad(x: Array, pad: Array, mode: str = "constant", constant_val: float = 0.0) -> Array:
    """Pad the last axes by (before, after) pairs."""
    pairs = np.reshape(pad, (-1, 2)).tolist()
    widths = [(0, 0)] * (x.ndim - len(pairs)) + [(int(before), int(after)) for before, after in pairs]
    if mode == "constant":
        return np.pad(x, widths, constant_values=np.asarray(constant_val, x.dtype))
    if mode == "reflect":
        return np.pad(x, widths, mode="reflect")
    if mode == "replicate":
        return np.pad(x, widths, mode="edge")
    raise ValueError(f"mode {mode!r} is not known")


@operation("tile", exact=True)
def tile(x: Array, reps: Array) -> Array:
    """Repeat along every axis."""
    return np.tile(x, [int(count) for count in reps])


@operation("reverse", exact=True)
def reverse(x: Array, axes: Array | None = None) -> Array:
    """Mirror along axes (all of them by default)."""
    return np.flip(x, None if axes is None else tuple(int(axis) for axis in axes))


@operation("fill", exact=True)
def fill(shape: Array, value: float | Array = 0.0) -> Array:
    """Return a constant array."""
    return np.full([int(size) for size in shape], value)


@operation("fill_like", exact=True)
def fill_like(ref_tensor: Array, value: float | Array = 0.0) -> Array:
    """Return a constant array in the shape of another."""
    return np.full(ref_tensor.shape, value)


@operation("range_1d", exact=True)
def range_1d(end: Array, start: Array, step: Array) -> Array:
    """Count from `start` to before `end`."""
    return np.arange(start, end, step)


@operation("crop", exact=True)
def crop(x: Array, crop_height: Array, crop_width: Array) -> Array:
    """Cut (before, after) rows and columns off the last two axes."""
    (top, bottom), (left, right) = (tuple(int(value) for value in pair) for pair in (crop_height, crop_width))
    return x[..., top : x.shape[-2] - bottom, left : x.shape[-1] - right]


def _blocks(x: Array, block: int) -> Array:
    """Return (N, C, H/b, b, W/b, b)."""
    count, channels, height, width = x.shape
    return x.reshape(count, channels, height // block, block, width // block, block)


@operation("space_to_depth", exact=True)
def space_to_depth(x: Array, block_size: int) -> Array:
    """Move blocks of pixels to channels, block position before channel."""
    blocks = _blocks(x, int(block_size))
    return blocks.transpose(0, 3, 5, 1, 2, 4).reshape(x.shape[0], -1, blocks.shape[2], blocks.shape[4])


@operation("depth_to_space", exact=True)
def depth_to_space(x: Array, block_size: int) -> Array:
    """Move channels to blocks of pixels, block position before channel."""
    count, channels, height, width = x.shape
    size = int(block_size)
    parts = x.reshape(count, size, size, channels // size**2, height, width)
    return parts.transpose(0, 3, 4, 1, 5, 2).reshape(count, -1, height * size, width * size)


@operation("pixel_unshuffle", exact=True)
def pixel_unshuffle(x: Array, downscale_factor: int) -> Array:
    """Move blocks of pixels to channels, channel before block position (PyTorch)."""
    blocks = _blocks(x, int(downscale_factor))
    return blocks.transpose(0, 1, 3, 5, 2, 4).reshape(x.shape[0], -1, blocks.shape[2], blocks.shape[4])


@operation("pixel_shuffle", exact=True)
def pixel_shuffle(x: Array, upscale_factor: int) -> Array:
    """Move channels to blocks of pixels, channel before block position (PyTorch)."""
    count, channels, height, width = x.shape
    size = int(upscale_factor)
    parts = x.reshape(count, channels // size**2, size, size, height, width)
    return parts.transpose(0, 1, 4, 2, 5, 3).reshape(count, -1, height * size, width * size)
