"""DDRNet's own trunk as an encoder (Hong et al., 2021, https://arxiv.org/abs/2101.06085).

Its two branches give what the contract asks for: stem, first stage, the high-resolution branch in stage 4, and the
other branch after stages 3 and 4. What follows (stage 5 at 1/64, the pyramid pooling and the step that brings stage 4
up to the high-resolution branch) is DDRNet's decoder, whose place a neck or another decoder takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from seg_core.models.ddrnet import DDRNet
from seg_core.models.encoders.base import NOMINAL_STRIDES, Encoder, check_output_stride

_VARIANTS: dict[str, dict[str, Any]] = {
    "ddrnet_23_slim": {"planes": 32},
    "ddrnet_23": {"planes": 64},
    "ddrnet_39": {"planes": 64, "blocks": (3, 4, 6, 3), "stage3_parts": 2},
}
_DECODER = ("compression4", "layer5_", "layer5", "spp", "seghead_extra", "final_layer")
_TRUNK = "trunk."


class DDRNetTrunk(DDRNet):
    """A DDRNet without what only its decoder needs."""

    def __init__(self, in_channels: int, **variant: Any) -> None:
        super().__init__(2, in_channels, aux_head=False, **variant)
        for part in _DECODER:
            delattr(self, part)

    def features(self, image: Tensor) -> list[Tensor]:
        """Return five features at strides 2 to 32, rectified as DDRNet's next stage would do first."""
        stem = self.conv1[:3](image)
        quarter = F.relu(self.layer1(self.conv1[3:](stem)))
        low = high = self.layer2(quarter)
        for part in self.stage3_parts:
            low, high = self._exchange(part, low, high)
        sixteenth = F.relu(low)
        eighth = F.relu(self.get_submodule("layer4_")(F.relu(high)))
        deepest = F.relu(self.get_submodule("layer4")(sixteenth) + self.get_submodule("down4")(eighth))
        return [stem, quarter, eighth, sixteenth, deepest]


class DDRNetEncoder(Encoder):
    """The trunk of `ddrnet_23_slim`, `ddrnet_23` or `ddrnet_39`, at output stride 32 alone."""

    def __init__(self, name: str, in_channels: int, output_stride: int) -> None:
        why = "its branches exchange features between 1/8, 1/16 and 1/32"
        check_output_stride(name, output_stride, NOMINAL_STRIDES[-1:], why)
        planes = _VARIANTS[name]["planes"]
        super().__init__([planes, planes, 2 * planes, 4 * planes, 8 * planes], output_stride)
        self.trunk = DDRNetTrunk(in_channels, **_VARIANTS[name])

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the five features of `image`; see Encoder."""
        return self.trunk.features(image)

    def stem(self) -> str:
        """Return "trunk.conv1.0.weight"."""
        return f"{_TRUNK}conv1.0.weight"

    def rename_weights(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the state dict of a DDRNet (a segmenting or a classifying one) below `trunk`."""
        return {_TRUNK + key: value for key, value in state.items()}
