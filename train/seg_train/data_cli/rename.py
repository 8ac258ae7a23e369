"""`seg-data rename-checkpoint`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seg_core.cli.command import SegCommand, click
from seg_core.cli.convention import convention_options, parse_size
from seg_core.convention import StatedConvention
from seg_core.errors import ConfigError
from seg_core.runners.pytorch import require_torch

if TYPE_CHECKING:
    from seg_core.models.checkpoint import Checkpoint
    from seg_train.rename import RenamePlan

#: How many keys of a kind are printed; --json has all.
SHOWN = 6


def parse_pairs(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """Read OLD=NEW, either of which may be empty but not both; a usage error when it is something else."""
    pairs = {}
    for value in values:
        old, equals, new = value.partition("=")
        if not equals or not (old or new):
            raise click.BadParameter(f"{value!r} is not OLD=NEW, such as backbone.=cp.resnet.")
        pairs[old] = new
    return pairs


def parse_options(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    """Read KEY=VALUE with JSON values, bare words being strings and lists tuples; else a usage error."""
    options: dict[str, Any] = {}
    for key, text in parse_pairs(ctx, parameter, values).items():
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        options[key] = tuple(value) if isinstance(value, list) else value
    return options


@click.command(
    "rename-checkpoint",
    cls=SegCommand,
    examples=[
        "seg-data rename-checkpoint 79999_iter.pth face.pth --dry-run",
        "seg-data rename-checkpoint theirs.pth ours.pth --model bisenet_v1 --prefix-map backbone.=cp.resnet.",
        "seg-data rename-checkpoint theirs.pth ours.pth --map keys.json --labels names.json --mean 0.5 --std 0.5",
    ],
)
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("destination", type=click.Path(path_type=Path))
@click.option("--model", metavar="NAME", help="Architecture that the weights are for; by default the nearest.")
@click.option(
    "--prefix-map",
    "prefixes",
    multiple=True,
    callback=parse_pairs,
    metavar="OLD=NEW",
    help="Replace the beginning of keys. Repeatable; the longest that matches counts.",
)
@click.option(
    "--map", "map_file", type=click.Path(path_type=Path), metavar="FILE", help="JSON: old keys to new, null to drop."
)
@click.option("--drop", multiple=True, metavar="PREFIX", help="Leave out keys that begin so. Repeatable.")
@click.option(
    "-o",
    "--option",
    "options",
    multiple=True,
    callback=parse_options,
    metavar="KEY=VALUE",
    help="What of the architecture no weight tells, such as output_stride=8. Repeatable.",
)
@convention_options
@click.option("--size", callback=parse_size, metavar="HxW", help="The input size it was trained for.")
@click.option("--dry-run", is_flag=True, help="Show what would be renamed, missing and unexpected; write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output.")
def rename_command(
    source: Path,
    destination: Path,
    model: str | None,
    prefixes: dict[str, str],
    map_file: Path | None,
    drop: tuple[str, ...],
    options: dict[str, Any],
    convention: StatedConvention,
    size: tuple[int, int] | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Turn SOURCE, a checkpoint from elsewhere, into DESTINATION, one of ours, by mapping its keys.

    Module prefixes (module., model., net.), wrappers (state_dict, ema, …) and entries of the loss are taken off
    first. What SOURCE does not say (mean, deviation, colour order, classes, size) is assumed, printed and stored.
    Exits with 1 when the weights do not fit.
    """
    import dataclasses

    require_torch("reading a checkpoint")
    from seg_core.models.checkpoint import save_checkpoint
    from seg_train.rename import load_key_map, plan_rename

    if destination.exists() and source.exists() and destination.samefile(source):
        raise ConfigError(f"{destination}: is the source itself; choose another destination")
    plan = plan_rename(source, load_key_map(map_file, prefixes, drop), model, options)
    if as_json and not plan.fit.is_complete:
        click.echo(json.dumps(_as_json(plan, None, None), indent=2))
    _print_plan(plan, to_stderr=as_json)
    checkpoint = plan.to_checkpoint(dataclasses.replace(convention, size_hw=size))
    _print_contract(checkpoint, to_stderr=as_json)
    if not dry_run:
        save_checkpoint(destination, checkpoint)
    if as_json:
        click.echo(json.dumps(_as_json(plan, checkpoint, None if dry_run else destination), indent=2))
    outcome = "nothing written (--dry-run)" if dry_run else f"written to {destination}"
    click.echo(f"{'outcome':<13} fits; {outcome}", err=as_json)
    if not dry_run:
        click.echo(f"next:  seg-export {destination} --target all", err=as_json)


def _print_plan(plan: RenamePlan, to_stderr: bool) -> None:
    from seg_core.models.published_match import suggest_prefix

    fit = plan.fit
    _line("source", f"{plan.source} ({plan.foreign.read_from})", to_stderr)
    if plan.foreign.prefix:
        _line("prefix", f"{plan.foreign.prefix} taken off", to_stderr)
    _line("model", f"{fit.model.name}: {fit.fitting} of its {fit.total} entries fit", to_stderr)
    _list("renamed", [f"{old} → {new}" for old, new in plan.renamed], to_stderr)
    _list("left out", plan.foreign.dropped, to_stderr)
    _list("missing", fit.missing, to_stderr)
    _list("unexpected", fit.unexpected, to_stderr)
    _list("other shape", fit.reshaped, to_stderr)
    suggested = suggest_prefix(fit)
    if suggested:
        _line("try", f"--prefix-map {suggested}", to_stderr)


def _print_contract(checkpoint: Checkpoint, to_stderr: bool) -> None:
    from seg_core.convention import provenance_lines

    for heading, text in provenance_lines(checkpoint.provenance):
        if heading in ("stated", "assumed"):
            _line(heading, text, to_stderr)


def _line(heading: str, text: str, to_stderr: bool) -> None:
    click.echo(f"{heading:<13} {text}", err=to_stderr)


def _list(heading: str, entries: Any, to_stderr: bool) -> None:
    if not entries:
        return
    _line(heading, str(len(entries)), to_stderr)
    for entry in entries[:SHOWN]:
        click.echo(f"  {entry}", err=to_stderr)
    if len(entries) > SHOWN:
        click.echo(f"  … and {len(entries) - SHOWN} more", err=to_stderr)


def _as_json(plan: RenamePlan, checkpoint: Checkpoint | None, written: Path | None) -> dict[str, Any]:
    fit = plan.fit
    return {
        "schema_version": 1,
        "source": str(plan.source),
        "model": fit.model.name,
        "fits": fit.is_complete,
        "fitting": fit.fitting,
        "total": fit.total,
        "renamed": dict(plan.renamed),
        "left_out": plan.foreign.dropped,
        "missing": list(fit.missing),
        "unexpected": list(fit.unexpected),
        "reshaped": list(fit.reshaped),
        "provenance": checkpoint.provenance if checkpoint else None,
        "written": str(written) if written else None,
    }
