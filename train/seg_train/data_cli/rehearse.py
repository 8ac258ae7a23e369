"""`seg-data test-cfg`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seg_core.cli.command import SegCommand, click
from seg_core.runners.pytorch import require_torch
from seg_train.override_option import override_option

if TYPE_CHECKING:
    from seg_core.config.loader import LoadedConfig
    from seg_train.rehearsal import Rehearsal


@click.command(
    "test-cfg",
    cls=SegCommand,
    examples=[
        "seg-data test-cfg configs/seed_face6.yaml --synthetic",
        "seg-data test-cfg my.yaml -o data.train=DATA/train -o data.val=DATA/val --show batch.png",
        "seg-data test-cfg my.yaml -o DATASET.TRAIN_PATH=DATA/train -o DATASET.TEST_PATH=DATA/val -o BATCH_SIZE=8",
    ],
)
@click.argument("config_path", metavar="CONFIG", type=click.Path(path_type=Path))
@override_option
@click.option("--synthetic", is_flag=True, help="Draw pictures and labels; open no data set.")
@click.option(
    "--steps", type=click.IntRange(min=1), help="Steps to take; times are the last one's. Default 1, on a GPU 5."
)
@click.option(
    "--show", type=click.Path(path_type=Path), metavar="PNG", help="Write the batch as training sees it: with labels."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output.")
def rehearse_command(
    config_path: Path,
    overrides: tuple[str, ...],
    synthetic: bool,
    steps: int | None,
    show: Path | None,
    as_json: bool,
) -> None:
    """Build everything that CONFIG names and take one batch through it; write nothing but what --show names.

    Prints the shapes of all heads, the number of parameters, the peak of memory, the time of each stage and the
    configuration as it was understood. What training in one process would stop at before its first step stops this
    too, in one line.
    """
    require_torch("trying a training configuration")
    from seg_core.config.loader import read_train_config
    from seg_train.parallel import build_device
    from seg_train.rehearsal import rehearse

    loaded = read_train_config(config_path, overrides)
    for note in loaded.notes:
        click.echo(f"note: {note}", err=True)
    usual = 5 if build_device(loaded.config.device).type == "cuda" else 1
    result = rehearse(loaded.config, synthetic, steps or usual, show)
    for note in result.notes:
        click.echo(f"note: {note}", err=True)
    if show is not None:
        click.echo(f"what training sees: {show}", err=True)
    if as_json:
        click.echo(json.dumps(_as_json(loaded, result), indent=2))
        return
    _print(loaded, result)


def _print(loaded: LoadedConfig, result: Rehearsal) -> None:
    import yaml

    pictures = "drawn" if result.train_images is None else f"{result.train_images}, {result.val_images} for validation"
    rows = [
        ("model", f"{result.model}, {result.parameters:,} parameters, on {result.device}"),
        ("classes", f"{len(result.classes)}: {', '.join(result.classes)}"),
        ("pictures", pictures),
        *([("weights", result.weights)] if result.weights else []),
        ("batch", f"{_shape(result.batch_shape)}  uint8, as the loader gives it"),
        *((f"head {name}", _shape(shape)) for name, shape in result.heads.items()),
        *(("loss" if name == "loss" else f"loss {name}", f"{value:.4f}") for name, value in result.losses.items()),
        *((f"time {stage}", f"{time_ms:.1f} ms") for stage, time_ms in result.stage_ms.items()),
        ("peak memory", f"{result.memory_mb:.0f} MiB ({'GPU' if result.device == 'cuda' else 'the whole process'})"),
    ]
    click.echo("\n".join(f"{heading:<22} {text}" for heading, text in rows))
    click.echo("configuration")
    text = yaml.safe_dump(_config(loaded), sort_keys=False, default_flow_style=None, width=110)
    click.echo("".join(f"  {line}\n" for line in text.splitlines()), nl=False)


def _shape(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))


def _config(loaded: LoadedConfig) -> dict[str, Any]:
    config: dict[str, Any] = json.loads(loaded.config.model_dump_json())
    return config


def _as_json(loaded: LoadedConfig, result: Rehearsal) -> dict[str, Any]:
    import dataclasses

    times = {name: round(value, 3) for name, value in result.stage_ms.items()}
    content = dataclasses.asdict(result) | {"stage_ms": times, "memory_mb": round(result.memory_mb, 1)}
    return {"schema_version": 1, **content, "notes": [*loaded.notes, *result.notes], "config": _config(loaded)}
