"""Gaussian filtering in many dimensions on the permutohedral lattice (Adams, Baek & Davis, Eurographics 2010).

https://graphics.stanford.edu/papers/permutohedral/. A value is spread over the d + 1 corners of the lattice simplex
that holds its point (splat), the lattice is blurred along its d + 1 directions, and values are read back with the
same weights (slice). Cost is linear in the number of points, whatever the width of the Gaussian.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from seg_core.errors import SegError

Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]


class LatticeError(SegError):
    """Points that spread over more cells than 63 bits can number."""


class PermutohedralLattice:
    """Filter values on fixed points with a Gaussian of unit variance, normalised to a weighted mean.

    The kernel is an approximation of `exp(-|a - b|² / 2)`, the point itself included; tests/core/test_crf.py bounds
    its distance from the exact sum. Results do not depend on threads or on earlier calls.
    """

    def __init__(self, points: Float32) -> None:
        """Build the lattice of `points`, float32 (d, N), in units of the Gaussian's standard deviation.

        Raises LatticeError when the points spread over more cells than 63 bits can number.
        """
        offsets, ranks, self._weights = _enclose(points)
        self._corners, vertices, strides = _number_corners(offsets, ranks)
        self._vertex_count = len(vertices)
        self._neighbours = _find_neighbours(vertices, strides)
        norm = self._filter(np.ones(points.shape[1], np.float32))
        self._inverse_norm = np.float32(1.0) / norm

    def mean(self, values: Float32) -> Float32:
        """Return the Gaussian-weighted mean of `values`, float32 (C, N), around every point: float32 (C, N)."""
        means = np.empty_like(values)
        for plane, mean in zip(values, means, strict=True):
            np.multiply(self._filter(plane), self._inverse_norm, out=mean)
        return means

    def _filter(self, plane: Float32) -> Float32:
        # One plane at a time: its lattice then stays in the processor's cache.
        spread = (plane * self._weights).ravel()
        lattice = np.bincount(self._corners.ravel(), spread, self._vertex_count + 1).astype(np.float32)
        for before, after in self._neighbours:
            blurred = lattice[before]
            blurred += lattice[after]
            lattice[:-1] += np.float32(0.5) * blurred
        return np.asarray(np.einsum("kn,kn->n", lattice[self._corners], self._weights), np.float32)


def _enclose(points: Float32) -> tuple[Int64, Int64, Float32]:
    """Return of each point's simplex the corner of remainder 0, the ranks of its coordinates and the d + 1 weights.

    All are (d + 1, N); the corner is in lattice coordinates, which sum to zero.
    """
    elevated = _elevate(points)
    dimensions, count = points.shape
    below = np.floor(elevated / np.float32(dimensions + 1)) * np.float32(dimensions + 1)
    corner = np.where(elevated - below > np.float32((dimensions + 1) / 2), below + np.float32(dimensions + 1), below)
    offsets = corner.astype(np.int64)
    distance = elevated - corner
    ranks = np.zeros((dimensions + 1, count), np.int64)
    for first in range(dimensions):
        for second in range(first + 1, dimensions + 1):
            smaller = distance[first] < distance[second]
            ranks[first] += smaller
            ranks[second] += ~smaller
    # Rounding may have left the plane on which coordinates sum to zero: step back where it cost least.
    ranks += offsets.sum(axis=0) // (dimensions + 1)
    wrap = (dimensions + 1) * ((ranks < 0).astype(np.int64) - (ranks > dimensions))
    ranks += wrap
    offsets += wrap
    return offsets, ranks, _weigh(elevated - offsets.astype(np.float32), ranks)


def _elevate(points: Float32) -> Float32:
    """Return `points` (d, N) on the plane of (d + 1) coordinates that sum to zero, scaled to the blur's width."""
    dimensions, count = points.shape
    elevated = np.zeros((dimensions + 1, count), np.float32)
    total = np.zeros(count, np.float32)
    for axis in range(dimensions, 0, -1):
        # sqrt(2/3) (d + 1) makes the standard deviation of splat, blur and slice together one (paper, section 3.1).
        scale = (dimensions + 1) * math.sqrt(2 / 3) / math.sqrt(axis * (axis + 1))
        coordinate = points[axis - 1] * np.float32(scale)
        elevated[axis] = total - axis * coordinate
        total += coordinate
    elevated[0] = total
    return elevated


def _weigh(distance: Float32, ranks: Int64) -> Float32:
    """Return the barycentric weights, float32 (d + 1, N), of points at `distance` from their simplex's corner 0."""
    dimensions = len(ranks) - 1
    ordered = np.empty_like(distance)
    np.put_along_axis(ordered, dimensions - ranks, distance / np.float32(dimensions + 1), axis=0)  # ascending
    weights = np.empty_like(ordered)
    weights[0] = 1 + ordered[0] - ordered[-1]
    weights[1:] = np.diff(ordered, axis=0)
    return weights


def _number_corners(offsets: Int64, ranks: Int64) -> tuple[Int64, Int64, Int64]:
    """Return the corners' vertex numbers (d + 1, N), the sorted keys of all vertices (M,), and the keys' strides (d,).

    The last of the d + 1 coordinates follows from the others and is left out of the key.
    """
    dimensions = len(ranks) - 1
    margin = 2 * (dimensions + 1)
    low = offsets[:dimensions].min(axis=1) - margin
    extent = offsets[:dimensions].max(axis=1) - low + margin + 1
    codes = (dimensions + 1) ** dimensions
    if math.prod(extent.tolist()) * codes >= 2**63:
        raise LatticeError("permutohedral lattice: the points spread too far for their standard deviation; widen it")
    strides = np.concatenate([[1], np.cumprod(extent[:-1])]).astype(np.int64)
    base = strides @ (offsets[:dimensions] - low[:, None])
    # Pixels share simplices: finding the distinct ones first makes the sorting of their corners cheap.
    code = (dimensions + 1) ** np.arange(dimensions) @ ranks[:dimensions]
    _, chosen, simplex = np.unique(base * codes + code, return_index=True, return_inverse=True)
    base, ranks = base[chosen], ranks[:dimensions, chosen]
    keys = [
        base + strides @ (remainder - (dimensions + 1) * (ranks > dimensions - remainder))
        for remainder in range(dimensions + 1)
    ]
    vertices, numbers = np.unique(np.stack(keys), return_inverse=True)
    corners = np.ascontiguousarray(numbers.reshape(dimensions + 1, -1)[:, simplex], np.int64)
    return corners, vertices, strides


def _find_neighbours(vertices: Int64, strides: Int64) -> list[tuple[Int64, Int64]]:
    """Return the numbers of the vertices before and after each along every direction; absent ones are M."""
    dimensions = len(strides)
    steps = [-int(strides.sum()) + (dimensions + 1) * int(stride) for stride in strides] + [-int(strides.sum())]
    return [(_look_up(vertices, vertices - step), _look_up(vertices, vertices + step)) for step in steps]


def _look_up(vertices: Int64, keys: Int64) -> Int64:
    found = np.minimum(np.searchsorted(vertices, keys), len(vertices) - 1)
    return np.where(vertices[found] == keys, found, len(vertices)).astype(np.int64)
