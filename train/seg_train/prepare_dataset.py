"""Bring a data set of any layout into folders of one size, once: `images/` and `masks/`, in splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from seg_core.atomic import replacing
from seg_core.errors import ConfigError, ImageError
from seg_core.images import load_mask, save_image
from seg_core.labels import LabelSet
from seg_core.sample_check import in_threads
from seg_core.sample_layouts import LayoutName, find_samples
from seg_core.samples import BadPairError, SamplePair, SampleProblem, check_labels, load_files
from seg_train.destination import SPLITS, open_destination

UInt8 = npt.NDArray[np.uint8]
Progress = Callable[[int, int], None]

#: Where the options of a prepared directory are kept, so that it is only gone on with under the same ones.
OPTIONS_FILE = "preprocess.json"


@dataclass(frozen=True)
class PrepareOptions:
    """What is done to each pair.

    `size_hw` None keeps sizes (pictures of part masks are reduced to them). `fractions` share the pairs out to train,
    val and test by a permutation that `seed` decides; empty puts all into one folder, and `own_splits` keeps the data
    set's. `suffix` is the format of pictures; masks are PNG.
    """

    layout: LayoutName = "auto"
    size_hw: tuple[int, int] | None = None
    fractions: tuple[float, ...] = ()
    own_splits: bool = False
    seed: int = 0
    suffix: str = ".jpg"


@dataclass
class PrepareReport:
    """What became of the pairs: how many of each split, how many were written now, and what could not be used.

    `pixels` and `images_with` are int64 (256,): how many pixels and images of the result hold each mask value.
    """

    layout: str
    splits: Counter[str] = field(default_factory=Counter)
    written: int = 0
    problems: list[SampleProblem] = field(default_factory=list)
    pixels: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    images_with: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))

    def count(self, mask: UInt8) -> None:
        """Add the pixels of one mask."""
        counted = np.bincount(mask.ravel(), minlength=256)
        self.pixels += counted
        self.images_with += counted > 0


class _Job(NamedTuple):
    """A pair of the split, and where it is written."""

    split: str
    pair: SamplePair
    image_path: Path
    mask_path: Path


def _plan(split: str, pair: SamplePair, destination: Path, options: PrepareOptions) -> _Job:
    folder, stem = destination / split, pair.image.stem
    return _Job(split, pair, folder / "images" / f"{stem}{options.suffix}", folder / "masks" / f"{stem}.png")


def prepare_dataset(
    source: Path,
    destination: Path,
    options: PrepareOptions,
    labels: LabelSet | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> PrepareReport:
    """Write the pairs of `source` to `destination`, leaving alone what an earlier run has finished.

    Pictures are resized by INTER_AREA where they shrink and INTER_LINEAR where they grow, masks by INTER_NEAREST.
    Pairs that cannot be used are reported, not raised. Raises ConfigError when `destination` was made with other
    options or from other pictures, and ImageError when `source` is no data set or a file cannot be written.
    """
    layout, by_split, problems = plan_splits(source, options)
    report = PrepareReport(layout, problems=problems)
    jobs = [_plan(split, pair, destination, options) for split, pairs in by_split.items() for pair in pairs]
    if destination.exists() and destination.samefile(source):
        raise ConfigError(f"{destination}: is the source itself; choose another destination")
    planned = [path for job in jobs for path in (job.image_path, job.mask_path)]
    open_destination(destination, OPTIONS_FILE, asdict(options), planned)

    def prepare(job: _Job) -> tuple[str, UInt8, bool] | SampleProblem:
        split, pair, image_path, mask_path = job
        if image_path.exists() and mask_path.exists():
            return split, load_mask(mask_path), False
        try:
            image, mask, untouched = _read_resized(pair, options.size_hw, labels)
        except BadPairError as error:
            return error.problem
        _write(image_path, image, pair.image, untouched)
        save_image(mask_path, mask)
        return split, mask, True

    for done, result in enumerate(in_threads(prepare, jobs, threads), start=1):
        if isinstance(result, SampleProblem):
            report.problems.append(result)
        else:
            split, mask, written = result
            report.splits[split or "all"] += 1
            report.written += written
            report.count(mask)
        if progress is not None:
            progress(done, len(jobs))
    return report


def plan_splits(source: Path, options: PrepareOptions) -> tuple[str, dict[str, list[SamplePair]], list[SampleProblem]]:
    """Return the layout, the pairs of each split ("" where there is one alone), and the files without partner.

    Raises ImageError when two pictures would get one name, or the data set has no splits of its own.
    """
    if options.own_splits:
        listings = {split: find_samples(source, options.layout, split) for split in _own_splits(source, options)}
        by_split = {split: listing.pairs for split, listing in listings.items()}
        images = [pair.image for pairs in by_split.values() for pair in pairs]
        if len(set(images)) < len(images):  # a folder of pairs stands for any split
            raise ImageError(f"{source}: has no splits of its own; share it out, as with --split 0.9,0.1")
    else:
        listings = {"": find_samples(source, options.layout)}
        by_split = _share_out(listings[""].pairs, options.fractions, options.seed)
    for pairs in by_split.values():
        _refuse_twins(pairs)
    problems = [problem for listing in listings.values() for problem in listing.problems]
    return next(iter(listings.values())).layout, by_split, problems


def _own_splits(source: Path, options: PrepareOptions) -> list[str]:
    found, reason = [], ""
    for split in SPLITS:
        try:
            find_samples(source, options.layout, split)
        except ImageError as error:
            reason = reason or str(error)
        else:
            found.append(split)
    if not found:
        raise ImageError(reason)
    return found


def _share_out(pairs: Sequence[SamplePair], fractions: Sequence[float], seed: int) -> dict[str, list[SamplePair]]:
    if not fractions:
        return {"": list(pairs)}
    order = np.random.default_rng(seed).permutation(len(pairs))
    ends = [0, *(round(len(pairs) * float(share)) for share in np.cumsum(fractions))]
    return {
        split: [pairs[index] for index in sorted(order[start:end].tolist())]
        for split, (start, end) in zip(SPLITS, pairwise(ends), strict=False)
    }


def _refuse_twins(pairs: Sequence[SamplePair]) -> None:
    seen: dict[str, Path] = {}
    for pair in pairs:
        twin = seen.setdefault(pair.image.stem, pair.image)
        if twin is not pair.image:
            raise ImageError(f"{pair.image}: would get the same name as {twin}; give the pictures different names")


def _read_resized(
    pair: SamplePair, size_hw: tuple[int, int] | None, labels: LabelSet | None
) -> tuple[UInt8, UInt8, bool]:
    """Return (image_bgr, mask) at `size_hw`, each straight from its own size, and whether the image is as it was."""
    image, mask = load_files(pair)
    if labels is not None:
        check_labels(mask, labels, pair.mask)
    (height, width), (mask_h, mask_w) = image.shape[:2], mask.shape
    if (height, width) != mask.shape and (pair.kind != "parts" or height * mask_w != width * mask_h):
        raise BadPairError(
            pair.mask, "size", f"{pair.mask}: the mask is {mask_h}×{mask_w} but its image is {height}×{width}"
        )
    resized = _resize(image, size_hw or mask.shape)
    return resized, _resize(mask, size_hw or mask.shape, cv2.INTER_NEAREST), resized is image


def _resize(pixels: UInt8, size_hw: tuple[int, ...], how: int | None = None) -> UInt8:
    height, width = size_hw
    if pixels.shape[:2] == (height, width):
        return pixels
    if how is None:
        how = cv2.INTER_AREA if height < pixels.shape[0] or width < pixels.shape[1] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=how), np.uint8)


def _write(path: Path, image: UInt8, original: Path, untouched: bool) -> None:
    """Write a picture; an untouched one in the same format is copied, not compressed a second time."""
    if not untouched or _format(original) != _format(path):
        save_image(path, image)
        return
    try:
        with replacing(path) as draft:
            draft.write_bytes(original.read_bytes())
    except OSError as error:
        raise ImageError(f"{path}: cannot be written ({error.strerror}); choose another directory") from None


def _format(path: Path) -> str:
    suffix = path.suffix.lower()
    return ".jpg" if suffix == ".jpeg" else suffix
