"""BiSeNet: a bilateral segmentation network (Yu et al., ECCV 2018, https://arxiv.org/abs/1808.00897).

A shallow spatial path keeps 1/8 of the input size, a ResNet with attention and the global mean gives context, and
a fusion module weighs their channels. Modules are named as in the published state dicts, so that those load as
they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seg_core.models.base import SegmentationModel
from seg_core.models.bisenet_tasks import COINCHEUNG_ORIGIN, COINCHEUNG_TASKS, FACE_ORIGIN, FACE_TASKS
from seg_core.models.blocks import ScoreHead, separate_convolutions
from seg_core.models.encoders import Encoder, create_encoder
from seg_core.models.published_form import PUBLISHED, PublishedForm
from seg_core.spec.model import OptionValue

#: The main head reads features whose cells are this many input pixels apart.
FEATURE_STRIDE = 8

#: Width of both paths' results.
_PLANES = 128

#: Hidden width of the edge head.
EDGE_CHANNELS = 64


class ConvBnRelu(nn.Module):
    """Convolution without bias, BatchNorm and ReLU; the input is padded by half the kernel."""

    def __init__(self, in_planes: int, planes: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_planes, planes, kernel, stride, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(planes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_planes, h, w) to (N, planes, h / stride, w / stride)."""
        return F.relu(self.bn(self.conv(x)))


def repeat(features: Tensor, factor: int, like: Tensor) -> Tensor:
    """Repeat cells `factor` times in both directions and crop to the size of `like`.

    Cropping matters where an odd size had been halved. It keeps the ratio whole, which not every converter's
    nearest-neighbour resizing survives otherwise, and is what that resizing gives for sizes halved once.
    """
    height, width = like.shape[-2:]
    return F.interpolate(features, scale_factor=float(factor), mode="nearest")[..., :height, :width]


def initialise(network: nn.Module) -> None:
    """Fill the convolutions of a fresh network (He et al., 2015), except its encoder's and on the meta device."""
    encoded = {inner for module in network.modules() if isinstance(module, Encoder) for inner in module.modules()}
    for module in (module for module in network.modules() if module not in encoded):
        # Fan-in: by fan-out a depthwise weight would vanish and the scores of a wide head would explode.
        if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class AttentionRefinement(nn.Module):
    """3x3 convolution whose channels are weighed by their global means (figure 2b)."""

    def __init__(self, in_planes: int, planes: int) -> None:
        super().__init__()
        self.conv = ConvBnRelu(in_planes, planes, 3)
        self.conv_atten = nn.Conv2d(planes, planes, 1, bias=False)
        self.bn_atten = nn.BatchNorm2d(planes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_planes, h, w) to (N, planes, h, w)."""
        x = self.conv(x)
        attention = self.bn_atten(self.conv_atten(x.mean(dim=(2, 3), keepdim=True)))
        return x * attention.sigmoid()  # type: ignore[no-any-return]


class ContextPath(nn.Module):
    """ResNet whose two deepest features are refined and brought back up, starting from their global mean."""

    def __init__(self, encoder: str, in_channels: int, pretrained: str) -> None:
        super().__init__()
        self.resnet = create_encoder(encoder, in_channels, pretrained=pretrained or None)
        planes16, planes32 = self.resnet.channels[-2:]
        self.arm16 = AttentionRefinement(planes16, _PLANES)
        self.arm32 = AttentionRefinement(planes32, _PLANES)
        self.conv_head32 = ConvBnRelu(_PLANES, _PLANES, 3)
        self.conv_head16 = ConvBnRelu(_PLANES, _PLANES, 3)
        self.conv_avg = ConvBnRelu(planes32, _PLANES, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the ResNet's features at 1/8 and the context at 1/8 and at 1/16, both of 128 channels."""
        _, _, eighth, sixteenth, deepest = self.resnet(image)
        mean = self.conv_avg(deepest.mean(dim=(2, 3), keepdim=True))
        coarse = self.conv_head32(repeat(self.arm32(deepest) + mean, 2, like=sixteenth))
        fine = self.conv_head16(repeat(self.arm16(sixteenth) + coarse, 2, like=eighth))
        return eighth, fine, coarse


