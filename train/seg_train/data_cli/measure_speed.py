"""`seg-data measure-speed`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seg_core.cli.command import SegCommand, click
from seg_core.runners.pytorch import require_torch
from seg_train.override_option import override_option

if TYPE_CHECKING:
    from seg_core.config.schema import TrainConfig
    from seg_train.parallel import Workers
    from seg_train.speed import Speed


@click.command(
    "measure-speed",
    cls=SegCommand,
    examples=[
        "seg-data measure-speed configs/speed_ddrnet23_slim_224.yaml --output speed.json",
        "seg-data measure-speed configs/speed_ddrnet23_slim_224.yaml --from-files -o data.train=DATA/train",
        "seg-data measure-speed configs/speed_ddrnet23_slim_224.yaml --loader-alone -o data.train=DATA/train",
        "torchrun --nproc-per-node 2 --no-python seg-data measure-speed configs/speed_ddrnet23_slim_224.yaml",
    ],
)
@click.argument("config_path", metavar="CONFIG", type=click.Path(path_type=Path))
@override_option
@click.option("--variant", "variants", multiple=True, metavar="NAME", help="Measure this one; all of them by default.")
@click.option("--from-files", is_flag=True, help="Measure loading: the fastest variant fed from data.train.")
@click.option("--loader-alone", is_flag=True, help="Measure only how fast batches of data.train arrive; needs no GPU.")
@click.option(
    "--rounds", type=click.IntRange(min=1), default=5, show_default=True, help="How often each variant has its turn."
)
@click.option("--steps", type=click.IntRange(min=1), default=50, show_default=True, help="Steps a turn.")
@click.option("--output", type=click.Path(path_type=Path), help="Write the result as JSON here too.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output.")
def measure_speed_command(
    config_path: Path,
    overrides: tuple[str, ...],
    variants: tuple[str, ...],
    from_files: bool,
    loader_alone: bool,
    rounds: int,
    steps: int,
    output: Path | None,
    as_json: bool,
) -> None:
    """Measure training steps of a configuration: eager and compiled, on drawn batches or from files.

    Variants take turns, so that what else the machine does falls on all of them. Under torchrun every GPU takes
    part and images a second count all of them.
    """
    require_torch("measuring training steps")
    from seg_core.config.loader import load_train_config
    from seg_train.parallel import workers

    _check_choice(variants, from_files, loader_alone)
    config = load_train_config(config_path, overrides)
    with workers(config.device) as place:
        if from_files or loader_alone:
            speeds = _measure_files(config, place, variants, loader_alone, rounds, steps)
        else:
            from seg_train.speed import VARIANTS, measure_steps

            speeds = measure_steps(config, place, list(variants or VARIANTS), rounds, steps)
        if not place.is_main:
            return
        result = _result(config, place, speeds)
        if output is not None:
            _write(output, result)
        click.echo(json.dumps(result, indent=1) if as_json else _table(speeds))


def _check_choice(variants: tuple[str, ...], from_files: bool, loader_alone: bool) -> None:
    from seg_train.speed import VARIANTS

    unknown = [name for name in variants if name not in VARIANTS]
    if unknown:
        raise click.BadParameter(f"{unknown[0]!r}; known: {', '.join(VARIANTS)}", param_hint="--variant")
    if loader_alone and (from_files or variants):
        raise click.UsageError("--loader-alone takes no step; leave out --from-files and --variant")
    if from_files and len(variants) > 1:
        raise click.UsageError("--from-files measures one variant; give --variant once, or not for the fastest")


def _measure_files(
    config: TrainConfig, place: Workers, variants: tuple[str, ...], loader_alone: bool, rounds: int, steps: int
) -> list[Speed]:
    from seg_train import build
    from seg_train.speed import VARIANTS, measure_loader, measure_loading

    labels = build.build_labels(config.data.labels, config.data.merge)
    train_set, _ = build.build_datasets(config, build.build_specs(config, labels)[1], labels)
    if loader_alone:
        return [measure_loader(config, place, train_set, rounds, steps)]
    return measure_loading(config, place, (variants or tuple(VARIANTS))[-1], train_set, rounds, steps)


def _result(config: TrainConfig, place: Workers, speeds: list[Speed]) -> dict[str, Any]:
    import os
    import platform

    import cv2
    import torch

    cuda = place.device.type == "cuda"
    return {
        "format": "segproof.training_speed",
        "version": 1,
        "model": config.model.name,
        "size_hw": list(config.augment.crop_hw or config.preprocess.size_hw),
        "batch_size": config.solver.batch_size,
        "world_size": place.world_size,
        "exchange": config.solver.exchange,
        "device": torch.cuda.get_device_name(place.device) if cuda else platform.processor() or "cpu",
        "cpu_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "loader_workers": config.data.workers,
        "torch": torch.__version__,
        "opencv": cv2.__version__,
        "speeds": [speed.to_json() for speed in speeds],
    }


def _write(path: Path, result: dict[str, Any]) -> None:
    from seg_core.atomic import replacing
    from seg_core.errors import SegError

    try:
        with replacing(path) as draft:
            draft.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise SegError(f"{path}: cannot be written ({error.strerror})") from None


def _table(speeds: list[Speed]) -> str:
    first = speeds[0].step_ms
    width = max(len("variant"), *(len(speed.name) for speed in speeds))
    rows = [f"{'variant':<{width}} {'ms a step':>10} {'images/s':>10} {'times the first':>16} {'peak MiB':>9}"]
    rows += [
        f"{speed.name:<{width}} {speed.step_ms:>10.2f} {speed.images_per_s:>10.0f} {first / speed.step_ms:>15.2f}× "
        f"{speed.max_memory_mb:>9.0f}"
        for speed in speeds
    ]
    return "\n".join(rows)
