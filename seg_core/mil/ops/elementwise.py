"""Arithmetic, comparison and logic, element by element with numpy's broadcasting."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from seg_core.mil.ops.table import operation
from seg_core.runners.base import Array

_UNARY: dict[str, Callable[[Any], Any]] = {
    "acos": np.arccos, "asin": np.arcsin, "atan": np.arctan, "atanh": np.arctanh, "cos": np.cos, "cosh": np.cosh,
    "exp": np.exp, "exp2": np.exp2, "sin": np.sin, "sinh": np.sinh, "sqrt": np.sqrt, "square": np.square,
    "tan": np.tan, "tanh": np.tanh,
}  # fmt: skip
_UNARY_EXACT: dict[str, Callable[[Any], Any]] = {
    "abs": np.abs, "ceil": np.ceil, "floor": np.floor, "identity": np.asarray, "logical_not": np.logical_not,
    "round": np.rint, "sign": np.sign,
}  # fmt: skip
_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": np.add, "floor_div": np.floor_divide, "mod": np.mod, "mul": np.multiply, "pow": np.power,
    "real_div": np.divide, "sub": np.subtract,
}  # fmt: skip
_BINARY_EXACT: dict[str, Callable[[Any, Any], Any]] = {
    "equal": np.equal, "greater": np.greater, "greater_equal": np.greater_equal, "less": np.less,
    "less_equal": np.less_equal, "logical_and": np.logical_and, "logical_or": np.logical_or,
    "logical_xor": np.logical_xor, "maximum": np.maximum, "minimum": np.minimum, "not_equal": np.not_equal,
}  # fmt: skip


def _unary(function: Callable[[Any], Any]) -> Callable[..., Any]:
    return lambda x: function(x)


def _binary(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    return lambda x, y: function(x, y)


for _name, _function in _UNARY.items():
    operation(_name)(_unary(_function))
for _name, _function in _UNARY_EXACT.items():
    operation(_name, exact=True)(_unary(_function))
for _name, _pair in _BINARY.items():
    operation(_name)(_binary(_pair))
for _name, _pair in _BINARY_EXACT.items():
    operation(_name, exact=True)(_binary(_pair))


@operation("cast")
def cast(x: Array, dtype: str) -> Array:
    """Convert to the dtype that the result is typed with; floats become integers by truncation."""
    del dtype  # the result's type says the same
    return x


@operation("erf")
def erf(x: Array) -> Array:
    """Gauss's error function, exact to the last bit of float32 (the C library's, about 0.1 µs an element)."""
    return np.asarray(np.frompyfunc(math.erf, 1, 1)(x), np.float32)


@operation("log")
def log(x: Array, epsilon: float = 1e-45) -> Array:
    """Natural logarithm of x + epsilon."""
    return np.asarray(np.log(x + np.float32(epsilon)))


@operation("rsqrt")
def rsqrt(x: Array, epsilon: float = 1e-12) -> Array:
    """Return 1 / sqrt(x + epsilon)."""
    return np.asarray(1 / np.sqrt(x + np.float32(epsilon)))


@operation("inverse")
def inverse(x: Array, epsilon: float = 1e-4) -> Array:
    """Return 1 / (x + epsilon)."""
    return np.asarray(1 / (x + np.float32(epsilon)))


@operation("clip", exact=True)
def clip(x: Array, alpha: Array, beta: Array) -> Array:
    """Limit to [alpha, beta]."""
    return np.asarray(np.minimum(np.maximum(x, alpha), beta))


@operation("threshold", exact=True)
def threshold(x: Array, alpha: Array) -> Array:
    """Limit from below to alpha."""
    return np.maximum(x, alpha)


@operation("select", exact=True)
def select(cond: Array, a: Array, b: Array) -> Array:
    """Take `a` where `cond` holds, `b` elsewhere."""
    return np.where(cond, a, b)


def along_channels(values: Array, x: Array) -> Array:
    """Return a per-channel vector shaped to broadcast over `x` (N, C, ...)."""
    return np.reshape(values, (1, -1) + (1,) * (x.ndim - 2))
