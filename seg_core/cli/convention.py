"""The options by which a command is told what a foreign checkpoint does not say."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any, Literal

from seg_core.cli.command import click
from seg_core.convention import StatedConvention, load_labels


def parse_size(_: click.Context, __: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """Read HEIGHTxWIDTH; a usage error when it is something else."""
    if value is None:
        return None
    match = re.fullmatch(r"([1-9]\d{0,4})[x×]([1-9]\d{0,4})", value.strip().lower())
    if match is None:
        raise click.BadParameter(f"{value!r} is not HEIGHTxWIDTH in pixels, such as 256x256")
    return int(match[1]), int(match[2])


def parse_numbers(_: click.Context, __: click.Parameter, value: str | None) -> tuple[float, ...] | None:
    """Read numbers with commas between them; a usage error when they are something else."""
    if value is None:
        return None
    try:
        return tuple(float(word) for word in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r}: expected numbers such as 0.485,0.456,0.406") from None


_OPTIONS = (
    click.option(
        "--mean",
        callback=parse_numbers,
        metavar="R,G,B",
        help="Foreign checkpoints: the mean of their input, in 0..1, or in 0..255 where a value is above 1.",
    ),
    click.option(
        "--std", callback=parse_numbers, metavar="R,G,B", help="Foreign checkpoints: the standard deviation, likewise."
    ),
    click.option(
        "--color",
        type=click.Choice(["rgb", "bgr", "gray"]),
        help="Foreign checkpoints: the order of their channels, and of --mean and --std.",
    ),
    click.option(
        "--labels",
        metavar="NAME|FILE",
        help="Foreign checkpoints: their classes, a known label set or a JSON list of names.",
    ),
)


def convention_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give `command` the options --mean, --std, --color and --labels, which reach it as one `convention`."""

    @functools.wraps(command)
    def gathered(
        *args: Any,
        mean: tuple[float, ...] | None,
        std: tuple[float, ...] | None,
        color: Literal["rgb", "bgr", "gray"] | None,
        labels: str | None,
        **kwargs: Any,
    ) -> Any:
        if (mean is None) != (std is None):
            raise click.UsageError("--mean and --std belong together: give both")
        label_set = None if labels is None else load_labels(labels)
        convention = StatedConvention(mean, std, color, labels=label_set, labels_from=labels or "")
        return command(*args, convention=convention, **kwargs)

    return functools.reduce(lambda function, option: option(function), reversed(_OPTIONS), gathered)
