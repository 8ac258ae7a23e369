"""BiFPN: bidirectional pyramid with learned weights (Tan et al., 2020, https://arxiv.org/abs/1911.09070)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seg_core.models.blocks import ConvNormAct
from seg_core.models.necks.pyramid import Pyramid, enlarge, lateral_convs

#: Keeps the division defined when every weight has gone to zero; the paper's value (section 3.3).
EPSILON = 1e-4


class FastFusion(nn.Module):
    """Fast normalised fusion (section 3.3), then a ReLU and a depthwise-separable convolution.

    The weights are rectified and divided by their sum, so they lie in 0..1 without a softmax. In evaluation mode
    nothing that they are computed from varies, so an export can fold them to constants.
    """

    def __init__(self, num_inputs: int, channels: int, norm: str) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.ones(num_inputs))
        self.conv = ConvNormAct(channels, channels, norm=norm, activation=False, separable=True)

    def normalised_weights(self) -> Tensor:
        """Return what the inputs are multiplied by, (num_inputs,), each in 0..1, of sum 1 minus epsilon's part."""
        positive = F.relu(self.weights)
        return positive / (positive.sum() + EPSILON)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return the weighted sum of `inputs`, all (N, channels, h, w), rectified and convolved."""
        weights = self.normalised_weights().reshape(-1, 1, 1, 1, 1)  # with rank 0 LiteRT transposes around each product
        total = inputs[0] * weights[0]
        for index in range(1, len(inputs)):
            total = total + inputs[index] * weights[index]
        return self.conv(F.relu(total))  # type: ignore[no-any-return]


class BidirectionalLayer(nn.Module):
    """One BiFPN layer (figure 2d): top-down, then bottom-up, with an extra edge from input to output.

    Features are made smaller by a 3x3 max pooling of stride 2 and larger by nearest neighbour. ReLU takes the
    place of the paper's swish, as in EfficientDet-Lite: it is quick on every phone and survives quantisation.
    """

    def __init__(self, in_channels: Sequence[int], strides: Sequence[int], out_channels: int, norm: str) -> None:
        super().__init__()
        inner = len(in_channels) - 2
        self.lateral = lateral_convs(in_channels, out_channels, norm, keep_equal=True)
        self.steps = tuple(coarse // fine for fine, coarse in itertools.pairwise(strides))
        self.top_down = nn.ModuleList(FastFusion(2, out_channels, norm) for _ in self.steps)
        self.bottom_up = nn.ModuleList([FastFusion(3, out_channels, norm) for _ in range(inner)])
        self.bottom_up.append(FastFusion(2, out_channels, norm))

    def _lower(self, features: Tensor, step: int) -> Tensor:
        return features if step == 1 else F.max_pool2d(features, kernel_size=3, stride=step, padding=1)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Map features, finest first, to as many of one width and the same sizes."""
        inputs = [lateral(feature) for lateral, feature in zip(self.lateral, features, strict=True)]
        middle = list(inputs)
        for level in reversed(range(len(inputs) - 1)):
            raised = enlarge(middle[level + 1], like=inputs[level])
            middle[level] = self.top_down[level]([inputs[level], raised])
        results = [middle[0]]
        for level in range(1, len(inputs)):
            sources = [inputs[level], self._lower(results[-1], self.steps[level - 1])]
            if level < len(inputs) - 1:  # the coarsest level has no node on the way down
                sources.insert(1, middle[level])
            results.append(self.bottom_up[level - 1](sources))
        return results


def create_bifpn(
    in_channels: Sequence[int],
    strides: Sequence[int],
    out_channels: int,
    norm: str = "batch",
    stacks: int = 1,
    separable: bool = True,
) -> Pyramid:
    """Create a BiFPN of `stacks` layers (3 to 8 in the paper); its convolutions are always separable."""
    del separable
    return Pyramid(
        in_channels, out_channels, stacks, lambda channels: BidirectionalLayer(channels, strides, out_channels, norm)
    )
