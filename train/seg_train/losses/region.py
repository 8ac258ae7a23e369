"""Losses over whole regions: soft Dice and soft IoU."""

from __future__ import annotations

import torch
from torch import Tensor

from seg_core.config.schema import LossSection
from seg_train.losses.scores import Scores, mean_over_present

#: Added to both halves of a ratio: a class of few pixels moves in finite steps.
SMOOTH = 1.0


def dice_loss(scores: Scores, options: LossSection) -> Tensor:
    """Return 1 - mean soft Dice over the classes present in the batch (Milletari et al., V-Net, 3DV 2016).

    Areas are plain sums of probabilities, not of their squares.
    """
    overlap, predicted, truth = soft_areas(scores)
    dice = (2 * overlap + SMOOTH) / (predicted + truth + SMOOTH)
    return mean_over_present(1 - dice, truth > 0)


def iou_loss(scores: Scores, options: LossSection) -> Tensor:
    """Return 1 - mean soft IoU over the classes present in the batch (Rahman and Wang, ISVC 2016)."""
    overlap, predicted, truth = soft_areas(scores)
    iou = (overlap + SMOOTH) / (predicted + truth - overlap + SMOOTH)
    return mean_over_present(1 - iou, truth > 0)


def soft_areas(scores: Scores) -> tuple[Tensor, Tensor, Tensor]:
    """Return the overlap, the predicted and the true area of each class, (C,), in pixels of the whole batch."""
    probability, truth = scores.log_probability.exp(), scores.truth()
    axes = (0, 2, 3)
    overlap = torch.where(truth, probability, 0.0).sum(axes)
    predicted = torch.where(scores.counted[:, None], probability, 0.0).sum(axes)
    return overlap, predicted, truth.sum(axes, dtype=probability.dtype)
