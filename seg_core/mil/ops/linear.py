"""Matrix products."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seg_core.mil.ops.activations import softmax
from seg_core.mil.ops.table import operation
from seg_core.runners.base import Array


@operation("linear")
def linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """Return x @ weight.T + bias."""
    result = np.matmul(x.reshape(-1, x.shape[-1]), weight.T).reshape(*x.shape[:-1], -1)  # one product, not a stack
    return np.asarray(result if bias is None else result + bias)


@operation("matmul")
def matmul(x: Array, y: Array, transpose_x: bool = False, transpose_y: bool = False) -> Array:
    """Multiply batches of matrices."""
    left = np.swapaxes(x, -1, -2) if bool(transpose_x) and x.ndim > 1 else x
    right = np.swapaxes(y, -1, -2) if bool(transpose_y) and y.ndim > 1 else y
    return np.asarray(np.matmul(left, right))


@operation("einsum")
def einsum(values: Sequence[Array], equation: str) -> Array:
    """Multiply two arrays by Einstein's convention."""
    return np.asarray(np.einsum(equation, *values, optimize=True))


@operation("scaled_dot_product_attention")
def scaled_dot_product_attention(query: Array, key: Array, value: Array, attn_mask: Array | None = None) -> Array:
    """Return softmax(query @ key.T / sqrt(depth) + mask) @ value; a boolean mask keeps where it is true."""
    scores = np.matmul(query, np.swapaxes(key, -1, -2)) * np.float32(query.shape[-1] ** -0.5)
    if attn_mask is not None:
        scores = np.where(attn_mask, scores, -np.inf) if attn_mask.dtype == bool else scores + attn_mask
    return np.asarray(np.matmul(softmax(scores), value))
