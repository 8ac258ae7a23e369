"""Edges beside regions: JointEdgeSeg, after Gated-SCNN (Takikawa et al., ICCV 2019, https://arxiv.org/abs/1907.05740).

A second head says where classes meet. It has a binary loss of its own, and two terms tie it to the segmentation.
Gated-SCNN draws Gumbel noise where a segmentation's edges are taken; here they come from the probabilities as they
are, so that a step is the same in every run.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from seg_core.config.schema import LossSection
from seg_train.losses.scores import Scores, weighted_mean

#: A pixel is an edge where another class lies at most this far away, along rows and columns: where two regions
#: meet, edges are four pixels thick, two on either side (Gated-SCNN's radius).
EDGE_RADIUS = 2

#: From this probability of an edge on, the segmentation is asked about it again (the paper's thrs, section 4.2).
CERTAIN_EDGE = 0.8

#: Boundaries weaker than this do not count as such: softmax leaves a trace of every class everywhere.
FAINT = 0.01

#: Under the root of a slope's length, where its derivative would be infinite.
_TINY = 1e-8


def edge_loss(scores: Scores, options: LossSection) -> Tensor:
    """Return the balanced binary cross-entropy of the edge head against the edges of the labels.

    Edges weigh the share of the other pixels and the others the share of edges (Xie and Tu, HED, ICCV 2015). Edges
    are those of `label_edges`.
    """
    assert scores.edge is not None
    counted = scores.counted.to(scores.edge.dtype)
    edges = label_edges(scores).to(scores.edge.dtype)
    number = counted.sum().clamp(min=1)
    share = edges.sum() / number
    weights = counted * torch.where(edges > 0, 1 - share, share)
    entropy = F.binary_cross_entropy_with_logits(scores.edge, edges, reduction="none")
    return (weights * entropy).sum() / number


def boundary_loss(scores: Scores, options: LossSection) -> Tensor:
    """Return how far the segmentation is from having its boundaries where the labels and the edge head have them.

    It is the sum of the paper's two dual-task terms: the mean difference between the boundaries of the predicted and
    the true regions (equation 5), over the places where either has one, and the cross-entropy where the edge
    head is certain of an edge (equation 6), whose gradient reaches the segmentation alone.
    """
    assert scores.edge is not None
    predicted = _boundaries(scores.log_probability.exp())
    true = _boundaries(scores.truth().to(predicted.dtype))
    # Beside a pixel of unknown class a true boundary is unknown, too.
    known = ~_spread(~scores.counted, 1)[:, None]
    places = known & (torch.maximum(predicted.detach(), true) > FAINT)
    difference = weighted_mean((predicted - true).abs(), places.to(predicted.dtype))
    certain = scores.edge.detach() > math.log(CERTAIN_EDGE / (1 - CERTAIN_EDGE))
    attended = weighted_mean(-scores.truth_log_probability(), scores.pixel_weights() * certain)
    return difference + attended


def label_edges(scores: Scores) -> Tensor:
    """Return bool (N, H, W): pixels that count and have another counting class within EDGE_RADIUS (a square)."""
    # As floats, since pooling takes no integers; labels are exact in them.
    classes = scores.target.to(scores.log_probability.dtype)
    highest = _pool(torch.where(scores.counted, classes, -torch.inf), EDGE_RADIUS)
    lowest = -_pool(torch.where(scores.counted, -classes, -torch.inf), EDGE_RADIUS)
    return (highest > lowest) & scores.counted


def _boundaries(regions: Tensor) -> Tensor:
    """Return 1/sqrt(2) of the length of each map's smoothed slope, (N, C, H, W); a straight step has 1/sqrt(2)."""
    # The outermost row and column again, by copies: the backward of replicating pads adds with atomics on a GPU.
    padded = torch.cat([regions[..., :1], regions, regions[..., -1:]], dim=-1)
    padded = torch.cat([padded[..., :1, :], padded, padded[..., -1:, :]], dim=-2)
    across = padded[..., 2:] - padded[..., :-2]
    down = padded[..., 2:, :] - padded[..., :-2, :]
    across = (across[..., :-2, :] + 2 * across[..., 1:-1, :] + across[..., 2:, :]) / 4
    down = (down[..., :-2] + 2 * down[..., 1:-1] + down[..., 2:]) / 4
    return ((across.square() + down.square() + _TINY) / 2).sqrt()


def _spread(mask: Tensor, radius: int) -> Tensor:
    return _pool(mask.float(), radius) > 0


def _pool(values: Tensor, radius: int) -> Tensor:
    return F.max_pool2d(values[:, None], 2 * radius + 1, stride=1, padding=radius)[:, 0]