class SpatialPath(nn.Module):
    """Three convolutions of stride 2 and a 1x1 convolution (section 3.1)."""

    def __init__(self, in_channels: int, planes: int = 64) -> None:
        super().__init__()
        self.conv1 = ConvBnRelu(in_channels, planes, 7, stride=2)
        self.conv2 = ConvBnRelu(planes, planes, 3, stride=2)
        self.conv3 = ConvBnRelu(planes, planes, 3, stride=2)
        self.conv_out = ConvBnRelu(planes, _PLANES, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, 128, H / 8, W / 8)."""
        return self.conv_out(self.conv3(self.conv2(self.conv1(image))))  # type: ignore[no-any-return]


class FeatureFusion(nn.Module):
    """Join both paths by a 1x1 convolution and weigh the channels of the result (figure 2c).

    The gate is one convolution with BatchNorm, or (`squeeze`) the paper's two, of which the first quarters the
    width and is rectified.
    """

    def __init__(self, planes: int, squeeze: bool = False) -> None:
        super().__init__()
        self.convblk = ConvBnRelu(planes, planes, 1)
        self.squeeze = squeeze
        if squeeze:
            self.conv1 = nn.Conv2d(planes, planes // 4, 1, bias=False)
            self.conv2 = nn.Conv2d(planes // 4, planes, 1, bias=False)
        else:
            self.conv = nn.Conv2d(planes, planes, 1, bias=False)
            self.bn = nn.BatchNorm2d(planes)

    def forward(self, spatial: Tensor, context: Tensor) -> Tensor:
        """Map twice (N, planes / 2, h, w) to (N, planes, h, w)."""
        x = self.convblk(torch.cat((spatial, context), dim=1))
        mean = x.mean(dim=(2, 3), keepdim=True)
        gate = self.conv2(F.relu(self.conv1(mean))) if self.squeeze else self.bn(self.conv(mean))
        return x * gate.sigmoid() + x  # type: ignore[no-any-return]


class Head(nn.Module):
    """3x3 convolution, then a 1x1 convolution to one score a class."""

    def __init__(self, in_planes: int, planes: int, num_classes: int, bias: bool) -> None:
        super().__init__()
        self.conv = ConvBnRelu(in_planes, planes, 3)
        self.conv_out = nn.Conv2d(planes, num_classes, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_planes, h, w) to (N, num_classes, h, w)."""
        return self.conv_out(self.conv(x))  # type: ignore[no-any-return]


