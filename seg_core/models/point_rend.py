"""PointRend for semantic segmentation (Kirillov et al., 2020, https://arxiv.org/abs/1912.08193).

Segmentation as rendering: coarse logits are enlarged step by step, and after each step only the cells where the two
best classes are closest are predicted anew, from fine features and the coarse logits at that place.

Points are always cells of the enlarged grid. Features are therefore read by bilinear enlarging and `gather`, which
equals the paper's bilinear point sampling there and, unlike `grid_sample`, converts to every target.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seg_core.errors import ConfigError

#: One cell in this many is a point: the paper's 8096 points for 1024x2048 and 2048 for a 512x1024 training crop.
CELLS_PER_POINT = 256

#: Training draws this many times more random candidates than points (the paper's k, section 3.3) …
OVERSAMPLING = 3

#: … and takes this share of the points from the most uncertain of them (beta), the rest at random.
IMPORTANT_SHARE = 0.75

#: Below any logit, and still a number in half precision.
LOWEST_SCORE = -6e4

# On the bundled DDRNet-23-slim at 256x256 with fine features at 1/4 and three subdivisions, on the three bundled
# photographs, each also mirrored and blurred, in fp32: every target chose the same points. Worst max-abs of the logits
# relative to the largest:
PROVEN_TARGETS = (
    "torchscript",  # 5.9e-7
    "onnx",  # 4.9e-7
    "coreml",  # 6.7e-7 by the evaluator; in fp16 99.84 % of the labels agree
    "tflite",  # 7.4e-7; in fp16 99.95 % of the labels agree
    "coreai",  # 5.0e-7; in fp16 99.84 % of the labels agree
)


class PointHead(nn.Module):
    """A small multi-layer perceptron over points, its weights shared by all of them (section 3.2).

    Every layer sees the coarse logits again beside the hidden values, as in the authors' implementation.

    Args:
        fine_channels: Channels of the fine features.
        num_classes: Channels of the logits.
        fc_dim: Width of the hidden layers.
        num_fc: Number of hidden layers.
    """

    def __init__(self, fine_channels: int, num_classes: int, fc_dim: int = 256, num_fc: int = 3) -> None:
        super().__init__()
        widths = [fine_channels] + [fc_dim] * num_fc
        self.hidden = nn.ModuleList(nn.Conv1d(width + num_classes, fc_dim, 1) for width in widths[:-1])
        self.scores = nn.Conv1d(widths[-1] + num_classes, num_classes, 1)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Map features (N, fine_channels, P) and coarse logits (N, num_classes, P) to logits (N, num_classes, P)."""
        values = fine
        for layer in self.hidden:
            values = F.relu(layer(torch.cat([values, coarse], dim=1)))
        return self.scores(torch.cat([values, coarse], dim=1))  # type: ignore[no-any-return]


