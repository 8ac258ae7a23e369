"""Reductions over axes; sums of floats are accumulated in float64 and rounded once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from seg_core.mil.ops.table import operation
from seg_core.runners.base import Array

Axes = tuple[int, ...] | None


def _axes(axes: Array | None) -> Axes:
    return None if axes is None else tuple(int(axis) for axis in axes)


def _total(x: Array, axes: Axes, keep: bool) -> Array:
    wide = np.float64 if x.dtype.kind == "f" else np.int64
    return np.asarray(np.sum(x, axis=axes, keepdims=keep, dtype=wide))


def _mean(x: Array, axes: Axes, keep: bool) -> Array:
    return np.asarray(np.mean(x, axis=axes, keepdims=keep, dtype=np.float64))


def _log_sum_exp(x: Array, axes: Axes, keep: bool) -> Array:
    peak = np.max(x, axis=axes, keepdims=True)
    summed = np.log(_total(np.exp(x - peak), axes, True)) + peak
    return np.asarray(summed if keep else np.squeeze(summed, axes))


_SUMS: dict[str, Callable[[Array, Axes, bool], Array]] = {
    "reduce_l1_norm": lambda x, axes, keep: _total(np.abs(x), axes, keep),
    "reduce_l2_norm": lambda x, axes, keep: np.asarray(np.sqrt(_total(np.square(x), axes, keep))),
    "reduce_log_sum": lambda x, axes, keep: np.asarray(np.log(_total(x, axes, keep))),
    "reduce_log_sum_exp": _log_sum_exp,
    "reduce_mean": _mean,
    "reduce_prod": lambda x, axes, keep: np.asarray(np.prod(x, axis=axes, keepdims=keep)),
    "reduce_sum": _total,
    "reduce_sum_square": lambda x, axes, keep: _total(np.square(x), axes, keep),
}
_EXTREMES: dict[str, Callable[[Array, Axes, bool], Array]] = {
    "reduce_max": lambda x, axes, keep: np.asarray(np.max(x, axis=axes, keepdims=keep)),
    "reduce_min": lambda x, axes, keep: np.asarray(np.min(x, axis=axes, keepdims=keep)),
}


def _reduction(function: Callable[[Array, Axes, bool], Array]) -> Callable[..., Array]:
    def reduce(x: Array, axes: Array | None = None, keep_dims: bool = False) -> Array:
        result = function(x, _axes(axes), bool(keep_dims))
        return result.astype(x.dtype, copy=False)

    return reduce


for _name, _function in _SUMS.items():
    operation(_name)(_reduction(_function))
for _name, _function in _EXTREMES.items():
    operation(_name, exact=True)(_reduction(_function))


@operation("reduce_argmax", exact=True)
def reduce_argmax(x: Array, axis: int = -1, keep_dims: bool = False, output_dtype: str = "int32") -> Array:
    """Return the index of the maximum; ties go to the lower index."""
    del output_dtype  # the result's type says the same
    return np.asarray(np.argmax(x, axis=int(axis), keepdims=bool(keep_dims)))


@operation("reduce_argmin", exact=True)
def reduce_argmin(x: Array, axis: int = -1, keep_dims: bool = False, output_dtype: str = "int32") -> Array:
    """Return the index of the minimum; ties go to the lower index."""
    del output_dtype
    return np.asarray(np.argmin(x, axis=int(axis), keepdims=bool(keep_dims)))


@operation("cumsum")
def cumsum(x: Array, axis: int = 0, exclusive: bool = False, reverse: bool = False) -> Array:
    """Running sum along an axis, optionally without the element itself and from the end."""
    source = np.flip(x, int(axis)) if bool(reverse) else x
    wide = np.float64 if x.dtype.kind == "f" else np.int64
    total = np.cumsum(source, axis=int(axis), dtype=wide)
    if bool(exclusive):
        total = total - source
    return (np.flip(total, int(axis)) if bool(reverse) else total).astype(x.dtype)
