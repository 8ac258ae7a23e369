"""`seg-data check`."""

from __future__ import annotations

import json
from pathlib import Path

from seg_core.cli.command import THREADS, SegCommand, click
from seg_core.cli.datasets import labels_option, layout_option, split_option
from seg_train.data_cli.reporting import (
    find_labels,
    frequencies,
    print_frequencies,
    print_problems,
    problems_json,
    refuse_problems,
)
from seg_train.reading_bar import reading_bar


@click.command(
    "check",
    cls=SegCommand,
    examples=[
        "seg-data check DATA/train --labels celebamask_hq",
        "seg-data check CamVid --split val --json",
        "seg-data check pairs.txt --labels labels.json",
    ],
)
@click.argument("path", type=click.Path(path_type=Path))
@layout_option
@split_option
@labels_option("the layout's, if it has one")
@click.option("--threads", type=THREADS, help="Files read at once.  [default: one a core]")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON on stdout.")
def check_command(
    path: Path, layout: str, split: str | None, labels: str | None, threads: int | None, as_json: bool
) -> None:
    """Read every pair of PATH and list all that training would stumble over.

    Found are files without partner, unreadable or truncated ones, sizes that differ, labels that are no classes (given
    a label set) and classes that never occur. Exits with 1 when a pair cannot be used.
    """
    run_check(path, layout, split, labels, threads, as_json)


def run_check(
    path: Path, layout: str, split: str | None, labels: str | None, threads: int | None, as_json: bool
) -> None:
    """Check, print, and raise FindingsError when a pair cannot be used."""
    from seg_core.sample_check import check_samples
    from seg_core.sample_layouts import find_samples

    listing = find_samples(path, layout, split)  # type: ignore[arg-type]  # click has checked the choice
    known = find_labels(labels, listing.layout)
    with reading_bar("checking") as advance:
        report = check_samples(listing.pairs, known, threads, advance)
    problems = [*listing.problems, *report.problems]
    rows = frequencies(report.pixels, report.images_with, known)
    click.echo(f"layout    {listing.layout}", err=as_json)
    click.echo(f"pairs     {len(report.pairs)} usable, {len(problems)} not", err=as_json)
    print_problems(problems, to_stderr=as_json)
    print_frequencies(rows, to_stderr=as_json)
    if as_json:
        found = {
            "schema_version": 1,
            "path": str(path),
            "layout": listing.layout,
            "pairs": len(report.pairs),
            "problems": problems_json(problems),
            "classes": rows,
        }
        click.echo(json.dumps(found, indent=2))
    refuse_problems(problems, "error")
