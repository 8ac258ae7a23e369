"""Events of a made-up run for the tests of its listeners."""

from datetime import datetime

import numpy as np

from seg_core.labels import LabelSet
from seg_core.metrics import ConfusionMatrix
from seg_train.events import EndEvent, EvaluationEvent, Sample, StartEvent, StepEvent

LABELS = LabelSet(("background", "<skin> & hair", "nose"), ((0, 0, 0), (255, 0, 0), (0, 0, 255)))
NOW = datetime(2021, 5, 1, 12, 34, 56)


def start(step=0, **changes):
    values = {"device": "cpu", "world_size": 1, "step": step, "steps": 40, "train_images": 12, "val_images": 4,
              "skipped": 0, "parameters": 5_700_000}  # fmt: skip
    return StartEvent(**values | changes)


def step(number=10, **changes):
    values = {
        "epoch": (number - 1) // 20, "iteration": (number - 1) % 20 + 1, "iterations": 20, "step": number, "steps": 40,
        "lr": 1.23e-4, "losses": {"loss": 2.0 / number, "main": 1.6 / number, "aux": 0.4 / number},
        "averages": {"loss": 2.1 / number, "main": 1.7 / number, "aux": 0.4 / number},
        "step_ms": 12.3, "step_ms_average": 13.0, "data_ms": 0.1, "data_ms_average": 0.2, "max_memory_mb": 1234.4,
        "eta_s": 3723.4,
    }  # fmt: skip
    return StepEvent(**values | changes)


def matrix():
    """3 classes: 4 pixels right of 0; of 4 of 1, 3 right and 1 taken for 0; none of 2 in truth or prediction."""
    confusion = ConfusionMatrix(3)
    confusion.update(np.array([0, 0, 0, 0, 1, 1, 1, 0], np.uint8), np.array([0, 0, 0, 0, 1, 1, 1, 1], np.uint8))
    return confusion


def samples(count=2):
    truth = np.zeros((48, 64), np.uint8)
    truth[10:30, 10:40] = 1
    truth[0:4] = 255
    predicted = np.roll(np.where(truth == 255, 0, truth).astype(np.uint8), 4, axis=1)
    predicted[20:25, 20:25] = 2
    return [Sample(np.full((48, 64, 3), 90 + 20 * index, np.uint8), truth, predicted) for index in range(count)]


def evaluation(number=20, **changes):
    values = {"epoch": 0, "step": number, "steps": 40, "matrix": matrix(), "best_before": 0.5, "improved": True,
              "samples": samples(), "seconds": 1.5}  # fmt: skip
    return EvaluationEvent(**values | changes)


def end(path):
    return EndEvent(best_miou=0.775, best_path=path, seconds=61.2)
