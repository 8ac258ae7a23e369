"""The console of a run: lines that stay, and on a terminal a live bar below them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from seg_train.events import EvaluationEvent, Event, StartEvent, StepEvent
from seg_train.log_lines import format_event


class ConsoleListener:
    """Print what a run says to stderr; on a terminal keep a bar with the time that is left, the loss and the mIoU.

    Use it as a context manager, so that the bar is put away whatever happens.
    """

    def __init__(
        self,
        names: Sequence[str],
        console: Console | None = None,
        clock: Callable[[], datetime] = datetime.now,
    ) -> None:
        """Take the class `names`; `console` (stderr) says whether there is a terminal, `clock` the time printed."""
        self._names = names
        self._clock = clock
        self._console = console or Console(stderr=True)
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._loss = ""
        self._best = ""

    def __enter__(self) -> ConsoleListener:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, event: Event) -> None:
        """Print one event and move the bar."""
        for line in format_event(event, self._names, self._clock()):
            # Names of classes and heads are text, not markup; a line is one line, however narrow the terminal is.
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)
        if isinstance(event, StartEvent):
            self._open_bar(event)
        elif isinstance(event, StepEvent):
            self._loss = f"loss {event.losses.get('loss', sum(event.losses.values())):.3f}"
            self._move(event.step)
        elif isinstance(event, EvaluationEvent):
            self._best = f"best mIoU {max(event.best_before, event.matrix.mean_iou()):.4f}"
            self._move(event.step)

    def _open_bar(self, event: StartEvent) -> None:
        columns = (
            TextColumn("train"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
        )
        off = not self._console.is_terminal
        # Redrawing takes turns with the steps of a fast run: twice a second is enough to look at.
        self._bar = Progress(*columns, console=self._console, disable=off, refresh_per_second=2)
        self._task = self._bar.add_task("", total=event.steps, completed=event.step)
        self._bar.start()

    def _move(self, step: int) -> None:
        if self._bar is not None:
            words = "  ".join(part for part in (self._loss, self._best) if part)
            self._bar.update(self._task, completed=step, description=words)
