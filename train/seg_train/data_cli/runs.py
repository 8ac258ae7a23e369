"""`seg-data runs`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seg_core.cli.command import SegCommand, click
from seg_core.runners.pytorch import require_torch

if TYPE_CHECKING:
    from seg_train.run_records import Recipe, RunRecord


@click.command(
    "runs",
    cls=SegCommand,
    examples=[
        "for seed in 0 1 2; do seg-train --config my.yaml -o solver.seed=$seed -o output=runs/my-$seed; done",
        "seg-data runs runs/my-0 runs/my-1 runs/my-2",
        "seg-data runs runs/* --out benchmarks/results/training --json",
    ],
)
@click.argument("directories", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Write a JSON file a run into DIR.")
@click.option("--json", "as_json", is_flag=True, help="Print the recipes as JSON on standard output.")
def runs_command(directories: tuple[Path, ...], out: Path | None, as_json: bool) -> None:
    """Tell what runs reached: the best validation mIoU of each recipe, as mean and range over its seeds.

    RUN is the output directory of a seg-train run. Runs that differ by nothing but their seed are one recipe.
    """
    require_torch("reading checkpoints")
    from seg_train.run_records import group_runs, read_run

    runs = [read_run(directory) for directory in directories]
    recipes = group_runs(runs)
    if out is not None:
        _write(out, runs)
    if as_json:
        content: dict[str, Any] = {"schema_version": 1, "recipes": [recipe.to_json() for recipe in recipes]}
        click.echo(json.dumps(content, indent=2))
    click.echo(_table(recipes), err=as_json)


def _write(folder: Path, runs: list[RunRecord]) -> None:
    from seg_core.atomic import replacing
    from seg_core.errors import SegError

    names = [run.name for run in runs]
    twins = sorted({name for name in names if names.count(name) > 1})
    if twins:
        raise SegError(f"{folder}: {twins[0]}.json would be written twice; give the runs directories of other names")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, run in zip(names, runs, strict=True):
            with replacing(folder / f"{name}.json") as draft:
                draft.write_text(json.dumps(run.to_json(), indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise SegError(f"{folder}: cannot be written ({error.strerror})") from None


def _table(recipes: list[Recipe]) -> str:
    rows = [f"{'recipe':<40} {'seeds':>5} {'steps':>7} {'mIoU':>7}  {'range':<16} {'ms a step':>9}"]
    for recipe in recipes:
        told = recipe.to_json()
        name = told["runs"][0] + (f" and {len(recipe.runs) - 1} more" if len(recipe.runs) > 1 else "")
        spread = f"{told['miou_min']:.4f} – {told['miou_max']:.4f}" if len(recipe.runs) > 1 else "one seed"
        times = [time for time in told["step_ms"] if time is not None]
        shown = f"{min(times):.1f}" if times else "—"
        rows.append(
            f"{name:<40} {len(recipe.runs):>5} {told['steps']:>7} {told['miou_mean']:>7.4f}  {spread:<16} {shown:>9}"
        )
    return "\n".join(rows)
