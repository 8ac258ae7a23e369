"""Convolution and its transpose as matrix products (1-D and 2-D, NCHW)."""

from __future__ import annotations

import numpy as np

from seg_core.mil.ops.table import operation
from seg_core.mil.ops.windows import pad_spatial, per_axis, resolve_padding, taps
from seg_core.runners.base import Array

#: Columns gathered at once: a band of rows whose patches fit the cache beats one huge matrix.
_BAND_BYTES = 4 << 20


@operation("conv")
def conv(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    strides: Array | None = None,
    pad_type: str = "valid",
    pad: Array | None = None,
    dilations: Array | None = None,
    groups: int = 1,
) -> Array:
    """Convolve (N, C, [H,] W) with weight (C_out, C / groups, [kh,] kw), float32 accumulation."""
    rank = x.ndim - 2
    step, spread = per_axis(strides, rank), per_axis(dilations, rank)
    extents = [(size - 1) * dilation + 1 for size, dilation in zip(weight.shape[2:], spread, strict=True)]
    padding = resolve_padding(pad_type, pad, x.shape[2:], extents, step)
    if rank == 1:
        x, weight = x[:, :, None], weight[:, :, None]
        step, spread, extents, padding = [1, *step], [1, *spread], [1, *extents], [(0, 0), *padding]
    elif rank != 2:
        raise ValueError(f"only 1-D and 2-D convolutions are known, this is {rank}-D")
    padded = pad_spatial(x, padding)
    size_hw = tuple((size - extent) // s + 1 for size, extent, s in zip(padded.shape[2:], extents, step, strict=True))
    out = np.empty((x.shape[0], weight.shape[0], *size_hw), np.float32)
    per_group = weight.shape[1]
    for image, target in zip(padded, out, strict=True):
        if weight.shape[2:] == (1, 1) and int(groups) == 1:
            _pointwise(image, weight, step, target)
        elif per_group == 1 and int(groups) == x.shape[1]:
            _depthwise(image, weight, step, spread, target)
        else:
            _by_columns(image, weight, step, spread, int(groups), target)
    if bias is not None:
        out += bias.reshape(1, -1, 1, 1)
    return out[:, :, 0] if rank == 1 else out


def _pointwise(image: Array, weight: Array, step: list[int], target: Array) -> None:
    pixels = np.ascontiguousarray(image[:, :: step[0], :: step[1]]).reshape(image.shape[0], -1)
    np.matmul(weight.reshape(weight.shape[0], -1), pixels, out=target.reshape(target.shape[0], -1))


def _depthwise(image: Array, weight: Array, step: list[int], spread: list[int], target: Array) -> None:
    multiplier = weight.shape[0] // image.shape[0]
    source = np.repeat(image, multiplier, axis=0) if multiplier > 1 else image
    target[...] = 0
    product = np.empty_like(target)
    for i, rows in enumerate(taps(weight.shape[2], spread[0], step[0], target.shape[1])):
        for j, columns in enumerate(taps(weight.shape[3], spread[1], step[1], target.shape[2])):
            np.multiply(source[:, rows, columns], weight[:, 0, i, j, None, None], out=product)
            target += product


def _by_columns(image: Array, weight: Array, step: list[int], spread: list[int], groups: int, target: Array) -> None:
    channels, (kh, kw) = image.shape[0], weight.shape[2:]
    height, width = target.shape[1:]
    matrix = weight.reshape(groups, weight.shape[0] // groups, -1)
    band = max(1, min(height, _BAND_BYTES // (4 * channels * kh * kw * width)))
    for top in range(0, height, band):
        count = min(band, height - top)
        piece = image[:, top * step[0] :]
        columns = np.empty((channels, kh, kw, count, width), np.float32)
        for i, rows in enumerate(taps(kh, spread[0], step[0], count)):
            for j, cols in enumerate(taps(kw, spread[1], step[1], width)):
                columns[:, i, j] = piece[:, rows, cols]
        product = np.matmul(matrix, columns.reshape(groups, -1, count * width))
        target[:, top : top + count] = product.reshape(-1, count, width)


@operation("conv_transpose")
def conv_transpose(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    pad: Array | None = None,
    output_shape: Array | None = None,
    pad_type: str = "valid",
    strides: Array | None = None,
    dilations: Array | None = None,
    groups: int = 1,
) -> Array:
    """Transposed convolution of (N, C, [H,] W) with weight (C, C_out / groups, [kh,] kw)."""
    rank = x.ndim - 2
    step, spread = per_axis(strides, rank), per_axis(dilations, rank)
    wanted = None if output_shape is None else [int(size) for size in output_shape[2:]]
    extents = [(size - 1) * dilation + 1 for size, dilation in zip(weight.shape[2:], spread, strict=True)]
    padding = _transposed_padding(pad_type, pad, extents, step)
    if rank == 1:
        x, weight = x[:, :, None], weight[:, :, None]
        step, spread, padding = [1, *step], [1, *spread], [(0, 0), *padding]
        wanted = None if wanted is None else [1, *wanted]
    elif rank != 2:
        raise ValueError(f"only 1-D and 2-D convolutions are known, this is {rank}-D")
    full = np.stack([_scatter(image, weight, step, spread, int(groups)) for image in x])
    out = _crop(full, padding, wanted)
    if bias is not None:
        out = out + bias.reshape(1, -1, 1, 1)
    return out[:, :, 0] if rank == 1 else out


def _transposed_padding(pad_type: str, pad: Array | None, extents: list[int], step: list[int]) -> list[tuple[int, int]]:
    if pad_type not in ("same", "same_lower"):
        return resolve_padding(pad_type, pad, extents, extents, step)
    totals = [max(0, extent - stride) for extent, stride in zip(extents, step, strict=True)]
    halves = [(total // 2, total - total // 2) for total in totals]
    return halves if pad_type == "same" else [(after, before) for before, after in halves]


def _scatter(image: Array, weight: Array, step: list[int], spread: list[int], groups: int) -> Array:
    channels, height, width = image.shape
    kh, kw = weight.shape[2:]
    matrix = weight.reshape(groups, channels // groups, -1).transpose(0, 2, 1)
    products = np.matmul(matrix, image.reshape(groups, channels // groups, -1))
    products = products.reshape(-1, kh, kw, height, width)
    sizes = [
        (count - 1) * stride + (size - 1) * dilation + 1
        for count, stride, size, dilation in zip((height, width), step, (kh, kw), spread, strict=True)
    ]
    full = np.zeros((products.shape[0], *sizes), np.float32)
    for i, rows in enumerate(taps(kh, spread[0], step[0], height)):
        for j, columns in enumerate(taps(kw, spread[1], step[1], width)):
            full[:, rows, columns] += products[:, i, j]
    return full


def _crop(full: Array, padding: list[tuple[int, int]], wanted: list[int] | None) -> Array:
    """Cut the padding off; a stated output size wins over the padding after and may reach past the end (zeros)."""
    sizes = wanted or [size - sum(pads) for size, pads in zip(full.shape[2:], padding, strict=True)]
    missing = [
        (0, max(0, pads[0] + size - have)) for size, pads, have in zip(sizes, padding, full.shape[2:], strict=True)
    ]
    inside = [slice(pads[0], pads[0] + size) for size, pads in zip(sizes, padding, strict=True)]
    return pad_spatial(full, missing)[(slice(None), slice(None), *inside)]
