"""The training loop."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from seg_core.config.schema import TrainConfig
from seg_core.errors import SegError
from seg_core.labels import LabelSet
from seg_core.metrics import ConfusionMatrix
from seg_core.models import SegmentationModel
from seg_core.models.checkpoint import Checkpoint, save_checkpoint
from seg_core.spec import ModelSpec, PostprocessSpec, PreprocessSpec
from seg_train import build
from seg_train.evaluate import evaluate
from seg_train.history import History
from seg_train.loader import build_train_loader
from seg_train.losses import SegmentationLoss
from seg_train.state import RunState, load_state, save_state

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


class TrainingError(SegError):
    """Training cannot go on, such as after a loss that is not a number."""


@dataclass(frozen=True)
class Progress:
    """What a listener is told: after a logged step, and after an evaluation with its `matrix`."""

    step: int
    steps: int
    losses: dict[str, float]
    lr: float
    step_ms: float
    matrix: ConfusionMatrix | None = None
    improved: bool = False


@dataclass(frozen=True)
class TrainResult:
    """Where the best checkpoint lies and the validation mIoU it reached."""

    best: Path
    best_miou: float
    steps: int


class Trainer:
    """One run: build everything, go on from where an earlier process stopped, train, evaluate, save."""

    def __init__(self, config: TrainConfig, listener: Callable[[Progress], None], restart: bool = False) -> None:
        """Build the run; with `restart` an earlier state in `config.output` is ignored and overwritten."""
        self.config = config
        self.listener = listener
        self.device = build.build_device(config.device)
        torch.manual_seed(config.solver.seed)
        self.labels: LabelSet = build.build_labels(config.data.labels)
        self.model_spec: ModelSpec
        self.preprocess: PreprocessSpec
        self.model_spec, self.preprocess = build.build_specs(config, self.labels)
        network = build.build_network(self.model_spec, self.preprocess, self.device)
        self.train_set, self.val_set = build.build_datasets(config, self.preprocess, self.labels)
        self.state: RunState = build.build_state(network, config, self.device)
        self.loss = SegmentationLoss(config.loss, self.labels.ignore_index)
        self.history = History(config.output / "history.json")
        self._fingerprint = fingerprint(config)
        self._matrix: ConfusionMatrix | None = None
        self._open_output(restart)

    @property
    def network(self) -> SegmentationModel:
        """The network whose weights the optimiser moves."""
        network = self.state.model
        assert isinstance(network, SegmentationModel)
        return network

    def run(self) -> TrainResult:
        """Train to the configured step, evaluating and saving on the way; raises TrainingError on a non-finite loss."""
        config, state = self.config, self.state
        solver = config.solver
        loader = build_train_loader(
            self.train_set, solver.batch_size, solver.steps, state.step, config.data.workers, self.device.type == "cuda"
        )
        self.network.train()
        started, logged = time.perf_counter(), state.step
        for images, targets in loader:
            losses = self._step(images, targets)
            state.step += 1
            if state.step % config.log_every == 0 or state.step == solver.steps:
                values = self._finite(losses)
                step_ms = 1e3 * (time.perf_counter() - started) / (state.step - logged)
                self._report(values, step_ms)
                started, logged = time.perf_counter(), state.step
            if state.step % config.eval_every == 0 or state.step == solver.steps:
                self._evaluate()
                started, logged = time.perf_counter(), state.step
            if state.step % config.save_every == 0 or state.step == solver.steps:
                self._save_last()
        return TrainResult(config.output / "best.pth", state.best_miou, state.step)

    def _step(self, images: Tensor, targets: Tensor) -> dict[str, Tensor]:
        state, solver = self.state, self.config.solver
        layout = torch.channels_last if self.device.type == "cuda" else torch.preserve_format
        images = images.to(self.device, non_blocking=True, memory_format=layout)
        targets = targets.to(self.device, non_blocking=True)
        with torch.autocast(self.device.type, _DTYPES[solver.precision], enabled=solver.precision != "fp32"):
            heads = self.network.forward_heads(images)
        losses: dict[str, Tensor] = self.loss(heads, targets)
        state.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(state.scaler.scale(losses["loss"]))
        if solver.grad_clip is not None:
            state.scaler.unscale_(state.optimizer)
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), solver.grad_clip)
        state.scaler.step(state.optimizer)
        state.scaler.update()
        state.schedule.step()
        assert isinstance(state.average, AveragedModel)
        state.average.update_parameters(self.network)
        return {name: value.detach() for name, value in losses.items()}

    def _finite(self, losses: dict[str, Tensor]) -> dict[str, float]:
        values = {name: float(value) for name, value in losses.items()}
        if not all(value - value == 0 for value in values.values()):
            raise TrainingError(
                f"step {self.state.step}: the loss is not a number ({values}); the last good state is in "
                f"{self.config.output}; lower solver.lr, set solver.grad_clip or use solver.precision=bf16"
            )
        return values

    def _report(self, losses: dict[str, float], step_ms: float) -> None:
        lr = float(self.state.schedule.get_last_lr()[0])
        self.history.add_step(self.state.step, losses, lr, step_ms)
        self.listener(Progress(self.state.step, self.config.solver.steps, losses, lr, step_ms))

    def _evaluate(self) -> None:
        state = self.state
        average = state.average.module
        assert isinstance(average, SegmentationModel)
        matrix = self._matrix = evaluate(average, self.val_set, self.device)
        miou = matrix.mean_iou()
        improved = miou > state.best_miou
        if improved:
            state.best_miou = miou
            save_checkpoint(self.config.output / "best.pth", self._checkpoint(matrix), half=True)
        self.history.add_evaluation(state.step, matrix.to_json(self.labels.names), improved)
        lr = float(state.schedule.get_last_lr()[0])
        self.listener(Progress(state.step, self.config.solver.steps, {}, lr, 0.0, matrix, improved))

    def _save_last(self) -> None:
        output = self.config.output
        save_checkpoint(output / "last.pth", self._checkpoint(self._matrix), half=True)
        save_state(output / "resume.pth", self.state, self._fingerprint)
        self.history.save()

    def _checkpoint(self, matrix: ConfusionMatrix | None) -> Checkpoint:
        average = self.state.average.module
        assert isinstance(average, SegmentationModel)
        metrics: dict[str, Any] = {} if matrix is None else {"val": matrix.to_json(self.labels.names)}
        return Checkpoint(
            model=build.stored_spec(self.model_spec),
            preprocess=self.preprocess,
            postprocess=PostprocessSpec(),
            labels=self.labels,
            state_dict=average.state_dict(),
            metrics=metrics,
            provenance=self._provenance(),
        )

    def _provenance(self) -> dict[str, Any]:
        """Say how the weights came about, without paths of the machine that made them."""
        config = json.loads(self.config.model_dump_json(exclude={"output", "device", "data"}))
        options = config["model"]["options"]
        if "pretrained" in options:
            options["pretrained"] = Path(options["pretrained"]).name
        return {
            "made_by": "seg-train",
            "step": self.state.step,
            "torch": torch.__version__,
            "train_images": len(self.train_set),
            "val_images": len(self.val_set),
            "config": config,
        }

    def _open_output(self, restart: bool) -> None:
        output = self.config.output
        try:
            output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TrainingError(f"{output}: the output directory cannot be made ({error.strerror})") from None
        resume = output / "resume.pth"
        if resume.exists() and not restart:
            load_state(resume, self.state, self._fingerprint)
            self.history.load(self.state.step)


def fingerprint(config: TrainConfig) -> str:
    """Return what must be equal for a run to be resumed: all that shapes its weights, no paths or intervals."""
    kept = config.model_dump_json(
        exclude={
            "output": True,
            "device": True,
            "log_every": True,
            "save_every": True,
            "data": {"workers", "cache", "train", "val"},
        }
    )
    return hashlib.sha256(kept.encode()).hexdigest()
