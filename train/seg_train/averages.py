"""Running averages of what is logged, which a resumed run takes up where it left them."""

from __future__ import annotations

import math
from collections.abc import Mapping

from seg_core.errors import SegError


class RunningAverage:
    """Average all finite values since the last reset, which is the start of the epoch in a run's log lines.

    The plain mean, not one that forgets: at the end of an epoch it is the mean of that epoch.
    """

    def __init__(self) -> None:
        """Start without values."""
        self.total = 0.0
        self.count = 0

    @property
    def value(self) -> float:
        """The average, NaN before the first value."""
        return self.total / self.count if self.count else math.nan

    def update(self, value: float, count: int = 1) -> None:
        """Add `value`, the mean of `count` steps; one that is not finite is left out, or it would spoil the epoch."""
        if math.isfinite(value):
            self.total += value * count
            self.count += count

    def reset(self) -> None:
        """Forget all values."""
        self.total, self.count = 0.0, 0


class RunningAverages:
    """Keep a `RunningAverage` for every name that was ever updated, such as the losses of a run."""

    def __init__(self) -> None:
        """Start without names."""
        self._averages: dict[str, RunningAverage] = {}

    def update(self, losses: Mapping[str, float], count: int = 1) -> None:
        """Add one value a name, each the mean of `count` steps; see `RunningAverage.update`."""
        for name, value in losses.items():
            self._averages.setdefault(name, RunningAverage()).update(value, count)

    def values(self) -> dict[str, float]:
        """Return the averages by name, in the order in which the names first came; NaN where no value was finite."""
        return {name: average.value for name, average in self._averages.items()}

    def reset(self) -> None:
        """Forget all values and names, at the start of an epoch."""
        self._averages.clear()

    def state_dict(self) -> dict[str, list[float]]:
        """Return sum and count by name, plain floats that any file can hold; `load_state_dict` takes them up."""
        return {name: [average.total, float(average.count)] for name, average in self._averages.items()}

    def load_state_dict(self, state: Mapping[str, list[float]]) -> None:
        """Go on from what `state_dict` gave; raises SegError when it is something else."""
        restored: dict[str, RunningAverage] = {}
        for name, pair in state.items():
            try:
                total, count = pair
                average = RunningAverage()
                average.total, average.count = float(total), int(count)
            except (TypeError, ValueError):
                raise SegError(f"running average {name!r}: expected its sum and count, found {pair!r}") from None
            restored[name] = average
        self._averages = restored
