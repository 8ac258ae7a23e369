"""What all necks have in common: features in and out as a list, finest first, and resizing by powers of two."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from seg_core.models.blocks import ConvNormAct

#: Builds one repetition of a neck from the channels that come in.
LayerBuilder = Callable[[Sequence[int]], nn.Module]


class Pyramid(nn.Module):
    """A neck: one or more layers, each from a list of features to a list of the same spatial sizes.

    `channels` are those of the features that go out, all alike.
    """

    def __init__(self, in_channels: Sequence[int], out_channels: int, stacks: int, build_layer: LayerBuilder) -> None:
        """Run `build_layer` once for the features that come in and `stacks` - 1 times for what the neck returns."""
        super().__init__()
        self.channels = (out_channels,) * len(in_channels)
        incoming = [tuple(in_channels)] + [self.channels] * (stacks - 1)
        self.layers = nn.ModuleList(build_layer(channels) for channels in incoming)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Map features (N, in_channels[i], h_i, w_i), finest first, to (N, out_channels, h_i, w_i)."""
        outgoing = list(features)
        for layer in self.layers:
            outgoing = layer(outgoing)
        return outgoing


def lateral_convs(in_channels: Sequence[int], out_channels: int, norm: str, keep_equal: bool = False) -> nn.ModuleList:
    """Return the 1x1 convolutions that bring every feature to `out_channels`, without activation.

    With `keep_equal` a feature that has this width already passes as it is.
    """
    return nn.ModuleList(
        nn.Identity()
        if keep_equal and channels == out_channels
        else ConvNormAct(channels, out_channels, kernel=1, norm=norm, activation=False)
        for channels in in_channels
    )


def enlarge(features: Tensor, like: Tensor) -> Tensor:
    """Return `features` at the height and width of `like`, by nearest neighbour, as they are when sizes agree.

    With a ratio of exactly 2 every cell is copied to four, which all runtimes do alike, bit for bit; where the
    finer size is odd the last row or column is copied once.
    """
    if features.shape[-2:] == like.shape[-2:]:
        return features
    return F.interpolate(features, size=like.shape[-2:], mode="nearest")
