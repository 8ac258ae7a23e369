"""DDRNet: deep dual-resolution networks (Hong et al., 2021, https://arxiv.org/abs/2101.06085).

Two branches run side by side from 1/8 of the input size on: one keeps that resolution, the other goes down to
1/64, and they exchange features after every stage. Modules are named as in the published state dicts, so that
those load as they are.

The published layers add before they rectify: the last block of a stage ends without a ReLU, because its result
goes both into the next stage (rectified there) and into the other branch.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seg_core.models.base import SegmentationModel
from seg_core.models.blocks import ScoreHead, separate_convolutions
from seg_core.models.published_form import CITYSCAPES, PUBLISHED, PublishedForm
from seg_core.models.resampling import enlarge, resize_bilinear
from seg_core.spec.model import OptionValue

#: The heads read features whose cells are this many input pixels apart.
FEATURE_STRIDE = 8

#: Hidden width of the edge head.
EDGE_CHANNELS = 64


def _conv_bn(in_planes: int, planes: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(in_planes, planes, kernel, stride, padding=kernel // 2, bias=False)
    return [conv, nn.BatchNorm2d(planes)]


def _bn_relu_conv(in_planes: int, planes: int, kernel: int) -> list[nn.Module]:
    conv = nn.Conv2d(in_planes, planes, kernel, padding=kernel // 2, bias=False)
    return [nn.BatchNorm2d(in_planes), nn.ReLU(), conv]


def _resize(features: Tensor, like: Tensor, training: bool) -> Tensor:
    return resize_bilinear(features, (like.shape[-2], like.shape[-1]), training)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, which is projected where `stride` or the width change."""

    def __init__(self, in_planes: int, planes: int, stride: int = 1, final_relu: bool = True) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv_bn(in_planes, planes, 3, stride)
        self.conv2, self.bn2 = _conv_bn(planes, planes, 3)
        needs_projection = stride != 1 or in_planes != planes
        self.downsample = nn.Sequential(*_conv_bn(in_planes, planes, 1, stride)) if needs_projection else None
        self.final_relu = final_relu

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_planes, h, w) to (N, planes, h / stride, w / stride)."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out)) + (x if self.downsample is None else self.downsample(x))
        return F.relu(out) if self.final_relu else out


