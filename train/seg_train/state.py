"""The state of a run on disk: enough to go on as if it had never stopped."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from seg_core.errors import CheckpointError
from seg_core.models.weights_file import read_weights_file, write_weights_file
from seg_train.averages import RunningAverages
from seg_train.fingerprint import Fingerprint

STATE_FORMAT = "segproof.training"
STATE_VERSION = 2


@dataclass
class RunState:
    """Everything of a run that changes with its steps. `extra` is what learns beside the network, if anything."""

    model: nn.Module
    average: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    scaler: torch.amp.GradScaler
    extra: nn.Module | None = None
    averages: RunningAverages = field(default_factory=RunningAverages)
    step: int = 0
    best_miou: float = -1.0

    def parts(self) -> dict[str, Any]:
        """Return the objects that have a state dict, by name."""
        parts = {
            "model": self.model,
            "average": self.average,
            "optimizer": self.optimizer,
            "schedule": self.schedule,
            "scaler": self.scaler,
            "averages": self.averages,
        }
        return parts if self.extra is None else {**parts, "extra": self.extra}


def save_state(path: Path, state: RunState, fingerprint: Fingerprint) -> None:
    """Write `state` to `path`, whole or not at all; raises CheckpointError when the disk refuses."""
    content = {name: part.state_dict() for name, part in state.parts().items()}
    for group in content["optimizer"]["param_groups"]:  # recorded steps keep rates in tensors of their device
        group["lr"] = float(group["lr"])
        if "capturable" in group:
            group["capturable"] = False
    content |= {
        "format": STATE_FORMAT,
        "version": STATE_VERSION,
        "step": state.step,
        "best_miou": state.best_miou,
        **fingerprint.to_state(),
    }
    write_weights_file(path, content)


def load_state(path: Path, state: RunState, fingerprint: Fingerprint) -> None:
    """Restore `state` in place from `path`.

    Raises CheckpointError when the file is damaged, is no training state, belongs to another run than that of
    `fingerprint` or to other objects than those of `state`; after the last `state` is of no use.
    """
    try:
        content = read_weights_file(path)
    except CheckpointError as error:
        raise CheckpointError(
            f"{str(error).partition(';')[0]}; pass --restart to begin anew, or begin from its weights with another "
            f"`output` and model.weights={path.with_name('last.pth')}"
        ) from None
    if (
        not isinstance(content, dict)
        or content.get("format") != STATE_FORMAT
        or content.get("version") != STATE_VERSION
    ):
        raise CheckpointError(f"{path}: not a training state of this release; delete it to start anew")
    fingerprint.check_state(path, content)
    try:
        for name, part in state.parts().items():
            part.load_state_dict(content[name])
        state.step = int(content["step"])
        state.best_miou = float(content["best_miou"])
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        # torch lists every tensor that does not fit, one a line.
        said = str(error).splitlines()[-1].strip() if str(error) else type(error).__name__
        raise CheckpointError(
            f"{path}: does not fit what this run is made of ({said}); bring back the classes, network and optimiser "
            "that it was saved with, or pass --restart to discard it"
        ) from None
