"""Bilinear resizing as two small matrix products, which is what training wants.

`torch.nn.functional.interpolate` spreads gradients with atomic additions on a GPU: slow (half of a compiled
training step of DDRNet-23-slim), and in another order every time. As products of the rows and the columns with
constant matrices the same map costs next to nothing and its gradient is the same at every run.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

#: Rows of matrices that begin at multiples of this are read by a GPU's tensor cores at full width.
ALIGNED_BYTES = 16


def interpolation_matrix(size_in: int, size_out: int, like: Tensor) -> Tensor:
    """Return the (size_out, size_in) matrix of bilinear resizing with align_corners=False along one axis.

    Dtype and device are those of `like`. It is made anew each time: a tensor kept from one call would lie in
    memory that a recorded CUDA graph overwrites, and the compiler folds it into the product's neighbours anyway.
    """
    outputs = torch.arange(size_out, device=like.device, dtype=torch.float32)
    inputs = torch.arange(size_in, device=like.device, dtype=torch.float32)
    source = ((outputs + 0.5) * (size_in / size_out) - 0.5).clamp(0, size_in - 1)
    return (1 - (source[:, None] - inputs[None, :]).abs()).clamp(min=0).to(like.dtype)


def enlarge(features: Tensor, size_hw: tuple[int, int], stride: int = 1) -> Tensor:
    """Return `features` (N, C, h, w) at `size_hw`, bilinear with align_corners=False.

    Equal to `F.interpolate` up to the rounding of the dtype, for larger and for smaller sizes. With a `stride` only
    every stride-th row and column of that is made, those of `grid_positions`.
    """
    height, width = features.shape[-2:]
    rows, columns = (grid_positions(size, stride) for size in size_hw)
    if width != size_hw[1]:
        features = F.pad(features, (0, missing_columns(width, features.dtype)))
    if height != size_hw[0]:
        features = torch.matmul(interpolation_matrix(height, size_hw[0], features)[rows], features)
    elif stride > 1:
        features = features[..., rows, :]
    if width != size_hw[1]:
        across = interpolation_matrix(width, size_hw[1], features)[columns]
        features = torch.matmul(features, F.pad(across, (0, features.shape[-1] - width)).t())
    elif stride > 1:
        features = features[..., columns]
    return features


def missing_columns(width: int, dtype: torch.dtype) -> int:
    """Return how many columns of zeros make rows of `width` a multiple of `ALIGNED_BYTES`, 0 if half were zeros."""
    missing = -width % max(ALIGNED_BYTES // dtype.itemsize, 1)
    return missing if missing < width else 0


def grid_positions(size: int, stride: int) -> slice:
    """Return every `stride`-th position along an axis of `size`, those in the middle of their cells."""
    return slice(min(stride, size) // 2, size, stride)


def resize_bilinear(features: Tensor, size_hw: tuple[int, int], training: bool) -> Tensor:
    """Return `features` (N, C, h, w) at `size_hw`: by `enlarge` while training, else by what can be exported."""
    if training:
        return enlarge(features, size_hw)
    return F.interpolate(features, size=size_hw, mode="bilinear", align_corners=False)