class PointRend(nn.Module):
    """Refines coarse logits at points; has its own path for training and for inference.

    Args:
        fine_channels: Channels of the fine features, which a model takes from early in its encoder.
        num_classes: Channels of the logits.
        subdivisions: How often the coarse logits are doubled: 2 brings logits of stride 4 to input size.
        fc_dim: Width of the point head's hidden layers.
        num_fc: Number of its hidden layers.
        cells_per_point: One point is predicted for this many cells of the final grid, in each step.
    """

    proven_targets = PROVEN_TARGETS
    unproven_advice = (
        "it needs topk, gather and scatter there; build the model without it (option point_rend=false, "
        'in YAML MODEL.POSTPROCESS.NAME: [""])'
    )

    def __init__(
        self,
        fine_channels: int,
        num_classes: int,
        subdivisions: int = 2,
        fc_dim: int = 256,
        num_fc: int = 3,
        cells_per_point: int = CELLS_PER_POINT,
    ) -> None:
        super().__init__()
        numbers = {"subdivisions": subdivisions, "fc_dim": fc_dim, "num_fc": num_fc, "cells_per_point": cells_per_point}
        for name, number in numbers.items():
            if number < 1:
                raise ConfigError(f"PointRend: {name} must be at least 1, found {number}")
        self.head = PointHead(fine_channels, num_classes, fc_dim, num_fc)
        self.subdivisions = subdivisions
        self.cells_per_point = cells_per_point

    def heads(self, coarse: Tensor, fine: Tensor) -> dict[str, Tensor]:
        """Return a model's heads: in training "main" (merely enlarged) and "points", otherwise "main" refined.

        Args:
            coarse: Logits (N, num_classes, h, w).
            fine: Features (N, fine_channels, any size), for instance of the encoder at stride 4.

        All are (N, num_classes, h * 2^subdivisions, w * 2^subdivisions).
        """
        if self.training:
            enlarged = _enlarge(coarse, self._final_size(coarse))
            return {"main": enlarged, "points": self.render_training_points(coarse, fine)}
        return {"main": self(coarse, fine)}

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Return the refined logits: double, predict the most uncertain cells anew, `subdivisions` times."""
        height, width = self._final_size(coarse)
        points = max(1, height * width // self.cells_per_point)
        logits = coarse
        for _ in range(self.subdivisions):
            size_hw = (logits.shape[-2] * 2, logits.shape[-1] * 2)
            logits = _enlarge(logits, size_hw)
            cells = uncertainty(logits).topk(min(points, size_hw[0] * size_hw[1]), dim=1).indices
            logits = _scatter(logits, cells, self._predict(coarse, fine, cells, size_hw))
        return logits

    def render_training_points(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Return a dense map that teaches the point head through any dense loss.

        Points are drawn as in section 3.3, with a bias towards uncertain cells; their predictions are written
        into the enlarged coarse logits, which carry no gradient here. Gradients of the points are multiplied by
        cells / points: the mean of a loss over the map gives what its mean over the points would give.
        """
        size_hw = self._final_size(coarse)
        enlarged = _enlarge(coarse, size_hw).detach()
        cells = self._draw_cells(uncertainty(enlarged))
        predicted = self._predict(coarse, fine, cells, size_hw)
        gain = uncertainty(enlarged).shape[1] / cells.shape[1]
        predicted = predicted + (gain - 1) * (predicted - predicted.detach())
        return _scatter(enlarged, cells, predicted)

    def _final_size(self, coarse: Tensor) -> tuple[int, int]:
        return coarse.shape[-2] << self.subdivisions, coarse.shape[-1] << self.subdivisions

    def _draw_cells(self, uncertain: Tensor) -> Tensor:
        """Return cell numbers (N, P), most of them the most uncertain of a random draw."""
        batch, num_cells = uncertain.shape
        points = max(1, num_cells // self.cells_per_point)
        important = int(IMPORTANT_SHARE * points)
        drawn = torch.randint(num_cells, (batch, OVERSAMPLING * points), device=uncertain.device)
        best = uncertain.gather(1, drawn).topk(important, dim=1).indices
        others = torch.randint(num_cells, (batch, points - important), device=uncertain.device)
        return torch.cat([drawn.gather(1, best), others], dim=1)

    def _predict(self, coarse: Tensor, fine: Tensor, cells: Tensor, size_hw: tuple[int, int]) -> Tensor:
        fine_at, coarse_at = (_gather(_enlarge(features, size_hw), cells) for features in (fine, coarse))
        return self.head(fine_at, coarse_at)  # type: ignore[no-any-return]


def uncertainty(logits: Tensor) -> Tensor:
    """Return how close the two best classes are at each cell: (N, cells), 0 where they tie, else negative."""
    # By maxima and not by topk over the classes, for which LiteRT has no kernel.
    best = logits.amax(dim=1, keepdim=True)
    is_best = logits == best
    second = logits.masked_fill(is_best, LOWEST_SCORE).amax(dim=1, keepdim=True)
    tied = is_best.to(logits.dtype).sum(dim=1, keepdim=True) > 1
    return (second - best).masked_fill(tied, 0.0).flatten(1)


def _enlarge(features: Tensor, size_hw: tuple[int, int]) -> Tensor:
    if tuple(features.shape[-2:]) == tuple(size_hw):
        return features
    return F.interpolate(features, size=size_hw, mode="bilinear", align_corners=False)


def _gather(features: Tensor, cells: Tensor) -> Tensor:
    """Read (N, C, h, w) at cells (N, P), counted row by row; returns (N, C, P)."""
    return features.flatten(2).gather(2, cells[:, None].expand(-1, features.shape[1], -1))


def _scatter(features: Tensor, cells: Tensor, values: Tensor) -> Tensor:
    """Return a copy of (N, C, h, w) with `values` (N, C, P) at cells (N, P)."""
    index = cells[:, None].expand(-1, features.shape[1], -1)
    if values.dtype != features.dtype:  # under autocast, where coarse logits come in float32
        values = values.to(features.dtype)
    return features.flatten(2).scatter(2, index, values).reshape(features.shape)
