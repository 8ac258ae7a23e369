"""The previous label map as one more channel: its pixel values, and its way from one frame of a video to the next.

Everything is integers, so every language gets the same channel:

- Labels travel at network size, uint8 (h, w), with `UNKNOWN` where nothing is known. Padding is always unknown.
- A frame with the geometry of the one before takes them as they are. With another region of a picture of the same size
  they go to source size and into the new region, both by NEAREST (`seg_core.geometry`); what was outside the old
  region is unknown. A picture of another size begins anew.
- The channel is `prior_values[label]`, and 0 for what is unknown and for labels without an entry.

This module needs numpy alone.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from seg_core.errors import SpecError
from seg_core.geometry import Geometry
from seg_core.spec import PreprocessSpec

UInt8 = npt.NDArray[np.uint8]

#: Label of pixels about which the previous frame says nothing; a model has at most 255 classes, so it is free.
UNKNOWN = 255


def even_values(num_classes: int) -> tuple[int, ...]:
    """Return `prior_values` that spread the classes evenly: `(label + 1) * (255 // num_classes)`."""
    step = 255 // num_classes
    return tuple((label + 1) * step for label in range(num_classes))


def prior_table(spec: PreprocessSpec) -> UInt8:
    """Return uint8 (256,): the channel's pixel value of each label."""
    table = np.zeros(256, np.uint8)
    table[: len(spec.prior_values)] = spec.prior_values
    return table


def check_prior(spec: PreprocessSpec, labels: UInt8 | None) -> None:
    """Raise SpecError unless `labels` are None, or uint8 at `spec.size_hw` under a contract that takes them."""
    if labels is None:
        return
    if not spec.has_prior:
        raise SpecError("prior: this contract takes no previous labels (its `prior` is 'none')")
    if labels.shape != spec.size_hw or labels.dtype != np.uint8:
        raise SpecError(f"prior: expected uint8 labels {spec.size_hw}, found {labels.dtype} {labels.shape}")


def blank_padding(labels: UInt8, geometry: Geometry) -> UInt8:
    """Return labels uint8 (h, w) of `geometry` with the padding `UNKNOWN`; the input itself where there is none."""
    if geometry.resized_hw == geometry.size_hw:
        return labels
    blanked = np.full(labels.shape, UNKNOWN, np.uint8)
    blanked[geometry.content.slices] = labels[geometry.content.slices]
    return blanked


def carry_labels(labels: UInt8, before: Geometry, after: Geometry) -> UInt8 | None:
    """Return labels uint8 (h, w) of a frame seen by `before` as the prior of one seen by `after`.

    The steps are those above. None when the pictures differ in size: their pixels have nothing to do with each other.
    """
    if before.source_hw != after.source_hw:
        return None
    if before == after:
        return blank_padding(labels, before)
    return after.project_labels(before.restore_labels(labels, UNKNOWN), UNKNOWN)