class Bottleneck(nn.Module):
    """1x1, 3x3 and widening 1x1 convolution with a projected shortcut; ends without a ReLU."""

    expansion = 2

    def __init__(self, planes: int, stride: int = 1) -> None:
        super().__init__()
        wide = planes * self.expansion
        self.conv1, self.bn1 = _conv_bn(planes, planes, 1)
        self.conv2, self.bn2 = _conv_bn(planes, planes, 3, stride)
        self.conv3, self.bn3 = _conv_bn(planes, wide, 1)
        self.downsample = nn.Sequential(*_conv_bn(planes, wide, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, planes, h, w) to (N, 2 * planes, h / stride, w / stride)."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        return self.bn3(self.conv3(out)) + self.downsample(x)  # type: ignore[no-any-return]


class DeepAggregationPyramidPooling(nn.Module):
    """DAPPM (section III-D): context from five pooling sizes, each refined by the smaller one before it."""

    def __init__(self, in_planes: int, branch_planes: int, out_planes: int) -> None:
        super().__init__()
        poolings: list[nn.Module] = [nn.AvgPool2d(2 * step + 1, step, padding=step) for step in (2, 4, 8)]
        poolings.append(nn.AdaptiveAvgPool2d(1))
        self.scale0 = nn.Sequential(*_bn_relu_conv(in_planes, branch_planes, 1))
        for index, pooling in enumerate(poolings, start=1):
            self.add_module(f"scale{index}", nn.Sequential(pooling, *_bn_relu_conv(in_planes, branch_planes, 1)))
            self.add_module(f"process{index}", nn.Sequential(*_bn_relu_conv(branch_planes, branch_planes, 3)))
        self.num_poolings = len(poolings)
        self.compression = nn.Sequential(*_bn_relu_conv(branch_planes * (1 + len(poolings)), out_planes, 1))
        self.shortcut = nn.Sequential(*_bn_relu_conv(in_planes, out_planes, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_planes, h, w) to (N, out_planes, h, w)."""
        branches: list[Tensor] = [self.scale0(x)]
        for index in range(1, self.num_poolings + 1):
            pooled = _resize(self.get_submodule(f"scale{index}")(x), x, self.training)
            branches.append(self.get_submodule(f"process{index}")(pooled + branches[-1]))
        return self.compression(torch.cat(branches, dim=1)) + self.shortcut(x)  # type: ignore[no-any-return]


class SegmentationHead(nn.Module):
    """Pre-activated 3x3 convolution, then a 1x1 convolution to one score a class."""

    def __init__(self, in_planes: int, planes: int, num_classes: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_planes)
        self.conv1 = nn.Conv2d(in_planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_planes, h, w) to (N, num_classes, h, w)."""
        x = self.conv1(F.relu(self.bn1(x)))
        return self.conv2(F.relu(self.bn2(x)))  # type: ignore[no-any-return]


class DDRNet(SegmentationModel):
    """The dual-resolution network; `ddrnet_23_slim`, `ddrnet_23` and `ddrnet_39` build the published ones.

    Args:
        num_classes: Channels of the logits.
        in_channels: Channels of the image, in the order the preprocessing contract states.
        planes: Width of the stem; every other width follows from it.
        blocks: Residual blocks of the four stages (`conv2` to `conv5` in the paper's table).
        stage3_parts: In how many parts stage 3 is run, with an exchange between the branches after each.
        head_planes: Hidden width of the segmentation heads.
        spp_planes: Width of each pyramid-pooling branch.
        aux_head: Whether a second head reads the high-resolution branch after stage 3 (for training).
        upsample: Whether logits are brought to input size, bilinearly with align_corners=False; otherwise
            they stay at 1/8.
        separable: Whether 3x3 convolutions are depthwise-separable, all but the first. No published weights fit then.
        edge_head: Whether a further head tells where classes meet, from what the auxiliary one reads (for training).
    """

    # Below 1/8 odd sizes round up and features are resampled back, as in the paper's own 720x960 (CamVid).
    size_divisor = FEATURE_STRIDE
    auxiliary_modules = ("seghead_extra", "edge_head")
    decoder_modules = ("spp",)
    head_modules = ("final_layer",)

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        planes: int = 32,
        blocks: tuple[int, int, int, int] = (2, 2, 2, 2),
        stage3_parts: int = 1,
        head_planes: int = 64,
        spp_planes: int = 128,
        aux_head: bool = True,
        upsample: bool = True,
        separable: bool = False,
        edge_head: bool = False,
    ) -> None:
        super().__init__()
        high = planes * 2  # width of the high-resolution branch
        self.output_stride = 1 if upsample else FEATURE_STRIDE
        self.conv1 = nn.Sequential(*self._stem(in_channels, planes), *self._stem(planes, planes))
        self.layer1 = _stage(planes, planes, blocks[0])
        self.layer2 = _stage(planes, high, blocks[1], stride=2)
        parts = [f"3_{part}" for part in range(1, stage3_parts + 1)] if stage3_parts > 1 else ["3"]
        for index, part in enumerate(parts):
            in_planes, stride = (high, 2) if index == 0 else (planes * 4, 1)
            self._add_exchange(part, in_planes, planes * 4, high, blocks[2] // stage3_parts, stride)
        self._add_exchange("4", planes * 4, planes * 8, high, blocks[3], stride=2)
        self.stage3_parts, self.stage4_part = tuple(parts), "4"
        self.layer5_ = nn.Sequential(Bottleneck(high))
        self.layer5 = nn.Sequential(Bottleneck(planes * 8, stride=2))
        self.spp = DeepAggregationPyramidPooling(planes * 16, spp_planes, planes * 4)
        self.seghead_extra = SegmentationHead(high, head_planes, num_classes) if aux_head else None
        self.final_layer = SegmentationHead(planes * 4, head_planes, num_classes)
        self._initialise()
        self.edge_head = ScoreHead(high, EDGE_CHANNELS, 1) if edge_head else None
        if separable:
            separate_convolutions(self)

    @staticmethod
    def _stem(in_planes: int, planes: int) -> list[nn.Module]:
        return [nn.Conv2d(in_planes, planes, 3, stride=2, padding=1), nn.BatchNorm2d(planes), nn.ReLU()]

    def _add_exchange(self, part: str, in_planes: int, planes: int, high: int, blocks: int, stride: int) -> None:
        """Add both branches of one stage and the two paths between them."""
        first = part in ("3", "3_1")
        self.add_module(f"layer{part}", _stage(in_planes, planes, blocks, stride))
        self.add_module(f"layer{part}_", _stage(in_planes if first else high, high, blocks))
        self.add_module(f"compression{part}", nn.Sequential(*_conv_bn(planes, high, 1)))
        down = _conv_bn(high, planes // 2 if part == "4" else planes, 3, stride=2)
        if part == "4":
            down += [nn.ReLU(), *_conv_bn(planes // 2, planes, 3, stride=2)]
        self.add_module(f"down{part}", nn.Sequential(*down))

    def _initialise(self) -> None:
        for module in self.modules():
            # On the meta device there is nothing to fill, and finding that out takes torch two seconds of imports.
            if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def _exchange(self, part: str, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        low = self.get_submodule(f"layer{part}")(F.relu(low))
        high = self.get_submodule(f"layer{part}_")(F.relu(high))
        lowered = self.get_submodule(f"down{part}")(F.relu(high))
        raised = self.get_submodule(f"compression{part}")(F.relu(low))
        return low + lowered, high + _resize(raised, high, self.training)

    def _features(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the main and the auxiliary head read, both at 1/8."""
        low = high = self.layer2(F.relu(self.layer1(self.conv1(image))))
        for part in self.stage3_parts:
            low, high = self._exchange(part, low, high)
        detail = high
        low, high = self._exchange(self.stage4_part, low, high)
        high = self.layer5_(F.relu(high))
        context = self.spp(self.layer5(F.relu(low)))
        return high + _resize(context, high, self.training), detail

    def _to_output_size(self, logits: Tensor) -> Tensor:
        if self.output_stride == FEATURE_STRIDE:
            return logits
        if self.training:
            return enlarge(logits, (logits.shape[-2] * FEATURE_STRIDE, logits.shape[-1] * FEATURE_STRIDE))
        return F.interpolate(logits, scale_factor=float(FEATURE_STRIDE), mode="bilinear", align_corners=False)

    def forward(self, image: Tensor) -> Tensor:
        """Return the main logits (N, num_classes, H, W), or (N, num_classes, H / 8, W / 8) without `upsample`."""
        return self._to_output_size(self.final_layer(self._features(image)[0]))

    def forward_heads(self, image: Tensor) -> dict[str, Tensor]:
        """Return the logits of "main" and, where that head exists, "aux"; sizes as in `forward`. "edge" is at 1/8."""
        return self.forward_features(image)[0]

    def forward_features(self, image: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return what `forward_heads` does, and what the main head reads: both branches added up, at 1/8."""
        features, detail = self._features(image)
        heads = {"main": self._to_output_size(self.final_layer(features))}
        if self.seghead_extra is not None:
            heads["aux"] = self._to_output_size(self.seghead_extra(detail))
        if self.edge_head is not None and self.training:
            heads["edge"] = self.edge_head(detail)
        return heads, features


def _stage(in_planes: int, planes: int, blocks: int, stride: int = 1) -> nn.Sequential:
    layers = [BasicBlock(in_planes, planes, stride, final_relu=blocks > 1)]
    layers += [BasicBlock(planes, planes, final_relu=index < blocks - 1) for index in range(1, blocks)]
    return nn.Sequential(*layers)


def ddrnet_23_slim(
    num_classes: int,
    in_channels: int = 3,
    aux_head: bool = True,
    upsample: bool = True,
    separable: bool = False,
    edge_head: bool = False,
) -> DDRNet:
    """Build DDRNet-23-slim: 5.7 M parameters, the one for phones."""
    return DDRNet(
        num_classes, in_channels, aux_head=aux_head, upsample=upsample, separable=separable, edge_head=edge_head
    )


def ddrnet_23(
    num_classes: int,
    in_channels: int = 3,
    aux_head: bool = True,
    upsample: bool = True,
    separable: bool = False,
    edge_head: bool = False,
) -> DDRNet:
    """Build DDRNet-23: twice as wide as the slim one, 20.3 M parameters."""
    return DDRNet(
        num_classes,
        in_channels,
        planes=64,
        head_planes=128,
        aux_head=aux_head,
        upsample=upsample,
        separable=separable,
        edge_head=edge_head,
    )


def ddrnet_39(
    num_classes: int,
    in_channels: int = 3,
    aux_head: bool = True,
    upsample: bool = True,
    separable: bool = False,
    edge_head: bool = False,
) -> DDRNet:
    """Build DDRNet-39: blocks 3-4-6-3, stage 3 in two parts, head 256, 32.7 M parameters."""
    return DDRNet(
        num_classes,
        in_channels,
        planes=64,
        blocks=(3, 4, 6, 3),
        stage3_parts=2,
        head_planes=256,
        aux_head=aux_head,
        upsample=upsample,
        separable=separable,
        edge_head=edge_head,
    )


def _read_options(state: Mapping[str, Tensor]) -> dict[str, OptionValue]:
    options: dict[str, OptionValue] = {
        "aux_head": any(key.startswith("seghead_extra.") for key in state),
        "upsample": True,
    }
    return options | {"separable": True} if "layer1.0.conv1.1.weight" in state else options


for _name in ("ddrnet_23_slim", "ddrnet_23", "ddrnet_39"):
    PUBLISHED.add(
        _name,
        PublishedForm(
            model=_name,
            stem="conv1.0.weight",
            scores="final_layer.conv2.weight",
            tasks=(CITYSCAPES,),
            origin="https://github.com/ydhongHIT/DDRNet, MIT",
            options=_read_options,
        ),
    )
