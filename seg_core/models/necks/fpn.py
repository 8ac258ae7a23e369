"""FPN: feature pyramid network (Lin et al., 2017, https://arxiv.org/abs/1612.03144)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from seg_core.models.blocks import ConvNormAct
from seg_core.models.necks.pyramid import Pyramid, enlarge, lateral_convs


class TopDown(nn.Module):
    """Adds each coarser feature, enlarged, to the next finer one and smooths the sums (figure 3).

    1x1 convolutions bring all features to one width first; a 3x3 convolution on every sum "reduces the aliasing
    effect of upsampling". As in the paper nothing is rectified.
    """

    def __init__(self, in_channels: Sequence[int], out_channels: int, norm: str, separable: bool = False) -> None:
        super().__init__()
        self.lateral = lateral_convs(in_channels, out_channels, norm)
        self.smooth = nn.ModuleList(
            ConvNormAct(out_channels, out_channels, norm=norm, activation=False, separable=separable)
            for _ in in_channels
        )

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Map features, finest first, to as many of one width and the same sizes."""
        sums = [lateral(feature) for lateral, feature in zip(self.lateral, features, strict=True)]
        for level in reversed(range(len(sums) - 1)):
            sums[level] = sums[level] + enlarge(sums[level + 1], like=sums[level])
        return [smooth(total) for smooth, total in zip(self.smooth, sums, strict=True)]


def create_fpn(
    in_channels: Sequence[int],
    strides: Sequence[int],
    out_channels: int,
    norm: str = "batch",
    stacks: int = 1,
    separable: bool = False,
) -> Pyramid:
    """Create an FPN; `stacks` more than 1 runs the top-down pass again on its own result."""
    del strides  # nothing is made smaller here
    return Pyramid(in_channels, out_channels, stacks, lambda channels: TopDown(channels, out_channels, norm, separable))
