"""The curve of a run as JSON, for plots, for the report and for the model card."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seg_core.atomic import replacing
from seg_core.errors import SegError, SpecError
from seg_core.spec.io import read_json
from seg_train.events import EvaluationEvent, Event, StartEvent, StepEvent


class History:
    """Collect logged steps and evaluations and write them, whole or not at all.

    It is a listener; who saves the run's state saves the history before it, so that the file on disk never ends
    earlier than the state that a resumed run goes on from. Rows of `steps` have step, epoch, lr, the losses by
    name, step_ms, data_ms and max_memory_mb; rows of `evaluations` have step, epoch, improved, seconds and what
    ConfusionMatrix.to_json gives, `per_class` being IoU by name. What is not a number is null.
    """

    def __init__(self, path: Path, names: Sequence[str] | None = None) -> None:
        """Start an empty history that will be saved at `path`; `names` are those of the classes."""
        self.path = path
        self.names = names
        self.steps: list[dict[str, Any]] = []
        self.evaluations: list[dict[str, Any]] = []

    def __call__(self, event: Event) -> None:
        """Record one event; a start takes up the earlier file of a run that is resumed."""
        if isinstance(event, StartEvent) and event.step:
            self.load(event.step)
        elif isinstance(event, StepEvent):
            more = {"epoch": event.epoch, "data_ms": event.data_ms, "max_memory_mb": event.max_memory_mb}
            self.add_step(event.step, event.losses, event.lr, event.step_ms, more)
        elif isinstance(event, EvaluationEvent):
            metrics = event.matrix.to_json(self.names)
            more = {"epoch": event.epoch, "seconds": event.seconds}
            self.add_evaluation(event.step, metrics, event.improved, more)

    def add_step(
        self,
        step: int,
        losses: Mapping[str, float],
        lr: float,
        step_ms: float,
        more: Mapping[str, float] | None = None,
    ) -> None:
        """Record one logged step."""
        row = {"step": step, "lr": lr, "step_ms": step_ms, **(more or {})}
        rounded = {key: round(value, 3) if key in ("step_ms", "data_ms") else value for key, value in row.items()}
        self.steps.append(_plain({**rounded, **losses}))

    def add_evaluation(
        self, step: int, metrics: Mapping[str, Any], improved: bool, more: Mapping[str, float] | None = None
    ) -> None:
        """Record one evaluation; `metrics` is what ConfusionMatrix.to_json gives."""
        self.evaluations.append(_plain({"step": step, "improved": improved, **(more or {}), **metrics}))

    def save(self) -> None:
        """Write the file; raises SegError when the disk refuses."""
        content = {"steps": self.steps, "evaluations": self.evaluations}
        try:
            with replacing(self.path) as draft:
                draft.write_text(json.dumps(content, indent=1, allow_nan=False), encoding="utf-8")
        except OSError as error:
            raise SegError(
                f"{self.path}: the history cannot be written ({error.strerror}); make room or choose another output"
            ) from None

    def load(self, until_step: int) -> None:
        """Take up an earlier file, forgetting what came after `until_step` and will be done again.

        Raises SegError when the file cannot be read or is no history.
        """
        if not self.path.exists():
            return
        try:
            saved = read_json(self.path)
            self.steps = [row for row in saved["steps"] if row["step"] <= until_step]
            self.evaluations = [row for row in saved["evaluations"] if row["step"] <= until_step]
        except (SpecError, KeyError, TypeError) as error:
            raise SegError(f"{self.path}: not a training history ({error}); delete it and go on") from None


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Return `row` with null for numbers that JSON cannot hold."""
    return {key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in row.items()}
