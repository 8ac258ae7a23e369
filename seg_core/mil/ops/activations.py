"""Activation functions, by the formulas of the MIL specification."""

from __future__ import annotations

import numpy as np

from seg_core.mil.ops.elementwise import along_channels, erf
from seg_core.mil.ops.table import operation
from seg_core.runners.base import Array

_F = np.float32


@operation("relu", exact=True)
def relu(x: Array) -> Array:
    """Return max(x, 0)."""
    return np.maximum(x, _F(0))


@operation("relu6", exact=True)
def relu6(x: Array) -> Array:
    """Return min(max(x, 0), 6)."""
    return np.asarray(np.minimum(np.maximum(x, _F(0)), _F(6)))


@operation("clamped_relu")
def clamped_relu(x: Array, alpha: Array, beta: Array) -> Array:
    """Return min(beta, x) where x >= 0 and min(beta, alpha * x) elsewhere."""
    return np.asarray(np.minimum(leaky_relu(x, alpha), beta))


@operation("leaky_relu")
def leaky_relu(x: Array, alpha: Array) -> Array:
    """Return x where x >= 0 and alpha * x elsewhere."""
    return np.where(x >= 0, x, x * alpha)


@operation("prelu")
def prelu(x: Array, alpha: Array) -> Array:
    """Return x where x >= 0 and alpha[channel] * x elsewhere."""
    return np.where(x >= 0, x, x * along_channels(alpha, x))


@operation("elu")
def elu(x: Array, alpha: Array) -> Array:
    """Return x where x > 0 and alpha * (exp(x) - 1) elsewhere."""
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, _F(0))))


@operation("thresholded_relu", exact=True)
def thresholded_relu(x: Array, alpha: Array) -> Array:
    """Return x where x >= alpha and 0 elsewhere."""
    return np.where(x >= alpha, x, _F(0))


@operation("linear_activation")
def linear_activation(x: Array, alpha: Array, beta: Array) -> Array:
    """Return alpha * x + beta."""
    return np.asarray(alpha * x + beta)


@operation("sigmoid")
def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + exp(-x))."""
    return np.asarray(1 / (1 + np.exp(-x)))


@operation("silu")
def silu(x: Array) -> Array:
    """Return x * sigmoid(x)."""
    return np.asarray(x / (1 + np.exp(-x)))


@operation("sigmoid_hard")
def sigmoid_hard(x: Array, alpha: Array, beta: Array) -> Array:
    """Return alpha * x + beta limited to [0, 1]."""
    return np.clip(alpha * x + beta, _F(0), _F(1))


@operation("scaled_tanh")
def scaled_tanh(x: Array, alpha: Array, beta: Array) -> Array:
    """Return alpha * tanh(beta * x)."""
    return np.asarray(alpha * np.tanh(beta * x))


@operation("softplus")
def softplus(x: Array) -> Array:
    """Return log(1 + exp(x)), without overflow."""
    return np.asarray(np.maximum(x, _F(0)) + np.log1p(np.exp(-np.abs(x))))


@operation("softplus_parametric")
def softplus_parametric(x: Array, alpha: Array, beta: Array) -> Array:
    """Return alpha[channel] * log(1 + exp(beta[channel] * x))."""
    return np.asarray(along_channels(alpha, x) * softplus(along_channels(beta, x) * x))


@operation("softsign")
def softsign(x: Array) -> Array:
    """Return x / (1 + |x|)."""
    return np.asarray(x / (1 + np.abs(x)))


@operation("gelu")
def gelu(x: Array, mode: str = "EXACT") -> Array:
    """Gaussian error linear unit in one of MIL's three modes."""
    if mode == "EXACT":
        return np.asarray(_F(0.5) * x * (1 + erf(x * _F(np.sqrt(0.5)))))
    if mode == "TANH_APPROXIMATION":
        return np.asarray(_F(0.5) * x * (1 + np.tanh(_F(np.sqrt(2 / np.pi)) * (x + _F(0.044715) * x**3))))
    if mode == "SIGMOID_APPROXIMATION":
        return np.asarray(x * sigmoid(_F(1.702) * x))
    raise ValueError(f"mode {mode!r} is not known")


@operation("softmax")
def softmax(x: Array, axis: int = -1) -> Array:
    """Normalise exp(x) to sum 1 along `axis`, shifted by the maximum so that nothing overflows."""
    shifted = np.exp(x - np.max(x, axis=int(axis), keepdims=True))
    return np.asarray(shifted / np.sum(shifted, axis=int(axis), keepdims=True))
