"""The preprocessing contract: everything between a decoded image and the network, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from seg_core.errors import SpecError

PREPROCESS_VERSION = 1

#: ImageNet statistics for RGB in [0, 1] (He et al. and torchvision's published recipes).
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class PreprocessSpec:
    """How a BGR uint8 image (H, W, 3) becomes the network's input tensor.

    The order is fixed: crop to the region of interest, `reduce`, resize by policy, pad with `pad_value`,
    reorder to `color`, then per channel in float32 `((x * scale) - mean) / std` with a rounding after each
    of the three operations, then `layout`. `mean` and `std` are in the channel order of `color` and in the
    units of `x * scale`. With dtype "uint8" the pixels are handed over as they are; scale, mean and std
    must then be 1, 0 and 1.
    """

    size_hw: tuple[int, int]
    color: Literal["rgb", "bgr", "gray"] = "rgb"
    resize: Literal["stretch", "letterbox", "center_crop"] = "stretch"
    interpolation: Literal["linear_exact", "nearest"] = "linear_exact"
    reduce: Literal["none", "halve"] = "none"
    pad_value: int = 114
    scale: float = 1.0 / 255.0
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    layout: Literal["nchw", "nhwc"] = "nchw"
    dtype: Literal["float32", "uint8"] = "float32"
    version: int = PREPROCESS_VERSION

    def __post_init__(self) -> None:
        """Refuse contradictions; raises SpecError naming the field."""
        if self.version != PREPROCESS_VERSION:
            raise SpecError(
                f"preprocess.version: this release reads version {PREPROCESS_VERSION}, found {self.version}; "
                "upgrade segproof or export the model again"
            )
        if len(self.size_hw) != 2 or min(self.size_hw) < 1:
            raise SpecError(f"preprocess.size_hw: expected two positive integers, found {self.size_hw}")
        if not 0 <= self.pad_value <= 255:
            raise SpecError(f"preprocess.pad_value: expected 0..255, found {self.pad_value}")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != self.channels:
                raise SpecError(f"preprocess.{name}: {self.color} has {self.channels} channel(s), found {len(values)}")
        if min(self.std) <= 0 or self.scale <= 0:
            raise SpecError("preprocess: scale and std must be positive")
        if self.dtype == "uint8" and not self.is_raw:
            raise SpecError("preprocess.dtype: uint8 tensors need scale 1, mean 0 and std 1")

    @property
    def channels(self) -> int:
        """Number of channels handed to the network."""
        return 1 if self.color == "gray" else 3

    @property
    def is_raw(self) -> bool:
        """Whether pixels pass unscaled and unnormalised (the graph does that itself)."""
        return self.scale == 1.0 and not any(self.mean) and all(value == 1.0 for value in self.std)

    @property
    def tensor_shape(self) -> tuple[int, int, int, int]:
        """Shape of the tensor for one image, in `layout` order."""
        height, width = self.size_hw
        return (1, self.channels, height, width) if self.layout == "nchw" else (1, height, width, self.channels)
