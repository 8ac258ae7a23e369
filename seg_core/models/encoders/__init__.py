"""Encoders behind one contract: from an image to features at strides 2, 4, 8, 16 and 32.

They are the libraries' own networks; importing this package imports none of the libraries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from seg_core.errors import ConfigError
from seg_core.models.encoders.base import NOMINAL_STRIDES, OUTPUT_STRIDES, Encoder
from seg_core.models.encoders.ddrnet_trunk import DDRNetEncoder
from seg_core.models.encoders.pretrained import (
    IMAGENET,
    PublishedWeights,
    WeightsFinder,
    find_lite_weights,
    find_timm_weights,
    find_torchvision_weights,
    load_pretrained,
)
from seg_core.models.encoders.timm_nets import TimmEncoder
from seg_core.models.encoders.torchvision_nets import MobileNetEncoder, ResNetEncoder
from seg_core.registry import Registry

__all__ = [
    "ENCODERS",
    "IMAGENET",
    "NOMINAL_STRIDES",
    "OUTPUT_STRIDES",
    "Encoder",
    "EncoderEntry",
    "create_encoder",
    "list_encoders",
]


@dataclass(frozen=True)
class EncoderEntry:
    """How to build an encoder from its name, input channels and output stride, and where its weights are."""

    build: Callable[[str, int, int], Encoder]
    find_weights: WeightsFinder


ENCODERS: Registry[EncoderEntry] = Registry("encoder")

for _name in ("resnet18", "resnet34", "resnet50"):
    ENCODERS.add(_name, EncoderEntry(ResNetEncoder, partial(find_torchvision_weights, _name)))

#: The last layer of each scale. V3's last is the 1x1 convolution before the pooling, as in torchvision's segmenters.
_TAPS = {
    "mobilenet_v2": (1, 3, 6, 13, 17),
    "mobilenet_v3_small": (0, 1, 3, 8, 12),
    "mobilenet_v3_large": (1, 3, 6, 12, 16),
}
for _name, _taps in _TAPS.items():
    ENCODERS.add(_name, EncoderEntry(partial(MobileNetEncoder, taps=_taps), partial(find_torchvision_weights, _name)))

#: timm's names. Its "tf_" EfficientNets carry TensorFlow's weights and therefore TensorFlow's padding.
_TIMM = {
    "ghostnet": "ghostnet_100",
    **{f"efficientnet_lite{size}": f"tf_efficientnet_lite{size}" for size in range(5)},
    **{f"mobilenet_v4_{size}": f"mobilenetv4_conv_{size}" for size in ("small", "medium", "large")},
}
for _name, _library_name in _TIMM.items():
    _build = partial(TimmEncoder, library_name=_library_name, dilates=_name != "ghostnet")
    _find = partial(find_lite_weights, _name) if _name.startswith("efficientnet_lite") else find_timm_weights
    ENCODERS.add(_name, EncoderEntry(_build, partial(_find, _library_name)), (_library_name,))

#: The release of the paper's authors names its ImageNet files so.
_DDRNET = {"ddrnet_23_slim": "DDRNet23s_imagenet.pth", "ddrnet_23": "DDRNet23_imagenet.pth"}
for _name in ("ddrnet_23_slim", "ddrnet_23", "ddrnet_39"):
    _file = _DDRNET.get(_name, "DDRNet39_imagenet.pth")
    ENCODERS.add(_name, EncoderEntry(DDRNetEncoder, partial(PublishedWeights, _file)))


def list_encoders() -> list[str]:
    """Return the names of all encoders."""
    return ENCODERS.names()


def create_encoder(name: str, in_channels: int = 3, output_stride: int = 32, pretrained: str | None = None) -> Encoder:
    """Create the encoder `name`, in training mode.

    Args:
        name: One of `list_encoders()`, or the library's own name.
        in_channels: Channels of the image; `load_pretrained` says what other numbers than 3 do to pretrained weights.
        output_stride: Stride of the deepest feature: 32, or 16 or 8, where strides are replaced by dilation.
        pretrained: "imagenet", the path of a weights file, or nothing for random weights. On torch's "meta" device
            nothing is loaded, as nothing could be held.

    Raises ConfigError when the name is unknown or the encoder cannot give the output stride, MissingDependencyError
    when its library is not installed, and CheckpointError when pretrained weights cannot be had or do not fit.
    """
    if in_channels < 1:
        raise ConfigError(f"encoder {name!r}: in_channels must be at least 1, found {in_channels}")
    name = ENCODERS.resolve(name)
    entry = ENCODERS.get(name)
    encoder = entry.build(name, in_channels, output_stride)
    if pretrained and not torch.empty(0).is_meta:
        load_pretrained(encoder, name, pretrained, entry.find_weights, in_channels)
    return encoder
