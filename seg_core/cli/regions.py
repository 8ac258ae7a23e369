"""The `--roi` option: its spelling, and the region it means for each picture."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from seg_core.cli.command import click
from seg_core.errors import ImageError
from seg_core.geometry import Roi

if TYPE_CHECKING:
    from seg_core.faces import FaceFinder

_NUMBERS = re.compile(r"\s*\d+\s*(,\s*\d+\s*){2,3}", re.ASCII)


def parse_region(ctx: click.Context, param: click.Parameter, value: str) -> str | Roi:
    """Return "full", "face" or the Roi of "TOP,LEFT,SIDE" or "TOP,LEFT,HEIGHT,WIDTH"; else a usage error."""
    if value in ("full", "face"):
        return value
    if not _NUMBERS.fullmatch(value):
        raise click.BadParameter(f"{value!r} is none of full, face, TOP,LEFT,SIDE, TOP,LEFT,HEIGHT,WIDTH", ctx, param)
    numbers = [int(part) for part in value.split(",")]
    top, left, height, width = numbers if len(numbers) == 4 else (*numbers, numbers[2])
    try:
        return Roi(top, left, height, width)
    except ImageError as error:
        raise click.BadParameter(str(error), ctx, param) from None


class RegionChooser:
    """Give the region of each picture; with "face" a detector looks for it."""

    def __init__(self, choice: str | Roi) -> None:
        """Prepare for what `parse_region` returns; raises MissingDependencyError when "face" has no detector."""
        self.choice = choice
        self._finder: FaceFinder | None = None
        if choice == "face":
            from seg_core.faces import FaceFinder

            self._finder = FaceFinder()

    def choose(self, image_bgr: npt.NDArray[np.uint8]) -> tuple[Roi | None, str]:
        """Return the region (None: the whole picture) and a remark ("" mostly); raises ImageError without a face."""
        if self._finder is not None:
            found = self._finder.find(image_bgr)
            return found.roi, f"{found.faces} faces, took the largest" if found.faces > 1 else ""
        return (self.choice if isinstance(self.choice, Roi) else None), ""
