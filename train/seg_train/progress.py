"""The console of a run: lines that stay, and on a terminal a bar below them."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from seg_train.engine import Progress as RunProgress


class ConsoleProgress:
    """Print logged steps and evaluations to stderr and keep a progress bar with the time that is left."""

    def __init__(self, steps: int) -> None:
        """Prepare a bar over `steps`; it is drawn on terminals alone."""
        self._console = Console(stderr=True, highlight=False)
        columns = (
            TextColumn("train"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
        )
        self._bar = Progress(*columns, console=self._console, disable=not self._console.is_terminal)
        self._task = self._bar.add_task("", total=steps)

    def __enter__(self) -> ConsoleProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def start(self, step: int, device: str, train_images: int, val_images: int) -> None:
        """Say what the run works on, and where it goes on when it is resumed."""
        resumed = f", resumed at step {step}" if step else ""
        self._console.print(f"training on {device}: {train_images} images, {val_images} for validation{resumed}")
        self._bar.update(self._task, completed=step)

    def show(self, progress: RunProgress) -> None:
        """Print one logged step or evaluation."""
        self._bar.update(self._task, completed=progress.step)
        if progress.matrix is not None:
            best = "  best so far, saved" if progress.improved else ""
            self._console.print(
                f"valid [{progress.step}/{progress.steps}]  mIoU {progress.matrix.mean_iou():.4f}  "
                f"pixel accuracy {progress.matrix.pixel_accuracy():.4f}{best}"
            )
            return
        losses = "  ".join(f"{name} {value:.4f}" for name, value in progress.losses.items())
        self._bar.update(self._task, description=f"loss {progress.losses['loss']:.3f}")
        self._console.print(
            f"train [{progress.step}/{progress.steps}]  {losses}  lr {progress.lr:.2e}  {progress.step_ms:.1f} ms/step"
        )
