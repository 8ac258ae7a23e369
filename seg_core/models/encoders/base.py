"""What every encoder offers: features of five scales, finest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from seg_core.errors import ConfigError

#: Distance of neighbouring feature cells in input pixels where nothing is dilated.
NOMINAL_STRIDES = (2, 4, 8, 16, 32)
OUTPUT_STRIDES = (8, 16, 32)


class Encoder(nn.Module):
    """A network from images to five features.

    `channels` and `strides` describe the features, finest first. With an output stride of 16 or 8 the deepest ones
    keep that stride. Inputs are float32 NCHW, RGB and normalised with ImageNet's mean and deviation where the weights
    come from there; height and width are multiples of the last stride.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]

    def __init__(self, channels: Sequence[int], output_stride: int) -> None:
        super().__init__()
        self.channels = tuple(channels)
        self.strides = tuple(min(stride, output_stride) for stride in NOMINAL_STRIDES)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Map (N, in_channels, H, W) to features (N, channels[i], H / strides[i], W / strides[i])."""
        raise NotImplementedError

    def stem(self) -> str:
        """Return the name of the weight that reads the image, as in `state_dict`."""
        raise NotImplementedError

    def rename_weights(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the library's own state dict under the names of this encoder's `state_dict`."""
        raise NotImplementedError


def check_output_stride(name: str, output_stride: int, possible: Sequence[int] = OUTPUT_STRIDES, why: str = "") -> None:
    """Refuse an output stride that encoder `name` cannot give; raises ConfigError with the nearest that works."""
    if output_stride in possible:
        return
    nearest = min(possible, key=lambda stride: abs(stride - output_stride))
    reason = f" because {why}" if why and output_stride in OUTPUT_STRIDES else ""
    raise ConfigError(
        f"encoder {name!r} cannot give output stride {output_stride}{reason}; "
        f"use {nearest} (possible: {', '.join(map(str, possible))})"
    )
