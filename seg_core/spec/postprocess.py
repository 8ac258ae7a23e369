"""The postprocessing contract: from the network's output to a label map at source size."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from seg_core.errors import SpecError
from seg_core.spec.io import OPTIONAL

_LARGEST_SCALE = 4


@dataclass(frozen=True)
class CrfSpec:
    """A fully connected CRF that moves label edges to edges of the picture (`seg_core.crf`).

    It works on the network's canvas (without padding) enlarged `scale` times. Both `_px` sigmas are in pixels of the
    canvas itself, so that they mean the same at every scale; `appearance_sigma_bgr` is in steps of the 8-bit samples.
    A weight of 0 leaves its kernel out, and its sigma is then of no account. The network's scores are its unary
    term; where the graph gives labels only, each label counts with the probability `label_confidence` inside its
    region, less towards its edge, and the other labels that occur share the rest.
    """

    iterations: int = 2
    smoothness_weight: float = 1.0
    smoothness_sigma_px: float = 0.5
    appearance_weight: float = 3.0
    appearance_sigma_px: float = 5.0
    appearance_sigma_bgr: float = 12.0
    scale: int = 2
    label_confidence: float = 0.8

    def __post_init__(self) -> None:
        """Refuse values outside their range; raises SpecError naming the field."""
        self._require("iterations", 1 <= self.iterations <= 100, "1..100")
        for name in ("smoothness_weight", "appearance_weight"):
            self._require(name, 0 <= getattr(self, name) <= 1000, "0..1000")
        self._require("smoothness_sigma_px", 0.1 <= self.smoothness_sigma_px <= 100, "0.1..100")
        for name in ("appearance_sigma_px", "appearance_sigma_bgr"):
            self._require(name, 0.1 <= getattr(self, name) <= 10_000, "0.1..10000")
        self._require("scale", 1 <= self.scale <= _LARGEST_SCALE, f"1..{_LARGEST_SCALE}")
        self._require("label_confidence", 0 < self.label_confidence < 1, "a number between 0 and 1")

    def _require(self, name: str, holds: bool, wanted: str) -> None:
        if not holds:
            raise SpecError(f"postprocess.crf.{name}: expected {wanted}, found {getattr(self, name)}")


@dataclass(frozen=True)
class PostprocessSpec:
    """How logits or labels become a uint8 label map (H, W) at the size of the source image.

    `resize` says what is carried back to source size: "labels" (argmax first, then INTER_NEAREST) or
    "logits" (bilinear on the scores, then argmax: smoother edges, more work). Ties in argmax go to the
    lower class index. Pixels that the network never saw (outside the region of interest) get
    `outside_label`. With `crf` the scores are refined before they are carried back, which needs the picture; None
    leaves them as they are.
    """

    resize: Literal["labels", "logits"] = "labels"
    outside_label: int = 0
    crf: CrfSpec | None = field(default=None, metadata=OPTIONAL)

    def __post_init__(self) -> None:
        """Refuse labels outside uint8; raises SpecError."""
        if not 0 <= self.outside_label <= 255:
            raise SpecError(f"postprocess.outside_label: expected 0..255, found {self.outside_label}")
