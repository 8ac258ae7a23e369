"""`seg-data average`."""

from __future__ import annotations

import json
from pathlib import Path

from seg_core.cli.command import SegCommand, click
from seg_core.errors import ConfigError
from seg_core.runners.pytorch import require_torch


def parse_weights(_: click.Context, __: click.Parameter, text: str | None) -> list[float] | None:
    """Read numbers separated by commas; a usage error when they are something else."""
    try:
        return None if text is None else [float(part) for part in text.split(",")]
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a list of numbers, such as 0.5,0.5") from None


@click.command(
    "average",
    cls=SegCommand,
    examples=[
        "seg-data average runs/face/best.pth runs/face_on/best.pth soup.pth",
        "seg-data average a.pth b.pth c.pth soup.pth --weights 0.45,0.45,0.1",
        "seg-eval soup.pth --data DATA/val",
    ],
)
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.argument("destination", type=click.Path(path_type=Path))
@click.option("--weights", callback=parse_weights, metavar="W,W,…", help="A factor for each source; equal by default.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output.")
def average_command(sources: tuple[Path, ...], destination: Path, weights: list[float] | None, as_json: bool) -> None:
    """Average the weights of SOURCES into DESTINATION: a model soup.

    The sources must be the same network with the same contract, trained on from common weights; then the average is
    often better than the best of them. Measure it before you believe it. DESTINATION must not be there yet: where it
    is forgotten, the last of the sources stands in its place.
    """
    require_torch("averaging checkpoints")
    _check_destination(sources, destination)
    from seg_core.models.checkpoint import save_checkpoint
    from seg_train.soup import average_checkpoints

    checkpoint = average_checkpoints(sources, weights)
    save_checkpoint(destination, checkpoint, half=True)
    if as_json:
        parts = [{"file": p["file"], "weight": p["weight"]} for p in checkpoint.provenance["average_of"]]
        click.echo(json.dumps({"schema_version": 1, "written": str(destination), "average_of": parts}, indent=2))
    click.echo(f"average of {len(sources)} checkpoints written to {destination}", err=as_json)
    click.echo(f"next:  seg-eval {destination} --data DATA/val", err=as_json)


def _check_destination(sources: tuple[Path, ...], destination: Path) -> None:
    if not destination.exists():
        return
    if any(source.exists() and destination.samefile(source) for source in sources):
        raise ConfigError(f"{destination}: is one of the sources; choose another destination")
    raise ConfigError(
        f"{destination}: is there already, and the last name is the destination's; add one, or remove the file first"
    )
