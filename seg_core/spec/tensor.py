"""What one input or output tensor of an artifact looks like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Layout = Literal["nchw", "nhwc", "nhw"]


@dataclass(frozen=True)
class TensorSpec:
    """Name, role, shape and layout of one tensor at an artifact's boundary.

    `role` is "image" for the network input, "logits" (float scores, one channel a class) or "labels"
    (integer class indices, layout "nhw") for outputs.
    """

    name: str
    role: Literal["image", "logits", "labels"]
    shape: tuple[int, ...]
    dtype: Literal["float32", "float16", "uint8", "int32", "int64"]
    layout: Layout

    @property
    def size_hw(self) -> tuple[int, int]:
        """Spatial size (height, width) of the tensor."""
        height = self.shape[self.layout.index("h")]
        width = self.shape[self.layout.index("w")]
        return height, width
