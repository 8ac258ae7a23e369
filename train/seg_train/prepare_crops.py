"""Cut pictures and masks to what certain classes cover, such as a face out of a portrait."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from seg_core.errors import ConfigError, ImageError
from seg_core.geometry import Roi
from seg_core.images import save_image
from seg_core.labels import LabelSet
from seg_core.sample_check import in_threads
from seg_core.samples import BadPairError, SamplePair, SampleProblem, load_pair
from seg_train.destination import open_destination

UInt8 = npt.NDArray[np.uint8]

#: Where the options of a directory of crops are kept.
OPTIONS_FILE = "crop-by-mask.json"


@dataclass
class CropReport:
    """How many pairs were cut, the pictures that hold none of the classes, and what could not be read."""

    cropped: int = 0
    without: list[Path] = field(default_factory=list)
    problems: list[SampleProblem] = field(default_factory=list)


def bounding_box(mask: UInt8, classes: Sequence[int], margin: float, square: bool = False) -> Roi | None:
    """Return the box around `classes` in a mask uint8 (H, W), None where they do not occur.

    It grows by `margin` of its height and width on every side and, with `square`, to equal sides where the picture has
    room; it never leaves the picture.
    """
    inside = np.isin(mask, classes)
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if rows.size == 0:
        return None
    spans = [(float(rows[0]), float(rows[-1] + 1)), (float(columns[0]), float(columns[-1] + 1))]
    spans = [(first - margin * (end - first), end + margin * (end - first)) for first, end in spans]
    if square:
        side = max(end - first for first, end in spans)
        spans = [((first + end - side) / 2, (first + end + side) / 2) for first, end in spans]
    (top, bottom), (left, right) = (
        (max(0, round(first)), min(size, round(end))) for (first, end), size in zip(spans, mask.shape, strict=True)
    )
    return Roi(top, left, bottom - top, right - left)


def crop_by_mask(
    pairs: Sequence[SamplePair],
    destination: Path,
    labels: LabelSet,
    classes: Sequence[int],
    margin: float = 0.2,
    square: bool = False,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CropReport:
    """Write what `bounding_box` leaves of each pair to `destination`/images and /masks, under the picture's name.

    Pictures without the classes, and pairs that cannot be read, are reported and left out. Raises ImageError when two
    pictures would get one name or a file cannot be written, ConfigError when one would overwrite its source or
    `destination` holds what another run has made.
    """
    targets = _plan_targets(pairs, destination)
    options = {"classes": sorted(labels.names[index] for index in classes), "margin": margin, "square": square}
    planned = [path for target in targets for path in (target, _mask_of(target))]
    open_destination(destination, OPTIONS_FILE, options, planned)
    jobs = list(zip(pairs, targets, strict=True))

    def crop(job: tuple[SamplePair, Path]) -> Path | SampleProblem | None:
        pair, target = job
        try:
            image_bgr, mask = load_pair(pair, labels)
        except BadPairError as error:
            return error.problem
        box = bounding_box(mask, classes, margin, square)
        if box is None:
            return pair.image
        save_image(target, np.ascontiguousarray(image_bgr[box.slices]))
        save_image(_mask_of(target), np.ascontiguousarray(mask[box.slices]))
        return None

    report = CropReport()
    for done, result in enumerate(in_threads(crop, jobs, threads), start=1):
        if isinstance(result, SampleProblem):
            report.problems.append(result)
        elif result is not None:
            report.without.append(result)
        else:
            report.cropped += 1
        if progress is not None:
            progress(done, len(pairs))
    return report


def _plan_targets(pairs: Sequence[SamplePair], destination: Path) -> list[Path]:
    targets = [destination / "images" / (pair.image.stem + _suffix_of(pair.image)) for pair in pairs]
    if len({target.stem for target in targets}) < len(targets):
        raise ImageError(f"{destination}: two pictures would get one name; crop one split at a time")
    if any(target.exists() and target.samefile(pair.image) for target, pair in zip(targets, pairs, strict=True)):
        raise ConfigError(f"{destination}: holds the source itself; choose another destination")
    return targets


def _mask_of(target: Path) -> Path:
    return target.parent.with_name("masks") / f"{target.stem}.png"


def _suffix_of(image: Path) -> str:
    """Keep lossless pictures lossless; the rest become JPEG."""
    return ".png" if image.suffix.lower() in (".png", ".bmp", ".tif", ".tiff") else ".jpg"
