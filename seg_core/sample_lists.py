"""Text files that list pairs: an image and its mask a line."""

from __future__ import annotations

import csv
from pathlib import Path

from seg_core.errors import ImageError
from seg_core.samples import SamplePair, SampleProblem


def read_sample_list(path: Path) -> tuple[list[SamplePair], list[SampleProblem]]:
    """Return the pairs in the order of the file, and those of which a file is missing.

    A `.csv` file has the two paths in its first two columns, with or without the heading `image,mask`; any other has
    them apart by a tab, a comma or spaces. Empty lines and lines that begin with `#` do not count. Paths are relative
    to the file. Where one is not there, its leading folders are dropped one by one, as lists that were made on
    another machine need it. Raises ImageError when the file cannot be read or a line is not a pair.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ImageError(f"{path}: the list cannot be read ({reason})") from None
    pairs, problems = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        fields = _fields(line.strip(), path)
        if [field.lower() for field in fields[:2]] in (["image", "mask"], ["image", "label"]):
            continue
        if len(fields) < 2 or not all(fields[:2]) or (len(fields) > 2 and path.suffix.lower() != ".csv"):
            raise ImageError(f"{path}: line {number} is {line.strip()[:60]!r}; expected an image and its mask")
        image, mask = (_located(path.parent, field) for field in fields[:2])
        missing = [file for file, found in ((fields[0], image), (fields[1], mask)) if found is None]
        if image is None or mask is None:
            lacking = f"{missing[0]} (line {number} of {path.name}): no such file"
            problems.append(SampleProblem(Path(missing[0]), "unpaired", lacking))
        else:
            pairs.append(SamplePair(image, mask))
    return pairs, problems


def _fields(line: str, path: Path) -> list[str]:
    if path.suffix.lower() == ".csv":
        return [field.strip() for field in next(csv.reader([line]))]
    for separator in ("\t", ","):
        if separator in line:
            return [field.strip() for field in line.split(separator)]
    return line.split()


def _located(folder: Path, name: str) -> Path | None:
    parts = Path(name).parts
    candidates = [folder / name, *(folder.joinpath(*parts[start:]) for start in range(1, len(parts)))]
    return next((candidate for candidate in candidates if candidate.is_file()), None)
