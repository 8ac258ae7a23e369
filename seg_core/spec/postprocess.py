"""The postprocessing contract: from the network's output to a label map at source size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from seg_core.errors import SpecError


@dataclass(frozen=True)
class PostprocessSpec:
    """How logits or labels become a uint8 label map (H, W) at the size of the source image.

    `resize` says what is carried back to source size: "labels" (argmax first, then INTER_NEAREST) or
    "logits" (bilinear on the scores, then argmax: smoother edges, more work). Ties in argmax go to the
    lower class index. Pixels that the network never saw (outside the region of interest) get
    `outside_label`.
    """

    resize: Literal["labels", "logits"] = "labels"
    outside_label: int = 0

    def __post_init__(self) -> None:
        """Refuse labels outside uint8; raises SpecError."""
        if not 0 <= self.outside_label <= 255:
            raise SpecError(f"postprocess.outside_label: expected 0..255, found {self.outside_label}")
