"""Which pairs a data set gives, and how their masks are read: layouts, merged classes, sides put right, bad ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from seg_core.errors import ConfigError, ImageError
from seg_core.images import IMAGE_SUFFIXES
from seg_core.mask_reading import Decoded, MaskReading, UInt8
from seg_core.sample_check import Progress, in_threads
from seg_core.sample_layouts import LayoutName, find_samples, list_samples
from seg_core.samples import BadPairError, SamplePair, SampleProblem

#: What stays in memory: nothing, masks alone, or pictures and masks.
Keep = bool | Literal["masks"]

_NOTHING = np.empty((0, 0), np.uint8)


@dataclass(frozen=True)
class Places:
    """Where pairs are looked for: `paths` in `layout`, those in `shared` by `split`, since others read them too."""

    paths: tuple[Path, ...]
    layout: LayoutName = "auto"
    split: str | None = None
    shared: frozenset[Path] = frozenset()
    on_bad: Literal["error", "skip"] = "error"


@dataclass(frozen=True)
class PairSource:
    """The usable pairs, those that were left out, and what of the usable ones is kept decoded in memory.

    `presence` is bool (pairs, classes): which classes each mask holds, None until somebody has looked.
    """

    pairs: list[SamplePair]
    reading: MaskReading
    problems: list[SampleProblem] = field(default_factory=list)
    decoded: list[Decoded] | None = None
    masks: list[UInt8] | None = None
    presence: npt.NDArray[np.bool_] | None = None


def open_source(
    places: Places, reading: MaskReading, keep: Keep = False, progress: Progress | None = None
) -> PairSource:
    """List the pairs, and read them all where they are to be kept in memory or bad ones to be skipped.

    What is left out is decided here, before the first step, so that a resumed run leaves out the same. Raises
    ImageError: no data set, a bad pair unless it is to be skipped, or none left.
    """
    pairs, problems = _list(places)
    if not keep and places.on_bad == "error":
        return PairSource(pairs, reading)

    def read(pair: SamplePair) -> Decoded | BadPairError:
        try:
            image_bgr, mask = reading.read(pair)
        except BadPairError as error:
            return error
        return (image_bgr if keep is True else _NOTHING), (mask if keep else _NOTHING)

    usable, kept = [], []
    for done, (pair, result) in enumerate(zip(pairs, in_threads(read, pairs), strict=True), start=1):
        if isinstance(result, BadPairError):
            if places.on_bad == "error":
                raise result
            problems.append(result.problem)
        else:
            usable.append(pair)
            kept.append(result)
        if progress is not None:
            progress(done, len(pairs))
    if not usable:
        raise ImageError(f"{places.paths[0]}: none of {len(problems)} pairs can be used; first {problems[0].message}")
    masks = [mask for _, mask in kept] if keep == "masks" else None
    return PairSource(usable, reading, problems, kept if keep is True else None, masks)


def _list(places: Places) -> tuple[list[SamplePair], list[SampleProblem]]:
    pairs, problems = [], []
    for path in places.paths:
        split = places.split if path in places.shared else None
        if places.on_bad == "error":
            pairs += list_samples(path, places.layout, split)
        else:
            listing = find_samples(path, places.layout, split)
            pairs += listing.pairs
            problems += listing.problems
    return pairs, problems


def read_stems(path: Path | None) -> frozenset[str]:
    """Return the stems listed one a line in `path`, nothing for None; raises ConfigError when it cannot be read.

    A line may also be the name or path of an image. Stems may hold blanks and dots: no more than the suffix of an image
    is cut off.
    """
    if path is None:
        return frozenset()
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: data.swap_left_right cannot be read ({error})") from None
    names = [Path(line.strip()) for line in lines if line.strip()]
    return frozenset(name.stem if name.suffix.lower() in IMAGE_SUFFIXES else name.name for name in names)


def check_stems(path: Path | None, stems: frozenset[str], pairs: Sequence[SamplePair]) -> None:
    """Raise ConfigError where `path` lists `stems` and none of `pairs` has one: left and right would stay exchanged.

    One list may serve several splits, so that stems of other pictures are no mistake while some are of these.
    """
    if stems and not any(pair.image.stem in stems for pair in pairs):
        raise ConfigError(
            f"{path}: data.swap_left_right: none of its {len(stems)} stems, such as {min(stems)!r}, is that of a "
            f"training picture, such as {pairs[0].image.stem!r}; list one stem a line or leave it out"
        )


def shared_paths(first: Sequence[Path], second: Sequence[Path]) -> frozenset[Path]:
    """Return the data sets that both name; each then takes its own split of them."""
    return frozenset(first) & frozenset(second)
