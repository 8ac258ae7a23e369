"""The lines of a run, in the older engine's form, so that what reads its logs reads these; and the file of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType

from seg_core.errors import SegError
from seg_train.events import EndEvent, EvaluationEvent, Event, StartEvent, StepEvent

#: How the main head's loss and the sum are called in a log; the loss of every other head is `<head>_loss`.
_LABELS = {"main": "seg_loss", "loss": "loss"}

#: What is reported with the losses and is none; it is logged under its own name, after them.
MEASURES = ("grad_norm",)


def format_event(event: Event, names: Sequence[str], now: datetime) -> list[str]:
    """Return the lines that say `event`; `names` are those of the classes, `now` the time that is printed.

    Times are in seconds and memory in MiB, as the older engine printed them.
    """
    if isinstance(event, StepEvent):
        return [format_step(event, now)]
    if isinstance(event, EvaluationEvent):
        return format_evaluation(event, names)
    if isinstance(event, StartEvent):
        return [_format_start(event), *(f"note: {note}" for note in event.notes)]
    return [_format_end(event)]


def format_step(event: StepEvent, now: datetime) -> str:
    """Return the one line of a logged step, every value followed by its running average in parentheses."""
    width = len(str(event.iterations))
    measures = [(name, name) for name in MEASURES if name in event.losses]
    losses = [
        f"{label}: {event.losses[name]:.4f} ({event.averages.get(name, event.losses[name]):.4f})"
        for name, label in (*loss_labels(event.losses), *measures)
    ]
    parts = (
        f"train epoch: [{event.epoch}]",
        f"[{event.iteration:>{width}}/{event.iterations}]",
        f"eta: {timedelta(seconds=max(0, round(event.eta_s)))}",
        f"lr: {_format_rate(event.lr)}",
        *losses,
        f"time: {event.step_ms / 1e3:.4f} ({event.step_ms_average / 1e3:.4f})",
        f"data: {event.data_ms / 1e3:.4f} ({event.data_ms_average / 1e3:.4f})",
        f"max mem: {event.max_memory_mb:.0f}",
        *([f"left out: {event.skipped}"] if event.skipped else []),
        f"@{now:%Y-%m-%d %H:%M:%S}",
    )
    return "  ".join(parts)


def format_evaluation(event: EvaluationEvent, names: Sequence[str]) -> list[str]:
    """Return the scores of an evaluation: the means, one line a class, and what was saved if it was the best.

    `pixels` are those of the class in the truth. Classes in neither truth nor prediction have the IoU nan.
    """
    matrix = event.matrix
    lines = [
        f"Valid epoch: [{event.epoch}]  overall_acc: {matrix.pixel_accuracy():.4f}  "
        f"avg_per_class_acc: {matrix.mean_accuracy():.4f}  mIoU: {matrix.mean_iou():.4f}  "
        f"avg_dice: {matrix.mean_dice():.4f}"
    ]
    width = max(len(name) for name in names)
    for name, iou, pixels in zip(names, matrix.class_iou(), matrix.class_pixels(), strict=True):
        lines.append(f"  {name:<{width}}  IoU: {iou:6.4f}  pixels: {int(pixels)}")
    if event.improved:
        lines.append(
            f"saving best at {event.epoch} epoch | mIoU {max(0.0, event.best_before):.4f} ---> {matrix.mean_iou():.4f}"
        )
    return lines


def loss_labels(losses: Iterable[str]) -> list[tuple[str, str]]:
    """Return (name, name in the log) of the losses: main head first, others, and the sum last where it says more."""
    given = [name for name in losses if name not in MEASURES]
    if given == ["loss"]:
        return [("loss", "seg_loss")]
    parts = sorted((name for name in given if name != "loss"), key=lambda name: name != "main")
    if len(parts) > 1 and "loss" in given:
        parts.append("loss")
    return [(name, _LABELS.get(name, f"{name.removesuffix('_loss')}_loss")) for name in parts]


class LogFile:
    """Append the lines of a run to a file, each event at once, so that a killed run leaves all it said.

    A resumed run goes on in the same file; a new run in the same place, too, after a line that says so. Used as a
    context manager it also says that a run was interrupted or which error ended it.
    """

    def __init__(self, path: Path, names: Sequence[str], clock: Callable[[], datetime] = datetime.now) -> None:
        """Write to `path`, whose directory exists when the first event comes; `names` are those of the classes."""
        self._path = path
        self._names = names
        self._clock = clock
        self._begun = False

    def __enter__(self) -> LogFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or not self._begun:
            return
        words = "interrupted" if isinstance(error, KeyboardInterrupt) else f"error: {error or type(error).__name__}"
        with suppress(OSError):  # the error that is under way is the one to be told
            self._append([f"{words}  @{self._clock():%Y-%m-%d %H:%M:%S}"])

    def __call__(self, event: Event) -> None:
        """Append what `event` says; raises SegError when the disk refuses."""
        now = self._clock()
        lines = format_event(event, self._names, now)
        if isinstance(event, StartEvent):
            lines = [f"---- {now:%Y-%m-%d %H:%M:%S} ----", *lines]
        try:
            self._append(lines)
        except OSError as error:
            raise SegError(
                f"{self._path}: the log cannot be written ({error.strerror}); make room or choose another output"
            ) from None
        self._begun = True

    def _append(self, lines: Sequence[str]) -> None:
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write("\n".join(lines) + "\n")


def _format_start(event: StartEvent) -> str:
    processes = f" × {event.world_size}" if event.world_size > 1 else ""
    skipped = f" ({event.skipped} left out)" if event.skipped else ""
    resumed = f", resumed at step {event.step}" if event.step else ""
    return (
        f"training on {event.device}{processes}: {event.train_images} images{skipped}, {event.val_images} for "
        f"validation, {event.parameters / 1e6:.2f} M parameters, {event.steps} steps{resumed}"
    )


def _format_end(event: EndEvent) -> str:
    took = timedelta(seconds=round(event.seconds))
    left_out = f", {event.skipped} steps left out" if event.skipped else ""
    return f"done in {took}{left_out}: best mIoU {event.best_miou:.4f} in {event.best_path}"


def _format_rate(rate: float) -> str:
    """Six decimals as in the older engine, and nine where those would show next to nothing."""
    return f"{rate:.6f}" if rate >= 1e-5 or rate == 0 else f"{rate:.9f}"
