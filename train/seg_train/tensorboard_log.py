"""The run for TensorBoard: scalars, sample images and the confusion matrix."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from types import TracebackType
from typing import Any

from seg_core.errors import MissingDependencyError, SegError
from seg_core.labels import LabelSet
from seg_train.events import EvaluationEvent, Event, StartEvent, StepEvent
from seg_train.pictures import draw_confusion, draw_sample


def require_tensorboard() -> None:
    """Raise MissingDependencyError where the package `tensorboard` is not installed."""
    try:
        importlib.import_module("torch.utils.tensorboard")
    except ImportError:
        raise MissingDependencyError("tensorboard", "tensorboard: true", "segproof[train]") from None


class TensorBoardListener:
    """Write event files that `tensorboard --logdir` shows.

    Scalars: `train/<loss>`, `train/lr`, `train/step_ms`, `train/data_ms`, `train/max_memory_mb`; `val/mIoU`,
    `val/overall_acc`, `val/avg_per_class_acc`, `val/avg_dice`; `iou/<class>`. Images: `samples/<n>` (picture, truth,
    prediction) and `confusion`. A resumed run hides what its predecessor wrote of the steps that are done again. Use
    it as a context manager: what is still in memory is written when the run ends, however it ends.
    """

    def __init__(self, directory: Path, labels: LabelSet) -> None:
        """Write into `directory`, which is made at the first event.

        Raises MissingDependencyError where the package `tensorboard` is not installed.
        """
        require_tensorboard()
        from torch.utils import tensorboard

        self._make_writer = tensorboard.SummaryWriter
        self._directory = directory
        self._labels = labels
        self._writer: Any = None

    def __enter__(self) -> TensorBoardListener:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is None:
            return
        try:
            self._writer.close()
        except OSError as refusal:
            if error is None:  # else the error that is under way is the one to be told
                raise self._refused(refusal) from None

    def __call__(self, event: Event) -> None:
        """Write one event; raises SegError when the disk refuses."""
        try:
            self._write(event)
        except OSError as error:
            raise self._refused(error) from None

    def _refused(self, error: OSError) -> SegError:
        return SegError(
            f"{self._directory}: TensorBoard's files cannot be written ({error.strerror}); "
            "make room, or set tensorboard: false"
        )

    def _write(self, event: Event) -> None:
        if isinstance(event, StartEvent):
            repeated = event.step + 1 if event.step else 0
            self._writer = self._make_writer(str(self._directory), purge_step=repeated)
        elif isinstance(event, StepEvent):
            self._add_step(event)
        elif isinstance(event, EvaluationEvent):
            self._add_evaluation(event)
            self._writer.flush()

    def _add_step(self, event: StepEvent) -> None:
        scalars = {
            **event.losses,
            "lr": event.lr,
            "step_ms": event.step_ms,
            "data_ms": event.data_ms,
            "max_memory_mb": event.max_memory_mb,
        }
        self._add_scalars("train", scalars, event.step)

    def _add_evaluation(self, event: EvaluationEvent) -> None:
        matrix, labels = event.matrix, self._labels
        means = {
            "mIoU": matrix.mean_iou(),
            "overall_acc": matrix.pixel_accuracy(),
            "avg_per_class_acc": matrix.mean_accuracy(),
            "avg_dice": matrix.mean_dice(),
        }
        self._add_scalars("val", means, event.step)
        self._add_scalars("iou", dict(zip(labels.names, matrix.class_iou().tolist(), strict=True)), event.step)
        for index, sample in enumerate(event.samples):
            self._add_image(f"samples/{index}", draw_sample(sample, labels), event.step)
        self._add_image("confusion", draw_confusion(matrix, labels.names), event.step)

    def _add_scalars(self, group: str, scalars: dict[str, float], step: int) -> None:
        for name, value in scalars.items():
            if math.isfinite(value):  # the score of an absent class is a gap in its curve
                self._writer.add_scalar(f"{group}/{name}", value, step)

    def _add_image(self, tag: str, image_bgr: Any, step: int) -> None:
        self._writer.add_image(tag, image_bgr[:, :, ::-1], step, dataformats="HWC")
