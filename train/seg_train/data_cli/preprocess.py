"""`seg-data preprocess`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seg_core.cli.command import THREADS, SegCommand, click
from seg_core.cli.convention import parse_size
from seg_core.cli.datasets import labels_option, layout_option
from seg_train.data_cli.check import run_check
from seg_train.data_cli.reporting import (
    find_labels,
    frequencies,
    print_frequencies,
    print_problems,
    problems_json,
    refuse_problems,
)
from seg_train.reading_bar import reading_bar

if TYPE_CHECKING:
    from seg_train.prepare_dataset import PrepareReport

OWN = "own"


def parse_side(context: click.Context, option: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """Read one number for both sides, or HEIGHTxWIDTH."""
    return parse_size(context, option, f"{value}x{value}" if value is not None and value.isdecimal() else value)


def parse_split(_: click.Context, __: click.Parameter, value: str | None) -> str | tuple[float, ...]:
    """Read "own" or fractions such as 0.9,0.1; a usage error when they are not two or three that sum to 1."""
    if value is None or value == OWN:
        return value or ()
    try:
        fractions = tuple(float(part) for part in value.split(","))
    except ValueError:
        fractions = ()
    if len(fractions) not in (2, 3) or min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise click.BadParameter(f"expected fractions for train,val[,test] that sum to 1, or {OWN!r}; found {value!r}")
    return fractions


@click.command(
    "preprocess",
    cls=SegCommand,
    examples=[
        "seg-data preprocess CelebAMask-HQ faces --size 512 --split 0.9,0.1",
        "seg-data preprocess CelebAMask-HQ faces --size 256 --split own --json",
        "seg-data preprocess CelebAMask-HQ --check",
    ],
)
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("destination", type=click.Path(path_type=Path), required=False)
@layout_option
@labels_option("the layout's, if it has one")
@click.option("--size", metavar="N|HxW", callback=parse_side, help="Size of the result.  [default: as it is]")
@click.option(
    "--split", "split", callback=parse_split, metavar="0.9,0.1", help='Fractions of train,val[,test], or "own".'
)
@click.option("--seed", type=int, default=0, show_default=True, help="Decides which pairs go where.")
@click.option(
    "--image-format", type=click.Choice(["jpg", "png", "webp"]), default="jpg", show_default=True, help="Of pictures."
)
@click.option("--check", is_flag=True, help="Write nothing, list every problem of SOURCE.")
@click.option(
    "--on-bad",
    type=click.Choice(["error", "skip"]),
    default="error",
    show_default=True,
    help="Whether pairs that cannot be used fail the command in the end; the others are written either way.",
)
@click.option("--threads", type=THREADS, help="Files worked on at once.  [default: one a core]")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON on stdout.")
def preprocess_command(
    source: Path,
    destination: Path | None,
    layout: str,
    labels: str | None,
    size: tuple[int, int] | None,
    split: str | tuple[float, ...],
    seed: int,
    image_format: str,
    check: bool,
    on_bad: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Write SOURCE, a data set in any layout, as images/ and masks/ in DESTINATION.

    Part masks become index masks; pictures are resized by area or linearly, masks to the nearest label. With --split
    they are shared out to train/, val/ and test/. An interrupted run goes on where it stopped.
    """
    if check:
        run_check(source, layout, None, labels, threads, as_json)
        return
    if destination is None:
        raise click.UsageError("Missing argument 'DESTINATION' (only --check does without).")
    from seg_train.prepare_dataset import PrepareOptions, plan_splits, prepare_dataset

    fractions = () if isinstance(split, str) else split
    options = PrepareOptions(layout, size, fractions, split == OWN, seed, f".{image_format}")  # type: ignore[arg-type]
    known = find_labels(labels, plan_splits(source, options)[0])
    with reading_bar("preparing") as advance:
        report = prepare_dataset(source, destination, options, known, threads, advance)
    rows = frequencies(report.pixels, report.images_with, known)
    _print_report(report, rows, to_stderr=as_json)
    if as_json:
        click.echo(json.dumps(_as_json(report, rows, destination), indent=2))
    refuse_problems(report.problems, on_bad)


def _print_report(report: PrepareReport, rows: list[dict[str, Any]], to_stderr: bool) -> None:
    shown = ", ".join(f"{count} {split}" for split, count in report.splits.items()) or "none"
    done = sum(report.splits.values())
    click.echo(f"layout    {report.layout}", err=to_stderr)
    click.echo(f"pairs     {shown}", err=to_stderr)
    click.echo(f"written   {report.written} now, {done - report.written} before", err=to_stderr)
    click.echo(f"problems  {len(report.problems)}", err=to_stderr)
    print_problems(report.problems, to_stderr)
    print_frequencies(rows, to_stderr)


def _as_json(report: PrepareReport, rows: list[dict[str, Any]], destination: Path) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "destination": str(destination),
        "layout": report.layout,
        "splits": dict(report.splits),
        "written": report.written,
        "problems": problems_json(report.problems),
        "classes": rows,
    }
