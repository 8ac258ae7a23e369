"""What ends a run, as the one line that it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from seg_core.errors import SegError
from seg_train.stepper import TrainingError


def no_memory(step: int, error: RuntimeError) -> TrainingError:
    """Return what to tell of torch's out-of-memory `error` in the step `step`."""
    return TrainingError(
        f"step {step}: the GPU's memory is full ({str(error).split('. ')[0]}); lower "
        "solver.batch_size (and raise solver.accumulate), or make augment.crop_hw smaller"
    )


def no_finite_loss(step: int, losses: Mapping[str, float], directory: Path) -> TrainingError:
    """Return what to tell of `losses` by name that are no numbers; the state before them is in `directory`."""
    shown = ", ".join(f"{name} {value:.4g}" for name, value in losses.items())
    return TrainingError(
        f"step {step}: the loss is not a number ({shown}); the last good state is in "
        f"{directory}; lower solver.lr, set solver.grad_clip, use solver.precision=bf16 "
        "or solver.on_nan=skip"
    )


def no_finite_weights(step: int, directory: Path) -> TrainingError:
    """Return what to tell of weights that are no numbers; the state before them is in `directory`."""
    return TrainingError(
        f"step {step}: weights are no longer numbers; the last good state is in "
        f"{directory}; lower solver.lr, set solver.grad_clip or use solver.precision=bf16"
    )


def nothing_to_score(pictures: int, ignore_index: int) -> SegError:
    """Return what to tell of validation `pictures` whose masks are nothing but `ignore_index`."""
    return SegError(
        f"data.val: no pixel of the {pictures} validation pictures has a class (all are "
        f"{ignore_index}, which counts nowhere), so that nothing can be scored; give masks with "
        "classes of data.labels"
    )
