"""PANet's neck: FPN with a second, bottom-up path (Liu et al., 2018, https://arxiv.org/abs/1803.01534)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import Tensor, nn

from seg_core.models.blocks import ConvNormAct
from seg_core.models.necks.fpn import TopDown
from seg_core.models.necks.pyramid import Pyramid


class PathAggregation(nn.Module):
    """The top-down pass of FPN, then a bottom-up path augmentation (section 3.1, figure 2).

    Each step takes a finer result through a 3x3 convolution of stride 2, adds the feature of that size and runs
    another 3x3 convolution; both are followed by a ReLU. The finest feature is taken as it is.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        strides: Sequence[int],
        out_channels: int,
        norm: str,
        separable: bool = False,
    ) -> None:
        super().__init__()
        self.top_down = TopDown(in_channels, out_channels, norm, separable)
        steps = [coarse // fine for fine, coarse in itertools.pairwise(strides)]
        self.lower = nn.ModuleList(
            ConvNormAct(out_channels, out_channels, stride=step, norm=norm, separable=separable) for step in steps
        )
        self.fuse = nn.ModuleList(
            ConvNormAct(out_channels, out_channels, norm=norm, separable=separable) for _ in steps
        )

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Map features, finest first, to as many of one width and the same sizes."""
        finest, *coarser = self.top_down(features)
        results: list[Tensor] = [finest]
        for lower, fuse, feature in zip(self.lower, self.fuse, coarser, strict=True):
            results.append(fuse(lower(results[-1]) + feature))
        return results


def create_panet(
    in_channels: Sequence[int],
    strides: Sequence[int],
    out_channels: int,
    norm: str = "batch",
    stacks: int = 1,
    separable: bool = False,
) -> Pyramid:
    """Create a PANet neck; `stacks` more than 1 runs both paths again on their own result."""
    return Pyramid(
        in_channels,
        out_channels,
        stacks,
        lambda channels: PathAggregation(channels, strides, out_channels, norm, separable),
    )
