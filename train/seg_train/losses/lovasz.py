"""Lovász-Softmax: the convex surrogate of mean IoU (Berman et al., CVPR 2018, https://arxiv.org/abs/1705.08790)."""

from __future__ import annotations

import torch
from torch import Tensor

from seg_core.config.schema import LossSection
from seg_train.losses.scores import Scores, mean_over_present

#: Where pixels that do not count are sorted: behind every error there can be.
_LAST = -1.0


def lovasz_loss(scores: Scores, options: LossSection) -> Tensor:
    """Return the mean over the classes present of the Lovász extension of the Jaccard loss, over the whole batch.

    All pixels are sorted once a class, which makes this the dearest of the terms.
    """
    truth = scores.truth()
    probability = scores.log_probability.exp()
    errors = torch.where(truth, 1 - probability, probability).transpose(0, 1).flatten(1)  # (C, pixels)
    truth = truth.transpose(0, 1).flatten(1)
    counted = scores.counted.flatten()
    present = truth.any(dim=1)
    with torch.no_grad():
        # Absent classes do not count; equal errors are the fastest to sort.
        slopes = _jaccard_slopes(torch.where(counted & present[:, None], errors, _LAST), truth)
    losses = torch.where(counted, errors * slopes, 0.0).sum(dim=1)
    return mean_over_present(losses, present)


# One operation to the compiler, which takes it as it is: torch 2.11 fails to compile the cumulative sum for a GPU
# ("list indices must be integers or slices, not NoneType"), and sorting is the library's own work either way.
@torch.library.custom_op("segproof::jaccard_slopes", mutates_args=(), schema="(Tensor errors, Tensor truth) -> Tensor")
def _jaccard_slopes(errors: Tensor, truth: Tensor) -> Tensor:
    """Return what the Jaccard loss grows by when each pixel joins the wrong ones, largest error first; both (C, P).

    Given their order the extension is linear in the errors, with these slopes (equation 9 and algorithm 1). Each is
    computed on its own: the difference of two neighbouring Jaccard losses has few digits left over millions of pixels.
    """
    order = errors.argsort(dim=1, descending=True)
    ranked = truth.gather(1, order)
    hits = ranked.cumsum(dim=1)  # of integers, which is exact and has one order on a GPU, too
    area = hits[:, -1:]
    left = (area - hits).to(errors.dtype)
    ranks = torch.arange(1, errors.shape[1] + 1, device=errors.device)
    union = (area + ranks - hits).to(errors.dtype)
    # A pixel of the class leaves the intersection; any other joins the union.
    steps = torch.where(ranked, 1 / union, left / (union * (union - 1).clamp(min=1)))
    return torch.zeros_like(errors).scatter(1, order, steps)


@_jaccard_slopes.register_fake
def _slopes_like(errors: Tensor, truth: Tensor) -> Tensor:
    return torch.empty_like(errors)
