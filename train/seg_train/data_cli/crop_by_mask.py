"""`seg-data crop-by-mask`."""

from __future__ import annotations

import json
from pathlib import Path

from seg_core.cli.command import THREADS, SegCommand, click
from seg_core.cli.datasets import labels_option, layout_option, split_option
from seg_core.errors import ConfigError
from seg_train.data_cli.reporting import (
    find_labels,
    print_problems,
    problems_json,
    refuse_problems,
)
from seg_train.reading_bar import reading_bar


@click.command(
    "crop-by-mask",
    cls=SegCommand,
    examples=[
        "seg-data crop-by-mask DATA/train heads --labels celebamask_hq --classes hair,skin",
        "seg-data crop-by-mask CelebAMask-HQ heads --classes hair,skin,hat --margin 0.3 --square",
    ],
)
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("destination", type=click.Path(path_type=Path))
@click.option("--classes", required=True, metavar="NAME,NAME", help="What must be inside the box.")
@click.option(
    "--margin",
    type=click.FloatRange(0),
    default=0.2,
    show_default=True,
    help="Of the box's height and width, all round.",
)
@click.option("--square", is_flag=True, help="Grow the shorter side where the picture has room.")
@layout_option
@split_option
@labels_option("the layout's, if it has one")
@click.option("--on-bad", type=click.Choice(["error", "skip"]), default="error", show_default=True)
@click.option("--threads", type=THREADS, help="Files worked on at once.  [default: one a core]")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON on stdout.")
def crop_by_mask_command(
    source: Path,
    destination: Path,
    classes: str,
    margin: float,
    square: bool,
    layout: str,
    split: str | None,
    labels: str | None,
    on_bad: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Crop pictures and masks of SOURCE to the bounding box of chosen classes, into DESTINATION/images and /masks.

    Pictures without any of the classes are left out and counted.
    """
    from seg_core.labels import find_classes
    from seg_core.sample_layouts import find_samples
    from seg_train.prepare_crops import crop_by_mask

    listing = find_samples(source, layout, split)  # type: ignore[arg-type]  # click has checked the choice
    known = find_labels(labels, listing.layout)
    if known is None:
        raise ConfigError(
            f"{source}: the layout {listing.layout} names no classes; add --labels, such as celebamask_hq"
        )
    chosen = find_classes([name.strip() for name in classes.split(",")], known)
    with reading_bar("cropping") as advance:
        report = crop_by_mask(listing.pairs, destination, known, chosen, margin, square, threads, advance)
    problems = [*listing.problems, *report.problems]
    click.echo(f"cropped   {report.cropped}", err=as_json)
    click.echo(f"left out  {len(report.without)} without {classes}", err=as_json)
    click.echo(f"problems  {len(problems)}", err=as_json)
    print_problems(problems, to_stderr=as_json)
    if as_json:
        found = {
            "schema_version": 1,
            "destination": str(destination),
            "cropped": report.cropped,
            "without": [str(path) for path in report.without],
            "problems": problems_json(problems),
        }
        click.echo(json.dumps(found, indent=2))
    refuse_problems(problems, on_bad)
