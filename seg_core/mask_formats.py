"""Masks that are not yet one index map: part masks of CelebAMask-HQ and label ids of Cityscapes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from seg_core.errors import ImageError
from seg_core.images import load_mask

UInt8 = npt.NDArray[np.uint8]

#: How CelebAMask-HQ (Lee et al., CVPR 2020) names the files of classes 1..18, in the order of `labels.CELEBAMASK_HQ`,
#: which is the order in which the authors lay the parts over one another.
CELEBAMASK_PARTS = (
    "skin", "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear", "mouth", "u_lip", "l_lip",
    "hair", "hat", "ear_r", "neck_l", "neck", "cloth",
)  # fmt: skip

#: Ids of Cityscapes' label files for train ids 0..18 (Cordts et al., CVPR 2016).
_CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
_CITYSCAPES_LAST_ID = 33
_IGNORED = 255


def compose_parts(prefix: Path, parts: Sequence[int]) -> UInt8:
    """Return index masks uint8 (H, W) from the part masks `<prefix>_<part>.png` of the classes in `parts`.

    A part covers what is brighter than half; where parts overlap, the higher class lies on top. Pixels of no part
    are 0, the background. Raises ImageError when a file cannot be read or its size differs from the others'.
    """
    composed: UInt8 | None = None
    first = prefix
    for label in sorted(parts):
        path = part_path(prefix, label)
        part = load_mask(path)
        if composed is None:
            composed, first = np.zeros(part.shape, np.uint8), path
        if part.shape != composed.shape:
            raise ImageError(
                f"{path}: is {part.shape[0]}×{part.shape[1]} (height×width) but {first.name} is "
                f"{composed.shape[0]}×{composed.shape[1]}; the parts of one face must have one size"
            )
        composed[part > 127] = label
    if composed is None:
        raise ImageError(f"{prefix}_*.png: no part masks; expected at least {prefix.name}_skin.png")
    return composed


def part_path(prefix: Path, label: int) -> Path:
    """Return the file that holds class `label` (1..18) of the face whose part masks begin with `prefix`."""
    return prefix.with_name(f"{prefix.name}_{CELEBAMASK_PARTS[label - 1]}.png")


def load_cityscapes_ids(path: Path) -> UInt8:
    """Read a `_labelIds.png` as train ids uint8 (H, W): 0..18, and 255 for all that is not evaluated.

    Raises ImageError when the file cannot be read or holds an id beyond 33.
    """
    ids = load_mask(path)
    largest = int(ids[ids != _IGNORED].max(initial=0))
    if largest > _CITYSCAPES_LAST_ID:
        raise ImageError(f"{path}: holds the id {largest}; label ids of Cityscapes are 0..{_CITYSCAPES_LAST_ID}")
    return cityscapes_table()[ids]


def cityscapes_table() -> UInt8:
    """Return the 256-entry table from label ids to train ids."""
    table = np.full(256, _IGNORED, np.uint8)
    table[list(_CITYSCAPES_IDS)] = np.arange(len(_CITYSCAPES_IDS))
    return table
