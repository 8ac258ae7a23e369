"""The preprocessing contract: everything between a decoded image and the network, as data."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from typing import Literal

from seg_core.errors import SpecError
from seg_core.spec.io import OPTIONAL

#: Version of a contract without a prior, and of one with it (docs/adr/0007).
PREPROCESS_VERSION = 1
PRIOR_VERSION = 2

#: ImageNet statistics for RGB in [0, 1] (He et al. and torchvision's published recipes).
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

#: Of the prior channel in [0, 1], for training: "nothing known" becomes 0, as what a convolution pads with, and the
#: classes spread over 0..4, about as far as the colours do.
PRIOR_MEAN = 0.0
PRIOR_STD = 0.25


@dataclass(frozen=True)
class PreprocessSpec:
    """How a BGR uint8 image (H, W, 3) becomes the network's input tensor.

    The order is fixed: crop to the region of interest, `reduce`, resize by policy, pad with `pad_value`,
    reorder to `color`, then per channel in float32 `((x * scale) - mean) / std` with a rounding after each
    of the three operations, then `layout`. `mean` and `std` are in the channel order of `color` and in the
    units of `x * scale`. With dtype "uint8" the pixels are handed over as they are; scale, mean and std
    must then be 1, 0 and 1.

    With `prior` "previous_labels" one more channel follows the colours: the label map of the previous frame of a
    video at `size_hw`, label k as the pixel value `prior_values[k]` (0..255, one a class), and 0 where nothing is
    known: everywhere in a first frame, in padding, and where a label has no entry. It is scaled and normalised as the
    colours are, by the last entry of `mean` and `std`. Such a contract has version 2; `version` 0 stands for the one
    that is due.
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
    version: int = 0
    prior: Literal["none", "previous_labels"] = field(default="none", metadata=OPTIONAL)
    prior_values: tuple[int, ...] = field(default=(), metadata=OPTIONAL)

    def __post_init__(self) -> None:
        """Fill in the version and refuse contradictions; raises SpecError naming the field."""
        self._check_version()
        self._check_prior()
        if len(self.size_hw) != 2 or min(self.size_hw) < 1:
            raise SpecError(f"preprocess.size_hw: expected two positive integers, found {self.size_hw}")
        if not 0 <= self.pad_value <= 255:
            raise SpecError(f"preprocess.pad_value: expected 0..255, found {self.pad_value}")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != self.channels:
                raise SpecError(f"preprocess.{name}: {self.source} has {self.channels} channel(s), found {len(values)}")
        self._check_constants()
        if self.dtype == "uint8" and not self.is_raw:
            raise SpecError("preprocess.dtype: uint8 tensors need scale 1, mean 0 and std 1")

    def _check_constants(self) -> None:
        """Refuse constants that are of no use as float32, in which they are used: a tiny double is zero there."""
        positive = [_as_float32(value) for value in (self.scale, *self.std)]
        finite = all(math.isfinite(value) for value in (*positive, *map(_as_float32, self.mean)))
        if min(positive) <= 0 or not finite:
            raise SpecError("preprocess: scale and std must be positive, and all constants finite, as float32")

    def _check_version(self) -> None:
        due = PREPROCESS_VERSION if self.prior == "none" else PRIOR_VERSION
        if self.version == 0:
            object.__setattr__(self, "version", due)
        if self.version not in (PREPROCESS_VERSION, PRIOR_VERSION):
            raise SpecError(
                f"preprocess.version: this release reads versions {PREPROCESS_VERSION} and {PRIOR_VERSION}, found "
                f"{self.version}; upgrade segproof or export the model again"
            )
        if self.version != due:
            raise SpecError(f"preprocess.version: prior {self.prior!r} is of version {due}, found {self.version}")

    def _check_prior(self) -> None:
        if self.has_prior != bool(self.prior_values):
            raise SpecError(
                f"preprocess.prior_values: prior {self.prior!r} takes {'one a class' if self.has_prior else 'none'}, "
                f"found {len(self.prior_values)}"
            )
        if any(not 0 <= value <= 255 for value in self.prior_values) or len(self.prior_values) > 255:
            raise SpecError("preprocess.prior_values: expected at most 255 pixel values of 0..255")

    @property
    def has_prior(self) -> bool:
        """Whether the previous label map is the last channel."""
        return self.prior != "none"

    @property
    def color_channels(self) -> int:
        """Number of channels that come from the picture; they are the first."""
        return 1 if self.color == "gray" else 3

    @property
    def channels(self) -> int:
        """Number of channels handed to the network."""
        return self.color_channels + self.has_prior

    @property
    def source(self) -> str:
        """What the channels come from, for messages: "rgb" or "rgb with a prior"."""
        return f"{self.color} with a prior" if self.has_prior else self.color

    @property
    def is_raw(self) -> bool:
        """Whether pixels pass unscaled and unnormalised (the graph does that itself)."""
        return self.scale == 1.0 and not any(self.mean) and all(value == 1.0 for value in self.std)

    @property
    def tensor_shape(self) -> tuple[int, int, int, int]:
        """Shape of the tensor for one image, in `layout` order."""
        height, width = self.size_hw
        return (1, self.channels, height, width) if self.layout == "nchw" else (1, height, width, self.channels)


def _as_float32(value: float) -> float:
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return math.inf
