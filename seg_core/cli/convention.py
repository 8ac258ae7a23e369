"""What a foreign checkpoint does not say: the options that state it, and the lines that say what was assumed."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

from seg_core.cli.command import click
from seg_core.convention import (
    StatedConvention,
    foreign_provenance,
    normalisation_text,
    provenance_lines,
)
from seg_core.label_sets import load_labels

Command = Callable[..., Any]


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
)


def _labels_option(name: str) -> Command:
    return click.option(
        name,
        "class_labels",
        metavar="NAME|FILE",
        help="Foreign checkpoints: their classes, a known label set or a JSON list of names.",
    )


def convention_options(command: Command) -> Command:
    """Give `command` the options --mean, --std, --color and --labels, which reach it as one `convention`."""
    return _gather(command, "--labels", ())


def model_options(labels_option: str = "--labels") -> Callable[[Command], Command]:
    """Give a command that runs models those options and --size, all in its `convention`.

    `labels_option` is their --labels where the command has another option of that name.
    """
    size = click.option(
        "--size",
        "input_size",
        callback=parse_size,
        metavar="HxW",
        help="Checkpoints: the input size; by default their own, which of a foreign one is assumed.",
    )
    return lambda command: _gather(command, labels_option, (size,))


def _gather(command: Command, labels_option: str, more: tuple[Command, ...]) -> Command:
    options = (*_OPTIONS, _labels_option(labels_option), *more)

    @functools.wraps(command)
    def gathered(
        *args: Any,
        mean: tuple[float, ...] | None,
        std: tuple[float, ...] | None,
        color: Literal["rgb", "bgr", "gray"] | None,
        class_labels: str | None,
        input_size: tuple[int, int] | None = None,
        **kwargs: Any,
    ) -> Any:
        if (mean is None) != (std is None):
            raise click.UsageError("--mean and --std belong together: give both")
        labels = None if class_labels is None else load_labels(class_labels, labels_option)
        convention = StatedConvention(mean, std, color, input_size, labels, class_labels or "")
        return command(*args, convention=convention, **kwargs)

    return functools.reduce(lambda function, option: option(function), reversed(options), gathered)


def say_convention(name: str, provenance: Mapping[str, Any], labels_option: str = "--labels") -> None:
    """Say on stderr what the foreign checkpoint `name` was taken for; nothing of a model that says it itself."""
    foreign = foreign_provenance(provenance)
    if foreign is None:
        return
    for heading, text in (
        ("checkpoint", name),
        ("normalise", f"{foreign['convention']['color']}, {normalisation_text(foreign['convention'])}"),
        *provenance_lines(foreign, labels_option=labels_option),
    ):
        click.echo(f"{heading:<13} {text}", err=True)
