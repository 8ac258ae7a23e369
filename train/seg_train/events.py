"""What a run tells its listeners, and the way several of them listen at once. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from seg_core.metrics import ConfusionMatrix

UInt8 = npt.NDArray[np.uint8]


class Sample(NamedTuple):
    """One validation image as it is shown: BGR uint8 (h, w, 3), truth and prediction as labels uint8 (h, w)."""

    image_bgr: UInt8
    truth: UInt8
    predicted: UInt8


@dataclass(frozen=True)
class StartEvent:
    """The run is built and about to take its first step after `step` (above 0 when it is resumed) of `steps`.

    `skipped` counts the images that the configuration allowed to leave out, `parameters` the network's weights.
    `notes` say where the first weights come from, what is assumed of a teacher, and whether validation shows
    training images.
    """

    device: str
    world_size: int
    step: int
    steps: int
    train_images: int
    val_images: int
    skipped: int
    parameters: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class StepEvent:
    """A step to be logged: `step` of `steps` in all, which is `iteration` (from 1) of `iterations` in `epoch` (from 0).

    `losses` are those of this step and `averages` their running averages in the same epoch, by the same names.
    `step_ms` is the time of a step and `data_ms` the part of it spent waiting for data; `eta_s` is the time left.
    `max_memory_mb` is the peak of the accelerator's memory in MiB, 0 where there is none. `skipped` counts the steps
    since the start that were left out for a loss that is not a number.
    """

    epoch: int
    iteration: int
    iterations: int
    step: int
    steps: int
    lr: float
    losses: dict[str, float]
    averages: dict[str, float]
    step_ms: float
    step_ms_average: float
    data_ms: float
    data_ms_average: float
    max_memory_mb: float
    eta_s: float
    skipped: int = 0


@dataclass(frozen=True)
class EvaluationEvent:
    """The network was scored on the validation images after `step` of `steps`.

    `best_before` is the best mIoU of earlier evaluations (at most 0 when there was none), `improved` says that this
    one beat it and was saved. `samples` are the same few images every time. `seconds` is what the scoring took.
    """

    epoch: int
    step: int
    steps: int
    matrix: ConfusionMatrix
    best_before: float
    improved: bool
    samples: Sequence[Sample]
    seconds: float


@dataclass(frozen=True)
class EndEvent:
    """The run took its last step: the best validation mIoU, the checkpoint that has it, seconds since the start.

    `skipped` counts the steps since then that were left out for a loss that is not a number.
    """

    best_miou: float
    best_path: Path
    seconds: float
    skipped: int = 0


Event: TypeAlias = StepEvent | EvaluationEvent | StartEvent | EndEvent
Listener: TypeAlias = Callable[[Event], None]


def compose(listeners: Sequence[Listener]) -> Listener:
    """Return a listener that hands each event to all of `listeners`, in their order; an error of one ends the run."""

    def tell(event: Event) -> None:
        for listener in listeners:
            listener(event)

    return tell
