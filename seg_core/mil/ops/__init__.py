"""Operations by family; importing this package fills the table."""

from seg_core.mil.ops import (
    activations,
    compression,
    convolution,
    elementwise,
    indexing,
    linear,
    normalisation,
    pooling,
    reductions,
    resizing,
    shapes,
)
from seg_core.mil.ops.table import OPERATIONS, Operation

__all__ = [
    "OPERATIONS",
    "Operation",
    "activations",
    "compression",
    "convolution",
    "elementwise",
    "indexing",
    "linear",
    "normalisation",
    "pooling",
    "reductions",
    "resizing",
    "shapes",
]
