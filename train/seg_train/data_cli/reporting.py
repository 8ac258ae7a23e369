"""How the tools that read data sets show what they find."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from seg_core.cli.command import click
from seg_core.errors import SegError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from seg_core.labels import LabelSet
    from seg_core.samples import SampleProblem

#: How many findings are printed; --json has all.
SHOWN = 20


class FindingsError(SegError):
    """A data set was read to its end and is not all as it should be."""


def find_labels(name: str | None, layout: str) -> LabelSet | None:
    """Return the label set of that name, or the one that `layout` comes with; None where nobody says."""
    from seg_core.label_sets import LAYOUT_LABELS, load_labels

    name = name or LAYOUT_LABELS.get(layout)
    return None if name is None else load_labels(name)


def frequencies(
    pixels: npt.NDArray[np.int64], images_with: npt.NDArray[np.int64], labels: LabelSet | None
) -> list[dict[str, Any]]:
    """Return a row a class: its value, name, share of all pixels that count, and in how many images it occurs.

    Without labels the values that occur are shown.
    """
    values = range(labels.num_classes) if labels else [int(value) for value in pixels.nonzero()[0]]
    counted = max(1, int(pixels[list(values)].sum()))
    return [
        {
            "value": value,
            "name": labels.names[value] if labels else str(value),
            "share": int(pixels[value]) / counted,
            "images": int(images_with[value]),
        }
        for value in values
    ]


def print_frequencies(rows: Sequence[dict[str, Any]], to_stderr: bool) -> None:
    """Print the table; a class that never occurs is marked."""
    for row in rows:
        note = "" if row["images"] else "   never occurs"
        click.echo(
            f"  {row['value']:>3} {row['name']:<16} {row['share']:8.3%}  {row['images']:>7} images{note}", err=to_stderr
        )


def print_problems(problems: Sequence[SampleProblem], to_stderr: bool) -> None:
    """Print the first problems, one a line."""
    for problem in problems[:SHOWN]:
        click.echo(f"  {problem.kind:<10} {problem.message}", err=to_stderr)
    if len(problems) > SHOWN:
        click.echo(f"  … and {len(problems) - SHOWN} more (--json has all)", err=to_stderr)


def problems_json(problems: Sequence[SampleProblem]) -> list[dict[str, str]]:
    """Return the problems as JSON types."""
    return [{"path": str(item.path), "kind": item.kind, "message": item.message} for item in problems]


def refuse_problems(problems: Sequence[SampleProblem], on_bad: str) -> None:
    """Raise FindingsError that counts the problems, unless they are to be skipped."""
    if problems and on_bad != "skip":
        raise FindingsError(
            f"{len(problems)} pairs cannot be used; mend them, or leave them out with --on-bad skip "
            f"(data.on_bad: skip in training); first {problems[0].message}"
        )
