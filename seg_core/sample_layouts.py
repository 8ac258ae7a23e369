"""The layouts that data sets come in, and the pairs in each; without torch.

- folders: `images/<stem>.*` and `masks/<stem>.png`, or both inside `<split>/`.
- celebamask_hq: `CelebA-HQ-img/<n>.jpg` and `CelebAMask-HQ-mask-anno/<n // 2000>/<nnnnn>_<part>.png`; the splits are
  CelebA's own, by `CelebA-HQ-to-CelebA-mapping.txt`.
- camvid: SegNet's `<split>/*.png` and `<split>annot/*.png`, or `<split>.txt` with image and mask a line.
- cityscapes: `leftImg8bit/<split>/<city>/*_leftImg8bit.png` and `gtFine/<split>/<city>/*_gtFine_labelTrainIds.png`, or
  `_labelIds.png`, which are mapped to train ids.
- list: a text or CSV file with image and mask a line.

A path may name the data set (then `split` chooses) or the folder of one split in it, such as `CamVid/train` or
`leftImg8bit/val`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from seg_core.errors import ConfigError, ImageError
from seg_core.images import list_images
from seg_core.mask_formats import CELEBAMASK_PARTS, part_path
from seg_core.sample_lists import read_sample_list
from seg_core.samples import (
    SamplePair,
    SampleProblem,
    by_stem,
    match_folders,
    match_stems,
    raise_unpaired,
)

LayoutName = Literal["auto", "folders", "celebamask_hq", "camvid", "cityscapes", "list"]

# CelebA's own partition, by the index of the original photograph (list_eval_partition.txt).
_CELEBA_FIRST_VAL, _CELEBA_FIRST_TEST = 162771, 182638


@dataclass(frozen=True)
class SampleListing:
    """The pairs found at a path, the layout they lie in, and the files that have no partner."""

    layout: str
    pairs: list[SamplePair]
    problems: list[SampleProblem]


@dataclass(frozen=True)
class _Layout:
    looks_for: str
    matches: Callable[[Path], bool]
    find: Callable[[Path, str | None], tuple[list[SamplePair], list[SampleProblem]]]


def list_samples(path: str | Path, layout: LayoutName = "auto", split: str | None = None) -> list[SamplePair]:
    """Return the pairs of the data set at `path`, sorted by name; a list file keeps its order.

    `split` ("train", "val", "test") chooses a part of a data set that knows its own. Raises ImageError in one line
    when nothing is found, the layout is not recognised (saying what was looked for), a split is missing or empty, or
    a file has no partner.
    """
    listing = find_samples(path, layout, split)
    raise_unpaired(Path(path), listing.pairs, listing.problems)
    return listing.pairs


def find_samples(path: str | Path, layout: LayoutName = "auto", split: str | None = None) -> SampleListing:
    """Return what `list_samples` does, with files that lack a partner told apart instead of refused.

    Raises ImageError as `list_samples` does for everything else, and when no pair is left.
    """
    path = Path(path)
    if not path.exists():
        raise ImageError(f"{path}: no such file or directory; expected a data set")
    name = detect_layout(path) if layout == "auto" else layout
    if name not in _LAYOUTS:
        raise ConfigError(f"layout: unknown {name!r}; known: {', '.join(get_args(LayoutName))}")
    pairs, problems = _LAYOUTS[name].find(path, split)
    if not pairs:
        raise_unpaired(path, pairs, problems)
        which = f"split {split!r}" if split else "data set"
        raise ImageError(f"{path}: the {which} is empty (layout {name})")
    return SampleListing(name, pairs, problems)


def detect_layout(path: Path) -> str:
    """Return the name of the layout of `path`; raises ImageError that lists what was looked for."""
    for name, layout in _LAYOUTS.items():
        if layout.matches(path):
            return name
    if any(path.glob("*/images")):  # its splits are folders; what to name is said when none is chosen
        return "folders"
    looked_for = "; ".join(f"{layout.looks_for} ({name})" for name, layout in _LAYOUTS.items())
    raise ImageError(f"{path}: not a known data set layout; looked for {looked_for}")


def _find_in_folders(path: Path, split: str | None) -> tuple[list[SamplePair], list[SampleProblem]]:
    if split is not None and (path / split).is_dir():
        return match_folders(path / split)
    if split is not None and not (path / "images").is_dir():
        raise ImageError(f"{path}: has no folder {split}/ with images/ and masks/ in it")
    return match_folders(path)


def _find_in_celebamask(path: Path, split: str | None) -> tuple[list[SamplePair], list[SampleProblem]]:
    faces = by_stem(list_images(_needed(path / "CelebA-HQ-img", "celebamask_hq")))
    wanted = None if split is None else _celeba_split(path, split)
    labels = {name: label for label, name in enumerate(CELEBAMASK_PARTS, start=1)}
    parts: dict[int, list[int]] = {}
    prefixes: dict[int, Path] = {}
    for mask in sorted(_needed(path / "CelebAMask-HQ-mask-anno", "celebamask_hq").glob("*/*.png")):
        number, _, part = mask.stem.partition("_")
        if number.isdecimal() and part in labels:
            parts.setdefault(int(number), []).append(labels[part])
            prefixes[int(number)] = mask.with_name(number)
    pairs, problems = [], []
    for stem in sorted(faces, key=lambda stem: (len(stem), stem)):
        face = int(stem) if stem.isdecimal() else -1
        if wanted is not None and face not in wanted:
            continue
        if face in parts:
            pairs.append(SamplePair(faces[stem], prefixes[face], "parts", tuple(sorted(parts[face]))))
        else:
            lacking = f"{faces[stem]}: has no part masks CelebAMask-HQ-mask-anno/*/<number>_<part>.png"
            problems.append(SampleProblem(faces[stem], "unpaired", lacking))
    known = {int(stem) for stem in faces if stem.isdecimal()}
    for face in sorted(parts.keys() - known):
        if wanted is None or face in wanted:
            mask = part_path(prefixes[face], parts[face][0])
            problems.append(SampleProblem(mask, "unpaired", f"{mask}: has no image CelebA-HQ-img/<number>.jpg"))
    return pairs, problems


def _celeba_split(path: Path, split: str) -> set[int]:
    """Return the numbers of the faces in CelebA's own split, read from the mapping that comes with the data."""
    mapping = path / "CelebA-HQ-to-CelebA-mapping.txt"
    try:
        rows = [line.split() for line in mapping.read_text(encoding="utf-8").splitlines()[1:] if line.strip()]
        originals = {int(row[0]): int(row[1]) for row in rows}
    except OSError:
        raise ImageError(
            f"{mapping}: needed to tell the split {split!r} and not there; use `seg-data preprocess` or list files"
        ) from None
    except (ValueError, IndexError):
        raise ImageError(f"{mapping}: expected the columns idx, orig_idx, orig_file after one heading") from None
    first, end = {
        "train": (0, _CELEBA_FIRST_VAL),
        "val": (_CELEBA_FIRST_VAL, _CELEBA_FIRST_TEST),
        "test": (_CELEBA_FIRST_TEST, 1 << 30),
    }.get(split, (0, 0))
    return {face for face, original in originals.items() if first <= original < end}


