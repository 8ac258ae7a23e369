"""Compressed constants and quantised values.

The `constexpr_*` operations expand weights once, when a program is loaded; the same name has one form in
iOS 16 (packed vectors with a stated shape) and another in iOS 18 (typed sub-byte tensors).
"""

from __future__ import annotations

import numpy as np

from seg_core.mil.dtypes import unpack
from seg_core.mil.ops.table import operation
from seg_core.runners.base import Array


def _along(values: Array, x: Array, axis: int | None) -> Array:
    """Return a scalar or a vector shaped to broadcast along `axis` of `x`, as float32."""
    held = np.asarray(values, np.float32)
    if held.ndim == 0 or axis is None:
        return held
    shape = [1] * x.ndim
    shape[int(axis)] = -1
    return held.reshape(shape)


@operation("constexpr_affine_dequantize")
def constexpr_affine_dequantize(quantized_data: Array, zero_point: Array, scale: Array, axis: int) -> Array:
    """Return scale * (data - zero_point), a scale for the tensor or for each index of `axis`."""
    centred = quantized_data.astype(np.float32) - _along(zero_point, quantized_data, axis)
    return np.asarray(_along(scale, quantized_data, axis) * centred)


@operation("constexpr_blockwise_shift_scale")
def constexpr_blockwise_shift_scale(data: Array, scale: Array, offset: Array | None = None) -> Array:
    """Return scale * (data - offset), one scale and offset a block (iOS 18)."""
    result = data.astype(np.float32)
    if offset is not None:
        result = result - _spread(offset.astype(np.float32), data.shape)
    return np.asarray(_spread(scale, data.shape) * result)


def _spread(values: Array, shape: tuple[int, ...]) -> Array:
    """Repeat a block-wise parameter until it has `shape`."""
    for axis, size in enumerate(shape):
        blocks = values.shape[axis]
        if size % blocks:
            raise ValueError(f"{blocks} blocks do not divide an axis of {size}")
        values = np.repeat(values, size // blocks, axis)
    return values


@operation("constexpr_lut_to_dense", exact=True)
def constexpr_lut_to_dense(
    indices: Array, lut: Array, shape: Array | None = None, vector_axis: int | None = None
) -> Array:
    """Look indices up in a palette: packed bytes and one palette (iOS 16), or a palette a block (iOS 18)."""
    if shape is not None:
        wanted = [int(size) for size in shape]
        bits = int(lut.size).bit_length() - 1
        return np.asarray(lut[unpack(indices.tobytes(), f"uint{bits}", int(np.prod(wanted)))].reshape(wanted))
    return _lookup(indices, lut, vector_axis)


def _lookup(indices: Array, lut: Array, vector_axis: int | None) -> Array:
    """Look up with one palette (entries, vector size) a block: lut is (*blocks, entries, vector size)."""
    blocks, (entries, length) = lut.shape[:-2], lut.shape[-2:]
    palettes = np.arange(int(np.prod(blocks, dtype=np.int64))).reshape(blocks)
    chosen = lut.reshape(-1, entries, length)[_spread(palettes, indices.shape), indices]
    if length == 1:
        return np.asarray(chosen[..., 0])
    if vector_axis is None:
        raise ValueError("a palette of vectors needs vector_axis")
    axis = int(vector_axis) % indices.ndim
    placed = np.moveaxis(chosen, -1, axis + 1)
    return placed.reshape(*indices.shape[:axis], indices.shape[axis] * length, *indices.shape[axis + 1 :])


@operation("constexpr_sparse_to_dense", exact=True)
def constexpr_sparse_to_dense(nonzero_data: Array, mask: Array, shape: Array | None = None) -> Array:
    """Put values where a bit mask is set and 0 elsewhere: packed mask (iOS 16) or mask tensor (iOS 18)."""
    if shape is not None:
        wanted = [int(size) for size in shape]
        mask = unpack(mask.tobytes(), "uint1", int(np.prod(wanted))).reshape(wanted)
    dense = np.zeros(mask.shape, nonzero_data.dtype)
    dense[mask != 0] = nonzero_data
    return dense


@operation("constexpr_lut_to_sparse", exact=True)
def constexpr_lut_to_sparse(
    indices_mask: Array, indices_nonzero_data: Array, lut: Array, vector_axis: int | None = None
) -> tuple[Array, Array]:
    """Look the kept indices up in a palette (iOS 18); returns the mask and the kept values."""
    values = _lookup(constexpr_sparse_to_dense(indices_nonzero_data, indices_mask), lut, vector_axis)
    mask = indices_mask
    if vector_axis is not None:
        mask = np.repeat(mask, lut.shape[-1], int(vector_axis))
    return mask, values[mask != 0]


@operation("constexpr_sparse_blockwise_shift_scale")
def constexpr_sparse_blockwise_shift_scale(
    data_mask: Array, nonzero_data: Array, scale: Array, offset: Array | None = None
) -> tuple[Array, Array]:
    """Dequantise the kept values block by block (iOS 18); returns the mask and the kept values."""
    dense = constexpr_sparse_to_dense(nonzero_data, data_mask)
    return data_mask, constexpr_blockwise_shift_scale(dense, scale, offset)[data_mask != 0]


@operation("constexpr_cast", exact=True)
def constexpr_cast(source_val: Array, output_dtype: str) -> Array:
    """Widen half-precision constants."""
    del output_dtype  # the result's type says the same
    return source_val


@operation("dequantize")
def dequantize(input: Array, scale: Array, zero_point: Array | None = None, axis: int | None = None) -> Array:  # noqa: A002 - MIL's name
    """Return scale * (input - zero_point)."""
    shift = np.float32(0) if zero_point is None else _along(zero_point, input, axis)
    return np.asarray(_along(scale, input, axis) * (input.astype(np.float32) - shift))


@operation("quantize", exact=True)
def quantize(
    input: Array,  # noqa: A002 - MIL's name
    scale: Array,
    output_dtype: str,
    zero_point: Array | None = None,
    axis: int | None = None,
) -> Array:
    """Return round(input / scale) + zero_point, saturated to int8 or uint8."""
    shift = np.float32(0) if zero_point is None else _along(zero_point, input, axis)
    limits = np.iinfo(np.dtype(output_dtype))
    return np.clip(np.rint(input / _along(scale, input, axis)) + shift, limits.min, limits.max)
