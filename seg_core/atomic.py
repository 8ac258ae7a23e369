"""Write a file whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_DRAFT = ".seg-"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield the name of an empty draft beside `path`, and give it the name `path` when the block ends well.

    An error inside the block removes the draft and keeps an older `path`. The draft has the suffix of `path`. Raises
    OSError when the directory cannot be written.
    """
    draft = path.with_name(f"{_DRAFT}{os.getpid()}-{os.urandom(4).hex()}{path.suffix}")
    try:
        draft.touch(exist_ok=False)
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def remove_drafts(directory: Path) -> None:
    """Remove the drafts that killed processes left in `directory`, which no running one may be writing to."""
    for draft in directory.glob(f"{_DRAFT}*-*"):
        draft.unlink(missing_ok=True)
