"""Pairs of image and mask on disk, without torch: what training and evaluation both read.

The layout is `DIR/images/<stem>.<any image suffix>` with `DIR/masks/<stem>.png`. A mask holds one class index
a pixel (gray or palette PNG, 8 bit) at the size of its image.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from seg_core.errors import ImageError
from seg_core.images import list_images, load_image, load_mask
from seg_core.labels import LabelSet

_NAMED = 3  # how many offending files a message lists before it only counts them


@dataclass(frozen=True)
class SamplePair:
    """One image and the mask that belongs to it."""

    image: Path
    mask: Path


def list_pairs(data_dir: str | Path) -> list[SamplePair]:
    """Return the pairs of a data set directory, sorted by stem.

    Raises ImageError when `images/` or `masks/` is missing or empty, when a file on either side has no
    partner, or when two files share a stem; the message names the first few and says how many there are.
    """
    data_dir = Path(data_dir)
    images = _by_stem(list_images(_folder(data_dir, "images")))
    masks = _by_stem(path for path in list_images(_folder(data_dir, "masks")) if path.suffix.lower() == ".png")
    if not masks:
        raise ImageError(f"{data_dir / 'masks'}: no .png masks found")
    for here, there, kind in ((images, masks, "mask masks/<name>.png"), (masks, images, "image images/<name>.*")):
        lonely = [here[stem] for stem in sorted(here.keys() - there.keys())]
        if lonely:
            raise ImageError(f"{data_dir}: {len(lonely)} of {len(here)} files have no {kind}: {_list_names(lonely)}")
    return [SamplePair(images[stem], masks[stem]) for stem in sorted(images)]


def load_pair(pair: SamplePair, labels: LabelSet | None = None) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Read a pair as (image_bgr uint8 (H, W, 3), mask uint8 (H, W)).

    Raises ImageError when a file cannot be read, when the sizes differ (naming both files) or, with `labels`,
    when the mask holds a value that is neither a class nor `labels.ignore_index`.
    """
    image_bgr, mask = load_image(pair.image), load_mask(pair.mask)
    if image_bgr.shape[:2] != mask.shape:
        raise ImageError(
            f"{pair.mask}: the mask is {_size(mask)} but its image {pair.image} is {_size(image_bgr)}; "
            "an image and its mask must have the same size"
        )
    if labels is not None:
        _check_labels(mask, labels, pair.mask)
    return image_bgr, mask


def _check_labels(mask: npt.NDArray[np.uint8], labels: LabelSet, path: Path) -> None:
    present = np.flatnonzero(np.bincount(mask.ravel(), minlength=256))
    strange = [int(value) for value in present if value >= labels.num_classes and value != labels.ignore_index]
    if strange:
        shown = ", ".join(map(str, strange[:5])) + (", …" if len(strange) > 5 else "")
        raise ImageError(
            f"{path}: the mask holds {shown}; expected classes 0..{labels.num_classes - 1} "
            f"or {labels.ignore_index} (ignored)"
        )


def _folder(data_dir: Path, name: str) -> Path:
    if not data_dir.is_dir():
        raise ImageError(f"{data_dir}: no such directory; expected one that holds images/ and masks/")
    folder = data_dir / name
    if not folder.is_dir():
        nested = sorted(path.parent.name for path in data_dir.glob("*/images") if path.is_dir())
        hint = f"; did you mean {' or '.join(str(data_dir / split) for split in nested[:_NAMED])}?" if nested else ""
        raise ImageError(f"{data_dir}: has no folder {name}/; expected images/ and masks/ in it{hint}")
    return folder


def _by_stem(paths: Iterable[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in paths:
        if path.stem in found:
            raise ImageError(f"{path}: has the same stem as {found[path.stem].name}; which one the mask is for is open")
        found[path.stem] = path
    return found


def _list_names(paths: list[Path]) -> str:
    return ", ".join(path.name for path in paths[:_NAMED]) + (", …" if len(paths) > _NAMED else "")


def _size(pixels: npt.NDArray[np.uint8]) -> str:
    return f"{pixels.shape[0]}×{pixels.shape[1]} (height×width)"
