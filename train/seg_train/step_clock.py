"""How long steps take, and how much of it is waiting for data."""

from __future__ import annotations

import time
from collections.abc import Iterator

from seg_train.checked_items import Batch


class StepClock:
    """Measure steps between looks, and how much of them was spent waiting for data."""

    def __init__(self, step: int) -> None:
        """Begin at `step`."""
        self.restart(step)

    def restart(self, step: int) -> None:
        """Begin anew at `step`, after something that was no training."""
        self._step, self._began, self._waited = step, time.perf_counter(), 0.0

    def timed(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Return `batches` with the wait for each counted."""
        while True:
            began = time.perf_counter()
            batch = next(batches, None)
            self._waited += time.perf_counter() - began
            if batch is None:
                return
            yield batch

    def lap(self, step: int) -> tuple[int, float, float]:
        """Return the steps since the last look and their mean time and wait in ms; begin the next lap."""
        steps = max(1, step - self._step)
        step_ms = 1e3 * (time.perf_counter() - self._began) / steps
        data_ms = 1e3 * self._waited / steps
        self.restart(step)
        return steps, step_ms, data_ms