def _find_in_camvid(path: Path, split: str | None) -> tuple[list[SamplePair], list[SampleProblem]]:
    if path.with_name(path.name + "annot").is_dir():
        return _match_camvid(path, path.with_name(path.name + "annot"))
    splits = sorted(
        {folder.name.removesuffix("annot") for folder in path.glob("*annot") if folder.is_dir()}
        | {file.stem for file in path.glob("*.txt") if file.stem in ("train", "val", "test", "trainval")}
    )
    split = _chosen(path, split, splits, lambda name: str(path / name))
    if (path / f"{split}annot").is_dir():
        return _match_camvid(_needed(path / split, "camvid"), path / f"{split}annot")
    return read_sample_list(path / f"{split}.txt")


def _match_camvid(images: Path, masks: Path) -> tuple[list[SamplePair], list[SampleProblem]]:
    there = f"{masks.name}/<name>.png", f"image {images.name}/<name>.*"
    return match_stems(by_stem(list_images(images)), by_stem(list_images(masks)), f"mask {there[0]}", there[1])


def _find_in_cityscapes(path: Path, split: str | None) -> tuple[list[SamplePair], list[SampleProblem]]:
    if path.parent.name == "leftImg8bit":
        root, split = path.parent.parent, path.name
    else:
        root = path.parent if path.name == "leftImg8bit" else path
    frames = _needed(root / "leftImg8bit", "cityscapes")
    splits = sorted(folder.name for folder in frames.iterdir() if folder.is_dir())
    split = _chosen(root, split, splits, lambda name: str(frames / name))
    truth = _needed(root / "gtFine" / split, "cityscapes")
    pairs, problems = [], []
    for image in sorted((frames / split).glob("*/*_leftImg8bit.*")):
        base = truth / image.parent.name / image.stem.removesuffix("_leftImg8bit")
        train_ids = base.with_name(f"{base.name}_gtFine_labelTrainIds.png")
        ids = base.with_name(f"{base.name}_gtFine_labelIds.png")
        if train_ids.is_file():
            pairs.append(SamplePair(image, train_ids))
        elif ids.is_file():
            pairs.append(SamplePair(image, ids, "cityscapes_ids"))
        else:
            wanted = f"mask gtFine/{split}/<city>/<name>_gtFine_labelTrainIds.png or _labelIds.png"
            problems.append(SampleProblem(image, "unpaired", f"{image}: has no {wanted}"))
    return pairs, problems


