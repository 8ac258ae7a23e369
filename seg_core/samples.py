"""Pairs of image and mask on disk, without torch: what training and evaluation both read.

`sample_layouts.list_samples` finds the pairs of every supported layout; `list_pairs` is the plain one of
`DIR/images/<stem>.<any image suffix>` with `DIR/masks/<stem>.png`. `load_pair` reads a pair of any of them. Read, a
mask holds one class index a pixel at the size of its image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from seg_core.errors import ImageError
from seg_core.images import list_images, load_image, load_mask
from seg_core.labels import LabelSet
from seg_core.mask_formats import compose_parts, load_cityscapes_ids

UInt8 = npt.NDArray[np.uint8]

#: From the size (height, width) of a pair to the fraction 1, 2, 4 or 8 at which its picture may be decoded.
Reduction = Callable[[tuple[int, int]], int]

_NAMED = 3  # how many offending files a message lists before it only counts them


@dataclass(frozen=True)
class SamplePair:
    """One image and the mask that belongs to it.

    `kind` says how the mask is stored: "index" is one file of class indices; "parts" one file for each class in
    `parts`, `mask` being what their names begin with (CelebAMask-HQ); "cityscapes_ids" one file of Cityscapes' ids.
    """

    image: Path
    mask: Path
    kind: Literal["index", "parts", "cityscapes_ids"] = "index"
    parts: tuple[int, ...] = ()


@dataclass(frozen=True)
class SampleProblem:
    """A file that cannot be used for training or evaluation, and why, in one line that names it."""

    path: Path
    kind: Literal["unpaired", "unreadable", "size", "labels"]
    message: str


class BadPairError(ImageError):
    """A pair cannot be used; `problem` says which kind of trouble it is."""

    def __init__(self, path: Path, kind: Literal["unpaired", "unreadable", "size", "labels"], message: str) -> None:
        """Describe the trouble with the file at `path`."""
        super().__init__(message)
        self.problem = SampleProblem(path, kind, message)


def list_pairs(data_dir: str | Path) -> list[SamplePair]:
    """Return the pairs of a data set directory, sorted by stem.

    Raises ImageError when `images/` or `masks/` is missing or empty, when a file on either side has no
    partner, or when two files share a stem; the message names the first few and says how many there are.
    """
    data_dir = Path(data_dir)
    pairs, problems = match_folders(data_dir)
    raise_unpaired(data_dir, pairs, problems)
    return pairs


def match_folders(data_dir: Path) -> tuple[list[SamplePair], list[SampleProblem]]:
    """Return the pairs in `images/` and `masks/`, and the files without a partner.

    Raises ImageError when a folder is missing or empty or two files share a stem.
    """
    images = by_stem(list_images(_folder(data_dir, "images")))
    masks = by_stem(path for path in list_images(_folder(data_dir, "masks")) if path.suffix.lower() == ".png")
    if not masks:
        raise ImageError(f"{data_dir / 'masks'}: no .png masks found")
    return match_stems(images, masks, "mask masks/<name>.png", "image images/<name>.*")


def match_stems(
    images: Mapping[str, Path], masks: Mapping[str, Path], mask_name: str, image_name: str
) -> tuple[list[SamplePair], list[SampleProblem]]:
    """Pair the files whose stems are equal; the rest are problems that say which partner they lack."""
    problems = [
        SampleProblem(here[stem], "unpaired", f"{here[stem]}: has no {partner}")
        for here, there, partner in ((images, masks, mask_name), (masks, images, image_name))
        for stem in sorted(here.keys() - there.keys())
    ]
    return [SamplePair(images[stem], masks[stem]) for stem in sorted(images.keys() & masks.keys())], problems


def raise_unpaired(place: Path, pairs: Sequence[SamplePair], problems: Sequence[SampleProblem]) -> None:
    """Raise ImageError that names the first few of `problems` and counts them; returns when there are none."""
    if not problems:
        return
    partner = problems[0].message.partition(": has no ")[2]
    if not partner:
        total = len(pairs) + len(problems)
        raise ImageError(f"{place}: {len(problems)} of {total} pairs lack a file; first {problems[0].message}")
    alike = [problem.path for problem in problems if problem.message.endswith(f": has no {partner}")]
    total = len(pairs) + len(alike)
    raise ImageError(f"{place}: {len(alike)} of {total} files have no {partner}: {_list_names(alike)}")


def load_pair(
    pair: SamplePair,
    labels: LabelSet | None = None,
    reduction: Reduction | None = None,
    known_mask: UInt8 | None = None,
) -> tuple[UInt8, UInt8]:
    """Read a pair as (image_bgr uint8 (H, W, 3), mask uint8 (H, W)).

    Part masks are laid into one index mask; they are half the size of their pictures, which are then reduced to it.
    `reduction` is told the size of the mask and may answer 2, 4 or 8: a JPEG then comes at that fraction of it.
    A `known_mask` is returned instead of being read.
    Raises BadPairError, an ImageError, when a file cannot be read, when the sizes differ (naming both files) or,
    with `labels`, when the mask holds a value that is neither a class nor `labels.ignore_index`.
    """
    if reduction is None and known_mask is None:
        image_bgr, mask = load_files(pair)
    else:
        image_bgr, mask = _load_mask_first(pair, reduction, known_mask)
    if pair.kind == "parts":
        image_bgr = _reduce_to(image_bgr, mask.shape)
    if image_bgr.shape[:2] != mask.shape and not (reduction and _is_reduced(image_bgr, mask, reduction)):
        raise BadPairError(
            pair.mask,
            "size",
            f"{pair.mask}: the mask is {_size(mask)} but its image {pair.image} is {_size(image_bgr)}; "
            "an image and its mask must have the same size",
        )
    if labels is not None:
        check_labels(mask, labels, pair.mask)
    return image_bgr, mask


def load_pair_mask(pair: SamplePair, labels: LabelSet | None = None) -> UInt8:
    """Read the mask of a pair alone, uint8 (H, W), as `load_pair` does; its image is not looked at, nor its size.

    Raises BadPairError when the file cannot be read or, with `labels`, holds a value that is not among them.
    """
    try:
        mask = _load_index_mask(pair)
    except ImageError as error:
        raise BadPairError(pair.mask, "unreadable", str(error)) from None
    if labels is not None:
        check_labels(mask, labels, pair.mask)
    return mask


def _load_mask_first(pair: SamplePair, reduction: Reduction | None, known_mask: UInt8 | None) -> tuple[UInt8, UInt8]:
    mask = load_pair_mask(pair) if known_mask is None else known_mask
    reduce = 1 if reduction is None or pair.kind == "parts" else reduction((mask.shape[0], mask.shape[1]))
    try:
        return load_image(pair.image, reduce), mask
    except ImageError as error:
        raise BadPairError(pair.image, "unreadable", str(error)) from None


def _is_reduced(image_bgr: UInt8, mask: UInt8, reduction: Reduction) -> bool:
    reduce = reduction((mask.shape[0], mask.shape[1]))
    return image_bgr.shape[:2] == tuple(-(-side // reduce) for side in mask.shape)


def load_files(pair: SamplePair) -> tuple[UInt8, UInt8]:
    """Read both files of a pair as they are, (image_bgr, mask), whose sizes may differ; raises BadPairError."""
    try:
        image_bgr = load_image(pair.image)
    except ImageError as error:
        raise BadPairError(pair.image, "unreadable", str(error)) from None
    return image_bgr, load_pair_mask(pair)


def _load_index_mask(pair: SamplePair) -> UInt8:
    if pair.kind == "parts":
        return compose_parts(pair.mask, pair.parts)
    if pair.kind == "cityscapes_ids":
        return load_cityscapes_ids(pair.mask)
    return load_mask(pair.mask)


def _reduce_to(image_bgr: UInt8, size_hw: tuple[int, ...]) -> UInt8:
    """Reduce a picture of the same aspect as `size_hw`; another one is left to the check of sizes."""
    (height, width), (wanted_h, wanted_w) = image_bgr.shape[:2], size_hw
    if height <= wanted_h or height * wanted_w != width * wanted_h:
        return image_bgr
    return np.asarray(cv2.resize(image_bgr, (wanted_w, wanted_h), interpolation=cv2.INTER_AREA), np.uint8)


def check_labels(mask: UInt8, labels: LabelSet, path: Path) -> None:
    """Raise BadPairError when the mask at `path` holds a value that is neither a class nor ignored."""
    if int(mask.max()) < labels.num_classes:  # nearly always so, and found in a fraction of a histogram's time
        return
    wrong = np.ones(256, np.uint8)
    wrong[: labels.num_classes] = wrong[labels.ignore_index] = 0
    if not cv2.LUT(mask, wrong).any():
        return
    present = np.flatnonzero(np.bincount(mask.ravel(), minlength=256))
    strange = [int(value) for value in present if value >= labels.num_classes and value != labels.ignore_index]
    if strange:
        shown = ", ".join(map(str, strange[:5])) + (", …" if len(strange) > 5 else "")
        raise BadPairError(
            path,
            "labels",
            f"{path}: the mask holds {shown}; expected classes 0..{labels.num_classes - 1} "
            f"or {labels.ignore_index} (ignored)",
        )


def _folder(data_dir: Path, name: str) -> Path:
    if not data_dir.is_dir():
        raise ImageError(f"{data_dir}: no such directory; expected one that holds images/ and masks/")
    folder = data_dir / name
    if not folder.is_dir():
        raise ImageError(
            f"{data_dir}: has no folder {name}/; expected images/ and masks/ in it{_hint_at_splits(data_dir)}"
        )
    return folder


def _hint_at_splits(data_dir: Path) -> str:
    """Return "; did you mean …?" where folders of `data_dir` hold images/, else nothing."""
    nested = sorted(path.parent.name for path in data_dir.glob("*/images") if path.is_dir())
    return f"; did you mean {' or '.join(str(data_dir / split) for split in nested[:_NAMED])}?" if nested else ""


def by_stem(paths: Iterable[Path]) -> dict[str, Path]:
    """Return the files by stem; raises ImageError when two share one."""
    found: dict[str, Path] = {}
    for path in paths:
        if path.stem in found:
            raise ImageError(f"{path}: has the same stem as {found[path.stem].name}; which one the mask is for is open")
        found[path.stem] = path
    return found


def _list_names(paths: list[Path]) -> str:
    return ", ".join(path.name for path in paths[:_NAMED]) + (", …" if len(paths) > _NAMED else "")


def _size(pixels: UInt8) -> str:
    return f"{pixels.shape[0]}×{pixels.shape[1]} (height×width)"
