"""The curve of a run as JSON, for plots and for the model card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from seg_core.atomic import replacing
from seg_core.errors import SegError


class History:
    """Collect logged steps and evaluations and write them, whole or not at all."""

    def __init__(self, path: Path) -> None:
        """Start an empty history that will be saved at `path`."""
        self.path = path
        self.steps: list[dict[str, Any]] = []
        self.evaluations: list[dict[str, Any]] = []

    def add_step(self, step: int, losses: dict[str, float], lr: float, step_ms: float) -> None:
        """Record one logged step."""
        self.steps.append({"step": step, "lr": lr, "step_ms": round(step_ms, 3), **losses})

    def add_evaluation(self, step: int, metrics: dict[str, Any], improved: bool) -> None:
        """Record one evaluation; `metrics` is what ConfusionMatrix.to_json gives."""
        self.evaluations.append({"step": step, "improved": improved, **metrics})

    def save(self) -> None:
        """Write the file; raises SegError when the disk refuses."""
        content = {"steps": self.steps, "evaluations": self.evaluations}
        try:
            with replacing(self.path) as draft:
                draft.write_text(json.dumps(content, indent=1), encoding="utf-8")
        except OSError as error:
            raise SegError(f"{self.path}: the history cannot be written ({error.strerror})") from None

    def load(self, until_step: int) -> None:
        """Take up an earlier file, forgetting what came after `until_step` and will be done again."""
        if not self.path.exists():
            return
        try:
            saved = json.loads(self.path.read_text(encoding="utf-8"))
            self.steps = [row for row in saved["steps"] if row["step"] <= until_step]
            self.evaluations = [row for row in saved["evaluations"] if row["step"] <= until_step]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SegError(f"{self.path}: not a training history ({error}); delete it and go on") from None
