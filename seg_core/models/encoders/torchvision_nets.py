"""Encoders from torchvision: ResNet and MobileNet V2 and V3, cut before their classifiers.

He et al. 2016 (https://arxiv.org/abs/1512.03385), Sandler et al. 2018 (https://arxiv.org/abs/1801.04381) and Howard et
al. 2019 (https://arxiv.org/abs/1905.02244). The library's own children are run in order: names in the state dict are
the library's, and nothing but tensors passes between them, so tracing and capturing see one straight graph.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seg_core.models.encoders.base import NOMINAL_STRIDES, Encoder, check_output_stride
from seg_core.models.encoders.dilation import replace_strides
from seg_core.models.vision_libraries import load_torchvision


class ResNetEncoder(Encoder):
    """A ResNet's stem and four stages; the first feature is the stem's, before the max pooling."""

    def __init__(self, name: str, in_channels: int, output_stride: int) -> None:
        check_output_stride(name, output_stride)
        network = load_torchvision(f"encoder {name!r}").models.get_model(name, weights=None)
        stages = [network.layer1, network.layer2, network.layer3, network.layer4]
        channels = [network.conv1.out_channels, *(network.fc.in_features * step // 8 for step in (1, 2, 4, 8))]
        super().__init__(channels, output_stride)
        self.conv1 = widen_stem(network.conv1, in_channels)
        self.bn1 = network.bn1
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        dilated = [stage for stage, stride in zip(stages, NOMINAL_STRIDES[1:], strict=True) if stride > output_stride]
        replace_strides(block for stage in dilated for block in stage)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the five features of `image`; see Encoder."""
        features = [F.relu(self.bn1(self.conv1(image)))]
        deeper = F.max_pool2d(features[0], kernel_size=3, stride=2, padding=1)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            deeper = stage(deeper)
            features.append(deeper)
        return features

    def stem(self) -> str:
        """Return "conv1.weight"."""
        return "conv1.weight"

    def rename_weights(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return `state` as it is: the names are torchvision's."""
        return dict(state)


class MobileNetEncoder(Encoder):
    """The layers of a MobileNet V2 or V3 that `torchvision` calls `features`.

    `taps` are the indices of the last layer of each scale; what follows the last of them is left out.
    """

    def __init__(self, name: str, in_channels: int, output_stride: int, taps: Sequence[int]) -> None:
        check_output_stride(name, output_stride)
        network = load_torchvision(f"encoder {name!r}").models.get_model(name, weights=None)
        layers = list(network.features)[: taps[-1] + 1]
        super().__init__([layers[tap].out_channels for tap in taps], output_stride)
        layers[0][0] = widen_stem(layers[0][0], in_channels)
        self.features = nn.Sequential(*layers)
        self.taps = tuple(taps)
        kept = NOMINAL_STRIDES.index(output_stride)
        replace_strides(layers[taps[kept] + 1 :])

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the five features of `image`; see Encoder."""
        features: list[Tensor] = []
        deeper = image
        for index, layer in enumerate(self.features):
            deeper = layer(deeper)
            if index in self.taps:
                features.append(deeper)
        return features

    def stem(self) -> str:
        """Return "features.0.0.weight"."""
        return "features.0.0.weight"

    def rename_weights(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return `state` as it is: the names are torchvision's."""
        return dict(state)


def widen_stem(conv: nn.Conv2d, in_channels: int) -> nn.Conv2d:
    """Return a first convolution like `conv` that reads `in_channels`; with equal channels, `conv` itself."""
    if conv.in_channels == in_channels:
        return conv
    stem = nn.Conv2d(
        in_channels,
        conv.out_channels,
        (conv.kernel_size[0], conv.kernel_size[1]),
        (conv.stride[0], conv.stride[1]),
        (int(conv.padding[0]), int(conv.padding[1])),
        bias=conv.bias is not None,
    )
    if not torch.empty(0).is_meta:
        nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
    return stem