class BiSeNetV1(SegmentationModel):
    """The bilateral network; `bisenet_v1`, `bisenet_v1_resnet34` and `bisenet_v1_face` build the usual ones.

    Args:
        num_classes: Channels of the logits.
        in_channels: Channels of the image, in the order the preprocessing contract states.
        encoder: Context path: "resnet18" or "resnet34".
        pretrained: Where the ResNet starts from: "imagenet", the path of a weights file, or nothing for random
            weights.
        face: The face-parsing variant: the ResNet's features at 1/8 stand in for the spatial path, the fusion's
            gate squeezes, and the scores have no bias.
        aux_head: Whether two heads read the context at 1/8 and 1/16 (for training).
        upsample: Whether logits are brought to input size, bilinearly; otherwise they stay at 1/8, those of the
            second auxiliary head at 1/16.
        align_corners: Whether that interpolation maps corner cells onto corner pixels, as the published
            face-parsing network does; masks move by up to half a cell (4 pixels) towards the borders otherwise.
        separable: Whether 3x3 convolutions outside the ResNet are depthwise-separable, all but those that read the
            image. No published weights fit then.
        edge_head: Whether a further head tells where classes meet, from the spatial path or what stands in for it
            (for training).
    """

    # Below 1/8 odd sizes round up and features are repeated back, which no published size needs.
    size_divisor = FEATURE_STRIDE
    auxiliary_modules = ("conv_out16", "conv_out32", "edge_head")
    decoder_modules = ("cp.arm16", "cp.arm32", "cp.conv_head16", "cp.conv_head32", "cp.conv_avg", "ffm")
    head_modules = ("conv_out",)

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        encoder: Literal["resnet18", "resnet34"] = "resnet18",
        pretrained: str = "",
        face: bool = False,
        aux_head: bool = True,
        upsample: bool = True,
        align_corners: bool = False,
        separable: bool = False,
        edge_head: bool = False,
    ) -> None:
        super().__init__()
        self.output_stride = 1 if upsample else FEATURE_STRIDE
        self.align_corners = align_corners
        self.cp = ContextPath(encoder, in_channels, pretrained)
        self.sp = None if face else SpatialPath(in_channels)
        self.ffm = FeatureFusion(2 * _PLANES, squeeze=face)
        self.conv_out = Head(2 * _PLANES, 256, num_classes, bias=not face)
        self.conv_out16 = Head(_PLANES, 64, num_classes, bias=not face) if aux_head else None
        self.conv_out32 = Head(_PLANES, 64, num_classes, bias=not face) if aux_head else None
        self.edge_head: ScoreHead | None = None
        if edge_head:
            self.edge_head = ScoreHead(self.cp.resnet.channels[2] if face else _PLANES, EDGE_CHANNELS, 1)
        initialise(self)
        if separable:
            for part in (*self.cp.children(), *self.children()):
                if part is not self.cp and part is not self.cp.resnet:
                    separate_convolutions(part)

    def _to_output_size(self, logits: Tensor, image: Tensor) -> Tensor:
        if self.output_stride == FEATURE_STRIDE:
            return logits
        return F.interpolate(logits, size=image.shape[-2:], mode="bilinear", align_corners=self.align_corners)

    def _features(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return what the main, the two auxiliary and the edge head read, at 1/8, 1/8, 1/16 and 1/8."""
        eighth, fine, coarse = self.cp(image)
        spatial = eighth if self.sp is None else self.sp(image)
        return self.ffm(spatial, fine), fine, coarse, spatial

    def forward(self, image: Tensor) -> Tensor:
        """Return the main logits (N, num_classes, H, W), or (N, num_classes, H / 8, W / 8) without `upsample`."""
        return self._to_output_size(self.conv_out(self._features(image)[0]), image)

    def forward_heads(self, image: Tensor) -> dict[str, Tensor]:
        """Return the logits of "main" and, where those heads exist, "aux16" and "aux32"; "edge" is at 1/8."""
        return self.forward_features(image)[0]

    def forward_features(self, image: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return what `forward_heads` does, and what the main head reads: both paths fused, at 1/8."""
        fused, fine, coarse, spatial = self._features(image)
        heads = {"main": self._to_output_size(self.conv_out(fused), image)}
        if self.conv_out16 is not None and self.conv_out32 is not None:
            heads["aux16"] = self._to_output_size(self.conv_out16(fine), image)
            heads["aux32"] = self._to_output_size(self.conv_out32(coarse), image)
        if self.edge_head is not None and self.training:
            heads["edge"] = self.edge_head(spatial)
        return heads, fused


def bisenet_v1(
    num_classes: int,
    in_channels: int = 3,
    pretrained: str = "",
    aux_head: bool = True,
    upsample: bool = True,
    separable: bool = False,
    edge_head: bool = False,
) -> BiSeNetV1:
    """Build BiSeNet with a ResNet-18 context path: 13.3 M parameters without the auxiliary heads."""
    return BiSeNetV1(
        num_classes,
        in_channels,
        pretrained=pretrained,
        aux_head=aux_head,
        upsample=upsample,
        separable=separable,
        edge_head=edge_head,
    )


def bisenet_v1_resnet34(
    num_classes: int,
    in_channels: int = 3,
    pretrained: str = "",
    aux_head: bool = True,
    upsample: bool = True,
    separable: bool = False,
    edge_head: bool = False,
) -> BiSeNetV1:
    """Build BiSeNet with a ResNet-34 context path: 23.4 M parameters without the auxiliary heads."""
    return BiSeNetV1(
        num_classes,
        in_channels,
        encoder="resnet34",
        pretrained=pretrained,
        aux_head=aux_head,
        upsample=upsample,
        separable=separable,
        edge_head=edge_head,
    )


def bisenet_v1_face(
    num_classes: int,
    in_channels: int = 3,
    pretrained: str = "",
    aux_head: bool = True,
    upsample: bool = True,
    align_corners: bool = False,
    separable: bool = False,
    edge_head: bool = False,
) -> BiSeNetV1:
    """Build the BiSeNet that face-parsing applications use: ResNet-18 and no spatial path, 13.2 M parameters."""
    return BiSeNetV1(
        num_classes,
        in_channels,
        pretrained=pretrained,
        face=True,
        aux_head=aux_head,
        upsample=upsample,
        align_corners=align_corners,
        separable=separable,
        edge_head=edge_head,
    )


def _read_options(state: Mapping[str, Tensor]) -> dict[str, OptionValue]:
    return {"aux_head": any(key.startswith(("conv_out16.", "conv_out32.")) for key in state), "upsample": True}


def _read_face_options(state: Mapping[str, Tensor]) -> dict[str, OptionValue]:
    return {**_read_options(state), "align_corners": True}


for _name in ("bisenet_v1", "bisenet_v1_resnet34"):
    PUBLISHED.add(
        _name,
        PublishedForm(
            model=_name,
            stem="cp.resnet.conv1.weight",
            scores="conv_out.conv_out.weight",
            tasks=COINCHEUNG_TASKS,
            origin=COINCHEUNG_ORIGIN,
            signature=("sp.conv1.conv.weight",),
            options=_read_options,
        ),
    )

PUBLISHED.add(
    "bisenet_v1_face",
    PublishedForm(
        model="bisenet_v1_face",
        stem="cp.resnet.conv1.weight",
        scores="conv_out.conv_out.weight",
        tasks=FACE_TASKS,
        origin=FACE_ORIGIN,
        signature=("ffm.conv1.weight", "ffm.conv2.weight"),
        options=_read_face_options,
    ),
)
