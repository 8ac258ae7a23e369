"""What a run leaves in its output directory: best.pth, last.pth, resume.pth and history.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from seg_core.atomic import remove_drafts
from seg_core.config.schema import TrainConfig
from seg_core.errors import SegError
from seg_core.labels import LabelSet
from seg_core.metrics import ConfusionMatrix
from seg_core.models.checkpoint import Checkpoint, save_checkpoint
from seg_core.spec import ModelSpec, PostprocessSpec, PreprocessSpec
from seg_train import build
from seg_train.fingerprint import Fingerprint
from seg_train.history import History
from seg_train.state import RunState, load_state, save_state


def find_state(config: TrainConfig, restart: bool = False) -> Path | None:
    """Return the state in the output directory that a run goes on from, None where it begins at its first step."""
    path = config.output / "resume.pth"
    return path if path.exists() and not restart else None


class RunFiles:
    """Write and read the files of one run. Each is replaced as a whole: killed at any moment, the older one stays."""

    def __init__(
        self,
        config: TrainConfig,
        model: ModelSpec,
        preprocess: PreprocessSpec,
        labels: LabelSet,
        fingerprint: Fingerprint,
    ) -> None:
        """Keep what goes into checkpoints; `fingerprint` is that of this run."""
        self.config = config
        self.directory = config.output
        self.history = History(config.output / "history.json", labels.names)
        self._model = build.stored_spec(model)
        self._preprocess = preprocess
        self._labels = labels
        self._fingerprint = fingerprint

    @property
    def best(self) -> Path:
        """The checkpoint with the best validation mIoU, weights in half precision."""
        return self.directory / "best.pth"

    def open(self, state: RunState, restart: bool, writes: bool) -> None:
        """Make the directory where this process `writes`; take up an earlier state there, or with `restart` remove it.

        Left there, it would be what a run begun anew goes on from when it is stopped before its first save. Raises
        SegError when the directory cannot be made or the state not be removed, CheckpointError as `load_state` does.
        """
        if writes:
            try:
                self.directory.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise SegError(
                    f"{self.directory}: the output directory cannot be made ({error.strerror}); set another `output`"
                ) from None
            remove_drafts(self.directory)  # of a process that was killed while it wrote
        found = find_state(self.config, restart)
        if found is not None:
            load_state(found, state, self._fingerprint)
        elif writes:
            resume = self.directory / "resume.pth"
            try:
                resume.unlink(missing_ok=True)
            except OSError as error:
                raise SegError(f"{resume}: cannot be removed ({error.strerror}); set another `output`") from None

    def save_best(self, state: RunState, matrix: ConfusionMatrix) -> None:
        """Write best.pth; raises CheckpointError when the disk refuses, the older one being kept."""
        save_checkpoint(self.best, self._checkpoint(state, matrix), half=True)

    def save_last(self, state: RunState, matrix: ConfusionMatrix | None) -> None:
        """Write history.json, last.pth and resume.pth, in this order: the history never ends before the state.

        `matrix` has the scores of just these weights, None where they were not evaluated.
        """
        self.history.save()
        save_checkpoint(self.directory / "last.pth", self._checkpoint(state, matrix), half=True)
        save_state(self.directory / "resume.pth", state, self._fingerprint)

    def _checkpoint(self, state: RunState, matrix: ConfusionMatrix | None) -> Checkpoint:
        average = state.average.module
        assert isinstance(average, torch.nn.Module)
        metrics: dict[str, Any] = {} if matrix is None else {"val": matrix.to_json(self._labels.names)}
        return Checkpoint(
            model=self._model,
            preprocess=self._preprocess,
            postprocess=PostprocessSpec(),
            labels=self._labels,
            state_dict=average.state_dict(),
            metrics=metrics,
            provenance=self._provenance(state.step, next(average.parameters()).device),
        )

    def _provenance(self, step: int, device: torch.device) -> dict[str, Any]:
        """Say how the weights came about, without paths of the machine that made them."""
        places = {"train", "val", "workers", "cache"}
        config = json.loads(self.config.model_dump_json(exclude={"output": True, "device": True, "data": places}))
        for key in ("labels", "merge", "swap_left_right"):  # names, or files
            if config["data"][key] is not None:
                config["data"][key] = Path(config["data"][key]).name
        options = config["model"]["options"]
        if "pretrained" in options:
            options["pretrained"] = Path(options["pretrained"]).name
        if config["model"]["weights"] is not None:
            config["model"]["weights"] = Path(config["model"]["weights"]).name
        config["distill"]["teacher"] = [Path(path).name for path in self.config.distill.teacher]
        return {
            "made_by": "seg-train",
            "step": step,
            "torch": torch.__version__,
            "device": _device_name(device),
            "world_size": self._fingerprint.world_size,
            "train_images": self._fingerprint.data["training"].count,
            "val_images": self._fingerprint.data["validation"].count,
            "config": config,
        }


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
