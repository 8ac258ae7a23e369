"""What `seg-predict` writes and reports.

The files are decided, and checked against what must not be overwritten, before any work is done.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seg_core.errors import ConfigError
from seg_core.geometry import Geometry
from seg_core.images import IMAGE_SUFFIXES
from seg_core.labels import LabelSet
from seg_core.video import VIDEO_SUFFIXES

#: What can be saved for each picture.
KINDS = ("overlay", "mask", "side")

_LOSSLESS = frozenset({".png", ".bmp", ".tif", ".tiff"})

Plan = Mapping[Path, Mapping[str, Path]]


def plan_outputs(source: Path, files: Sequence[Path], out: Path, kinds: Sequence[str], model: Path) -> Plan:
    """Return for each of `files` (found under `source`) the path of each kind.

    `out` is a file where it has the suffix of a picture or video and is no directory; otherwise it is a directory
    that gets `<name>_<kind>.png` (or `.mp4`). Raises ConfigError when two outputs would be one file, when an output
    is a source or the model, or when a kind cannot be written that way.
    """
    video = is_video(source)
    if video and "mask" in kinds:
        raise ConfigError("--save mask: a video would lose class indices to compression; save overlay or side")
    if out.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES and not out.is_dir():
        plan = {source: {kinds[0]: _single_file(source, out, kinds, video)}}
    else:
        if source.is_dir() and _same(source, out):
            raise ConfigError(f"--out {out}: is the source directory; its next run would take results for sources")
        suffix = ".mp4" if video else ".png"
        plan = {file: {kind: out / f"{file.stem}_{kind}{suffix}" for kind in kinds} for file in files}
    _refuse_clashes(plan, [*files, model])
    _refuse_unwritable(next(iter(next(iter(plan.values())).values())).parent)
    return plan


def make_directory(directory: Path) -> None:
    """Create `directory` with its parents; raises ConfigError naming it."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--out {directory}: cannot be created ({error.strerror})") from None


def is_video(source: Path) -> bool:
    """Say whether `source` is named like a video."""
    return source.suffix.lower() in VIDEO_SUFFIXES and not source.is_dir()


def make_record(
    source: Path,
    outputs: Mapping[str, Path],
    geometry: Geometry,
    counts: npt.NDArray[np.int64],
    labels: LabelSet,
    timings_ms: Mapping[str, float],
) -> dict[str, Any]:
    """Return what `--json` prints for one source; `counts` holds the pixels of each label value."""
    box = geometry.box
    return {
        "source": str(source),
        "outputs": {kind: str(path) for kind, path in outputs.items()},
        "size_hw": list(geometry.source_hw),
        "roi": [box.top, box.left, box.height, box.width],
        "class_pixels": {name: int(counts[index]) for index, name in enumerate(labels.names)},
        "timings_ms": {step: round(value, 3) for step, value in timings_ms.items()},
    }


def count_labels(labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Return int64 (256,): how many pixels hold each label value."""
    return np.bincount(labels.ravel(), minlength=256)


def _single_file(source: Path, out: Path, kinds: Sequence[str], video: bool) -> Path:
    if source.is_dir():
        raise ConfigError(f"--out {out}: names one file for a directory of images; name a directory")
    if len(kinds) > 1:
        raise ConfigError(f"--out {out}: names one file but --save asks for {', '.join(kinds)}; name a directory")
    if video != (out.suffix.lower() in VIDEO_SUFFIXES):
        raise ConfigError(f"--out {out}: {source.name} gives {'a video: name an .mp4' if video else 'an image'}")
    if kinds == ["mask"] and out.suffix.lower() not in _LOSSLESS:
        raise ConfigError(f"--out {out}: would lose class indices to compression; name a .png")
    return out


def _refuse_clashes(plan: Plan, protected: Sequence[Path]) -> None:
    kept = {_identity(path): path for path in protected if path.exists()}
    taken: dict[str, Path] = {}
    for source, outputs in plan.items():
        for path in outputs.values():
            # Folded, because macOS and Windows hold A_mask.png and a_mask.png for one file.
            key = str(path).casefold()
            if key in taken:
                raise ConfigError(f"{taken[key]} and {source} would both be written to {path}; rename one of them")
            taken[key] = source
            if path.exists() and _identity(path) in kept:
                raise ConfigError(f"--out {path}: would overwrite {kept[_identity(path)]}; choose another name")


def _refuse_unwritable(directory: Path) -> None:
    if directory.exists() and not directory.is_dir():
        raise ConfigError(f"--out {directory}: is a file, not a directory")
    nearest = next(parent for parent in (directory, *directory.absolute().parents) if parent.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise ConfigError(f"--out {directory}: cannot be written ({nearest} is not a writable directory)")


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _same(first: Path, second: Path) -> bool:
    return first.exists() and second.exists() and _identity(first) == _identity(second)
