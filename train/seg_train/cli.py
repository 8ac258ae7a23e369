"""`seg-train`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from seg_core.cli.command import SegCommand, click
from seg_core.errors import MissingDependencyError
from seg_train.override_option import override_option

if TYPE_CHECKING:
    from seg_core.config.schema import TrainConfig
    from seg_train.engine import TrainResult

EPILOG = """\b
Examples:
  seg-train --config configs/face_ddrnet23_slim_256.yaml -o data.train=DATA/train -o data.val=DATA/val
  seg-train --config my.yaml -o solver.steps=2000 -o solver.batch_size=16 -o output=runs/short
\b
A run that stopped goes on where its last save left it when the same command is given again;
with another configuration, other pictures or classes it says so and stops (--restart begins anew).

\b
Several GPUs of one machine:
  torchrun --nproc-per-node 2 --no-python seg-train --config my.yaml"""


@click.command(cls=SegCommand, epilog=EPILOG)
@click.option(
    "--config", "config_path", required=True, type=click.Path(path_type=Path), help="YAML file; see configs/."
)
@override_option
@click.option("--restart", is_flag=True, help="Start anew even when the output directory holds a run to resume.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout; progress goes to stderr.")
def train_command(config_path: Path, overrides: tuple[str, ...], restart: bool, as_json: bool) -> None:
    """Train a network on folders of images and masks.

    Writes best.pth and last.pth (checkpoints for seg-export, weights in half precision), resume.pth, train.log,
    history.json, report.html (a page to look at) and, with `tensorboard: true`, the directory tensorboard into the
    configured output directory.
    """
    from seg_core.config.loader import read_train_config

    loaded = read_train_config(config_path, overrides)
    if os.environ.get("RANK", "0") == "0":  # of several processes one speaks
        for note in loaded.notes:
            click.echo(f"note: {note}", err=True)
    result = _train(loaded.config, restart)
    if result is None:
        return
    if as_json:
        click.echo(json.dumps({"best": str(result.best), "miou": result.best_miou, "steps": result.steps}))
        return
    click.echo(f"best mIoU {result.best_miou:.4f} → {result.best}")
    click.echo(f"next:  seg-export {result.best} --target all\n       seg-eval {result.best} --data DIR")


def _train(config: TrainConfig, restart: bool) -> TrainResult | None:
    """Return what the run reached, None in a process that is not the one to tell of it."""
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError:
        raise MissingDependencyError("torch", "training", "segproof[train]") from None
    from seg_train.engine import Trainer
    from seg_train.listeners import open_listeners
    from seg_train.parallel import workers
    from seg_train.tensorboard_log import require_tensorboard

    if config.tensorboard:
        require_tensorboard()  # before data and network are built, which takes a while
    with workers(config.device) as place:
        trainer = Trainer(config, restart, place)
        if not place.is_main:
            trainer.run()
            return None
        with open_listeners(config, trainer.labels) as listener:
            return trainer.run(listener)
