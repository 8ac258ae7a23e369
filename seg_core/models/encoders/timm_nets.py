"""Encoders from timm: GhostNet, EfficientNet-Lite and MobileNet V4, as timm cuts them for dense prediction.

Han et al. 2020 (https://arxiv.org/abs/1911.11907), Tan & Le 2019 (https://arxiv.org/abs/1905.11946; Lite is
TensorFlow's release of it without squeeze and excitation and with ReLU6) and Qin et al. 2024
(https://arxiv.org/abs/2404.10518).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from torch import Tensor

from seg_core.models.encoders.base import NOMINAL_STRIDES, Encoder, check_output_stride
from seg_core.models.encoders.dilation import replace_strides
from seg_core.models.vision_libraries import load_timm

_TRUNK = "trunk."
_COUNTER = ".num_batches_tracked"


class TimmEncoder(Encoder):
    """The network that timm calls `library_name`, with `features_only`.

    timm dilates its EfficientNet and MobileNet families itself (`dilates`), GhostNet is dilated here. EfficientNet-Lite
    pads as TensorFlow does: its strided cells are the last, not the first, of every two of the dense grid. Its ImageNet
    weights expect mean and deviation 0.5 instead of ImageNet's.
    """

    def __init__(
        self, name: str, in_channels: int, output_stride: int, library_name: str, dilates: bool = True
    ) -> None:
        check_output_stride(name, output_stride)
        trunk = load_timm(f"encoder {name!r}").create_model(
            library_name,
            pretrained=False,
            features_only=True,
            in_chans=in_channels,
            output_stride=output_stride if dilates else NOMINAL_STRIDES[-1],
        )
        super().__init__(trunk.feature_info.channels(), output_stride)
        self.trunk = trunk
        if not dilates:
            tap = trunk.feature_info.module_name(NOMINAL_STRIDES.index(output_stride)).replace(".", "_")
            children = dict(trunk.named_children())
            later = list(children)[list(children).index(tap) + 1 :]
            replace_strides(block for child in later for block in children[child])

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the five features of `image`; see Encoder."""
        return list(self.trunk(image))

    def stem(self) -> str:
        """Return "trunk.conv_stem.weight"."""
        return f"{_TRUNK}conv_stem.weight"

    def rename_weights(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return timm's `state` below `trunk`, or that of the efficientnet_pytorch family of packages.

        GhostNet's blocks are flattened here, "blocks.3." to "blocks_3.". The other family numbers all blocks in one row
        and names their layers in its own way, but has the same layers in the same order.
        """
        own = self.state_dict().keys()
        if "_conv_stem.weight" in state:
            return _match_by_order([key for key in own if not key.endswith(_COUNTER)], state)
        renamed = {key: _TRUNK + key for key in state}
        flattened = {key: _TRUNK + key.replace("blocks.", "blocks_", 1) for key in state}
        return {(flattened if flattened[key] in own else renamed)[key]: value for key, value in state.items()}


def _match_by_order(own: Sequence[str], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give the entries of `state` the names `own` in order, up to the first whose kind differs."""
    entries = [(key, value) for key, value in state.items() if not key.endswith(_COUNTER)]
    pairs = zip(own, entries, strict=False)
    same_kind = itertools.takewhile(lambda pair: pair[0].rpartition(".")[2] == pair[1][0].rpartition(".")[2], pairs)
    return {name: value for name, (_, value) in same_kind}
