"""What the terms of the loss have in common: one head's scores against the labels, prepared once."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Scores(NamedTuple):
    """One head's answer beside the truth, at the size of the labels.

    `log_probability` is float32 (N, C, H, W); `target` int64 (N, H, W) with a class where `counted` (bool) is true
    and anything elsewhere. `class_weights` is float32 (C,). `edge` holds the edge head's logits, (N, H, W), where
    there is one. No shape depends on values, and no method indexes by a mask, so that a step can be captured.
    """

    log_probability: Tensor
    target: Tensor
    counted: Tensor
    class_weights: Tensor | None = None
    edge: Tensor | None = None

    @property
    def num_classes(self) -> int:
        """Return the number of classes."""
        return self.log_probability.shape[1]

    def truth(self) -> Tensor:
        """Return bool (N, C, H, W): whether a pixel counts and has this class.

        It is a comparison, which a compiler folds into whatever reads it; nothing of this size is stored then.
        """
        classes = torch.arange(self.num_classes, device=self.target.device)[:, None, None]
        return (self.target[:, None] == classes) & self.counted[:, None]

    def truth_log_probability(self) -> Tensor:
        """Return the log-probability of each pixel's own class, (N, H, W); 0 where the pixel does not count."""
        # Not by `gather`: its backward scatters, which is slow and on a GPU in no fixed order.
        return torch.where(self.truth(), self.log_probability, 0.0).sum(dim=1)

    def pixel_weights(self) -> Tensor:
        """Return each pixel's weight in an average, (N, H, W): its class's or 1, and 0 where it does not count."""
        counted = self.counted.to(self.log_probability.dtype)
        if self.class_weights is None:
            return counted
        return counted * self.class_weights[torch.where(self.counted, self.target, 0)]


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Return the mean of `values` under `weights`, and 0 (with gradients of 0) where all weights are 0."""
    total = weights.sum()
    return (values * weights).sum() / torch.where(total > 0, total, 1.0)


def mean_over_present(losses: Tensor, present: Tensor) -> Tensor:
    """Return the mean of `losses` (C,) over the classes that are `present` (C,), 0 without any."""
    return weighted_mean(losses, present.to(losses.dtype))