def _chosen(path: Path, split: str | None, splits: list[str], example: Callable[[str], str]) -> str:
    if split in splits:
        return str(split)
    if split is None and len(splits) == 1:
        return splits[0]
    problem = "holds several splits" if split is None else f"has no split {split!r}"
    shown = " or ".join(example(name) for name in splits) or "nothing"
    raise ImageError(f"{path}: {problem}; name one: {shown}")


def _needed(folder: Path, layout: str) -> Path:
    if not folder.is_dir():
        raise ImageError(f"{folder}: no such directory; the layout {layout} has {_LAYOUTS[layout].looks_for}")
    return folder


def _is_camvid(path: Path) -> bool:
    return (
        path.with_name(path.name + "annot").is_dir()
        or any(folder.is_dir() for folder in path.glob("*annot"))
        or any((path / f"{split}.txt").is_file() for split in ("train", "val", "test"))
    )


def _read_list(path: Path, split: str | None) -> tuple[list[SamplePair], list[SampleProblem]]:
    return read_sample_list(path if split is None or path.is_file() else path / f"{split}.txt")


_LAYOUTS = {
    "list": _Layout("a .txt or .csv file with image and mask a line", Path.is_file, _read_list),
    "folders": _Layout(
        "images/ and masks/", lambda path: any((path / name).is_dir() for name in ("images", "masks")), _find_in_folders
    ),
    "celebamask_hq": _Layout(
        "CelebA-HQ-img/ and CelebAMask-HQ-mask-anno/",
        lambda path: (path / "CelebAMask-HQ-mask-anno").is_dir(),
        _find_in_celebamask,
    ),
    "cityscapes": _Layout(
        "leftImg8bit/ and gtFine/",
        lambda path: (path / "leftImg8bit").is_dir() or "leftImg8bit" in (path.name, path.parent.name),
        _find_in_cityscapes,
    ),
    "camvid": _Layout("<split>/ and <split>annot/ or <split>.txt", _is_camvid, _find_in_camvid),
}
