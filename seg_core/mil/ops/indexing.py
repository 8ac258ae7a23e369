"""Slices, look-ups and orderings."""

from __future__ import annotations

import numpy as np

from seg_core.mil.ops.table import operation
from seg_core.runners.base import Array


def _flags(mask: Array | None, rank: int) -> list[bool]:
    return [False] * rank if mask is None else [bool(flag) for flag in mask]


@operation("slice_by_index", exact=True)
def slice_by_index(
    x: Array,
    begin: Array,
    end: Array,
    stride: Array | None = None,
    begin_mask: Array | None = None,
    end_mask: Array | None = None,
    squeeze_mask: Array | None = None,
) -> Array:
    """Slice by begin, end and stride an axis; masked ends are open, squeezed axes are indexed."""
    steps = [1] * x.ndim if stride is None else [int(step) for step in stride]
    open_begin, open_end = _flags(begin_mask, x.ndim), _flags(end_mask, x.ndim)
    index: list[int | slice] = []
    for axis, squeezed in enumerate(_flags(squeeze_mask, x.ndim)):
        if squeezed:
            index.append(int(begin[axis]))
            continue
        first = None if open_begin[axis] else int(begin[axis])
        last = None if open_end[axis] else int(end[axis])
        index.append(slice(first, last, steps[axis]))
    return x[tuple(index)]


@operation("slice_by_size", exact=True)
def slice_by_size(x: Array, begin: Array, size: Array) -> Array:
    """Slice by begin and size an axis; size -1 takes the rest."""
    index = []
    for first, count, extent in zip(begin, size, x.shape, strict=True):
        start = int(first) % extent if int(first) < 0 else int(first)
        index.append(slice(start, None if int(count) == -1 else start + int(count)))
    return x[tuple(index)]


@operation("gather", exact=True)
def gather(x: Array, indices: Array, axis: int = 0, batch_dims: int = 0, validate_indices: bool = False) -> Array:
    """Take slices along an axis."""
    del validate_indices  # numpy always validates
    if int(batch_dims) != 0:
        raise ValueError("batch_dims other than 0 is not known")
    return np.take(x, indices.astype(np.intp), int(axis))


@operation("gather_along_axis", exact=True)
def gather_along_axis(x: Array, indices: Array, axis: int = 0, validate_indices: bool = False) -> Array:
    """Take one element an index along an axis."""
    del validate_indices
    return np.take_along_axis(x, indices.astype(np.intp), int(axis))


@operation("gather_nd", exact=True)
def gather_nd(x: Array, indices: Array, batch_dims: int = 0, validate_indices: bool = False) -> Array:
    """Take the slices that the rows of `indices` name."""
    del validate_indices
    if int(batch_dims) != 0:
        raise ValueError("batch_dims other than 0 is not known")
    return np.asarray(x[tuple(np.moveaxis(indices.astype(np.intp), -1, 0))])


@operation("one_hot", exact=True)
def one_hot(
    indices: Array, one_hot_vector_size: int, axis: int = -1, on_value: float = 1, off_value: float = 0
) -> Array:
    """Return `on_value` at each index along a new axis and `off_value` elsewhere."""
    hits = np.asarray(indices)[..., None] == np.arange(int(one_hot_vector_size))
    return np.moveaxis(np.where(hits, on_value, off_value), -1, int(axis))


@operation("argsort", exact=True)
def argsort(x: Array, axis: int = -1, ascending: bool = False) -> Array:
    """Return the indices that sort; equal values keep their order."""
    return np.argsort(x if bool(ascending) else -x, axis=int(axis), kind="stable")


@operation("topk", exact=True)
def topk(
    x: Array,
    k: int = 1,
    axis: int = -1,
    ascending: bool = False,
    sort: bool = True,
    return_indices: bool = True,
    output_indices_dtype: str = "int32",
) -> tuple[Array, ...]:
    """Return the k largest (or smallest) values and their indices, sorted."""
    del sort, output_indices_dtype  # a sorted answer is also a valid unsorted one; the result's type says the dtype
    order = argsort(x, int(axis), bool(ascending))
    indices = np.take(order, np.arange(int(k)), int(axis))
    values = np.take_along_axis(x, indices, int(axis))
    return (values, indices) if bool(return_indices) else (values,)


@operation("scatter_along_axis", exact=True)
def scatter_along_axis(
    data: Array,
    indices: Array,
    updates: Array,
    axis: int = 0,
    mode: str = "add",
    validate_indices: bool = False,
) -> Array:
    """Write one element an index along an axis of a copy; only the mode that overwrites is known."""
    del validate_indices
    if mode != "update":
        raise ValueError(f"scatter mode {mode!r} is not known")
    result = data.copy()
    np.put_along_axis(result, indices.astype(np.intp), updates, int(axis))
    return result
