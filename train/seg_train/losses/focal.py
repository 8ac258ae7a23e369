"""Focal loss: cross-entropy that turns away from what is already right."""

from __future__ import annotations

import torch
from torch import Tensor

from seg_core.config.schema import LossSection
from seg_train.losses.scores import Scores, weighted_mean


def focal_loss(scores: Scores, options: LossSection) -> Tensor:
    """Return the mean of -(1 - p)^gamma log p, p being the probability of the truth (Lin et al., ICCV 2017).

    `focal_gamma` 0 is cross-entropy. The class weights are the paper's alpha; the mean is weighted by them.
    """
    log_probability = scores.truth_log_probability()
    doubt = -torch.expm1(log_probability)  # 1 - p, exact near p = 1
    # The slope of x^gamma at 0 is infinite for gamma < 1.
    factor = doubt.clamp(min=torch.finfo(doubt.dtype).eps).pow(options.focal_gamma)
    return weighted_mean(-factor * log_probability, scores.pixel_weights())
