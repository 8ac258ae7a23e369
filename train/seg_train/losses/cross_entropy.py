"""Cross-entropy over all pixels, and over the hardest alone (OHEM)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from seg_core.config.schema import LossSection
from seg_train.losses.scores import Scores, weighted_mean


def cross_entropy_loss(scores: Scores, options: LossSection) -> Tensor:
    """Return the mean cross-entropy, as torch.nn.functional.cross_entropy with weights and label smoothing has it.

    The mean is weighted by the class weights. Smoothing (Szegedy et al., CVPR 2016) spreads `label_smoothing` of the
    truth evenly over all classes.
    """
    loss = weighted_mean(-scores.truth_log_probability(), scores.pixel_weights())
    smoothing = options.label_smoothing
    if not smoothing:
        return loss
    of_all = scores.log_probability
    if scores.class_weights is not None:
        of_all = of_all * scores.class_weights[:, None, None]
    counted = scores.counted.to(of_all.dtype)
    weight = scores.pixel_weights().sum()
    spread = -(of_all.mean(dim=1) * counted).sum() / torch.where(weight > 0, weight, 1.0)
    return (1 - smoothing) * loss + smoothing * spread


def ohem_loss(scores: Scores, options: LossSection) -> Tensor:
    """Return the mean cross-entropy over the hardest pixels (Shrivastava et al., CVPR 2016, per pixel).

    Kept are those whose own class has a probability under `ohem_threshold`, and in any case the `ohem_min_kept` part
    of the batch's counted pixels with the lowest ones (as many more as tie with the last).
    """
    log_probability = scores.truth_log_probability()
    # Never among the hardest: a pixel that does not count.
    hardness = torch.where(scores.counted, log_probability.detach(), torch.inf).flatten()
    wanted = (scores.counted.sum() * options.ohem_min_kept).ceil().long()
    # As many as there would be if every pixel counted: a number that no value decides. One more, as `wanted` is rounded
    # in float32.
    most = min(len(hardness), math.ceil(len(hardness) * options.ohem_min_kept) + 1)
    hardest = hardness.topk(most, largest=False).values
    last = hardest.gather(0, (wanted - 1).clamp(min=0, max=most - 1).reshape(1))
    threshold = torch.maximum(last, torch.full_like(last, options.ohem_threshold).log())
    kept = (hardness <= threshold).reshape(log_probability.shape) & scores.counted
    return weighted_mean(-log_probability, scores.pixel_weights() * kept)
