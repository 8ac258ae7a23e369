"""BiSeNetV2: a bilateral network with guided aggregation (Yu et al., 2020, https://arxiv.org/abs/2004.02147).

A wide and shallow detail branch keeps 1/8 of the input size while a narrow and deep semantic branch goes down to
1/32; an aggregation layer lets each gate the other. Modules are named as in the published state dicts, so that
those load as they are. Where the paper leaves something open (order of the depthwise expansion, interpolation
in the aggregation, widths of the heads) this follows the published state dicts and outputs.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seg_core.errors import ConfigError
from seg_core.models.base import SegmentationModel
from seg_core.models.bisenet_tasks import COINCHEUNG_ORIGIN, COINCHEUNG_TASKS
from seg_core.models.bisenet_v1 import EDGE_CHANNELS, ConvBnRelu, initialise, repeat
from seg_core.models.blocks import ScoreHead, separate_convolutions
from seg_core.models.published_form import PUBLISHED, PublishedForm
from seg_core.spec.model import OptionValue

#: The main head reads features whose cells are this many input pixels apart.
FEATURE_STRIDE = 8

#: Widths at width multiplier 1 (the paper's table 1): detail S1 to S3 and semantic S1 (the stem) and S3 to S5.
DETAIL_WIDTHS = (64, 64, 128)
SEMANTIC_WIDTHS = (16, 32, 64, 128)

#: Stride-1 gather-and-expansion layers of S3 to S5 at depth multiplier 1.
SEMANTIC_REPEATS = (1, 1, 3)

#: Hidden width of a gather-and-expansion layer, in units of its input.
EXPANSION = 6

_HEAD_WIDTH = 1024
_AUXILIARY_WIDTH = 128


def _depthwise(in_planes: int, planes: int, stride: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(in_planes, planes, 3, stride, padding=1, groups=in_planes, bias=False)
    return [conv, nn.BatchNorm2d(planes)]


def _residual_end(in_planes: int, planes: int) -> nn.Sequential:
    """Return the 1x1 convolution that ends a residual branch, silent at first (Goyal et al., 2017, section 5.1)."""
    norm = nn.BatchNorm2d(planes)
    nn.init.zeros_(norm.weight)
    return nn.Sequential(nn.Conv2d(in_planes, planes, 1, bias=False), norm)


class DetailBranch(nn.Module):
    """Three stages of plain 3x3 convolutions, each halving the size at its start (section 4.1)."""

    def __init__(self, in_channels: int, widths: tuple[int, int, int]) -> None:
        super().__init__()
        self.S1 = self._stage(in_channels, widths[0], 2)
        self.S2 = self._stage(widths[0], widths[1], 3)
        self.S3 = self._stage(widths[1], widths[2], 3)

    @staticmethod
    def _stage(in_planes: int, planes: int, layers: int) -> nn.Sequential:
        return nn.Sequential(
            ConvBnRelu(in_planes, planes, 3, stride=2), *(ConvBnRelu(planes, planes, 3) for _ in range(layers - 1))
        )

    def forward(self, image: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, widths[2], H / 8, W / 8)."""
        return self.S3(self.S2(self.S1(image)))  # type: ignore[no-any-return]


class Stem(nn.Module):
    """Quarter the size in two ways, convolution and maximum, and fuse them (figure 4a)."""

    def __init__(self, in_channels: int, planes: int) -> None:
        super().__init__()
        self.conv = ConvBnRelu(in_channels, planes, 3, stride=2)
        self.left = nn.Sequential(ConvBnRelu(planes, planes // 2, 1), ConvBnRelu(planes // 2, planes, 3, stride=2))
        self.right = nn.MaxPool2d(3, stride=2, padding=1)
        self.fuse = ConvBnRelu(planes * 2, planes, 3)

    def forward(self, image: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, planes, H / 4, W / 4)."""
        x = self.conv(image)
        return self.fuse(torch.cat((self.left(x), self.right(x)), dim=1))  # type: ignore[no-any-return]


class GatherExpansion(nn.Module):
    """Gather-and-expansion layer that keeps the size (figure 5b): 3x3, widening depthwise 3x3, narrowing 1x1."""

    def __init__(self, planes: int) -> None:
        super().__init__()
        wide = planes * EXPANSION
        self.conv1 = ConvBnRelu(planes, planes, 3)
        self.dwconv = nn.Sequential(*_depthwise(planes, wide), nn.ReLU())
        self.conv2 = _residual_end(wide, planes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, planes, h, w) to the same shape."""
        return F.relu(self.conv2(self.dwconv(self.conv1(x))) + x)


class DownGatherExpansion(nn.Module):
    """Gather-and-expansion layer that halves the size (figure 5c), with a separable convolution as shortcut."""

    def __init__(self, in_planes: int, planes: int) -> None:
        super().__init__()
        wide = in_planes * EXPANSION
        self.conv1 = ConvBnRelu(in_planes, in_planes, 3)
        self.dwconv1 = nn.Sequential(*_depthwise(in_planes, wide, stride=2))
        self.dwconv2 = nn.Sequential(*_depthwise(wide, wide), nn.ReLU())
        self.conv2 = _residual_end(wide, planes)
        self.shortcut = nn.Sequential(
            *_depthwise(in_planes, in_planes, stride=2),
            nn.Conv2d(in_planes, planes, 1, bias=False),
            nn.BatchNorm2d(planes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_planes, h, w) to (N, planes, h / 2, w / 2)."""
        return F.relu(self.conv2(self.dwconv2(self.dwconv1(self.conv1(x)))) + self.shortcut(x))


class ContextEmbedding(nn.Module):
    """Add the global mean, embedded by a 1x1 convolution, to every place (figure 4b)."""

    def __init__(self, planes: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(planes)
        self.conv_gap = ConvBnRelu(planes, planes, 1)
        self.conv_last = ConvBnRelu(planes, planes, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, planes, h, w) to the same shape."""
        context = self.conv_gap(self.bn(x.mean(dim=(2, 3), keepdim=True)))
        return self.conv_last(x + context)  # type: ignore[no-any-return]


class SemanticBranch(nn.Module):
    """Stem, three stages of gather-and-expansion layers and the context embedding (section 4.2)."""

    def __init__(self, in_channels: int, widths: tuple[int, int, int, int], repeats: tuple[int, int, int]) -> None:
        super().__init__()
        self.S1S2 = Stem(in_channels, widths[0])
        self.S3 = self._stage(widths[0], widths[1], repeats[0])
        self.S4 = self._stage(widths[1], widths[2], repeats[1])
        self.S5_4 = self._stage(widths[2], widths[3], repeats[2])
        self.S5_5 = ContextEmbedding(widths[3])

    @staticmethod
    def _stage(in_planes: int, planes: int, repeats: int) -> nn.Sequential:
        return nn.Sequential(DownGatherExpansion(in_planes, planes), *(GatherExpansion(planes) for _ in range(repeats)))

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the features at 1/4, 1/8, 1/16 and 1/32, and those at 1/32 with the global context."""
        features = [self.S1S2(image)]
        for stage in (self.S3, self.S4, self.S5_4, self.S5_5):
            features.append(stage(features[-1]))
        return features


class GuidedAggregation(nn.Module):
    """Bilateral guided aggregation (section 4.3): each branch gates the other at its own size, then both add up."""

    def __init__(self, planes: int) -> None:
        super().__init__()
        self.left1 = nn.Sequential(*_depthwise(planes, planes), nn.Conv2d(planes, planes, 1, bias=False))
        down = nn.Conv2d(planes, planes, 3, stride=2, padding=1, bias=False)
        self.left2 = nn.Sequential(down, nn.BatchNorm2d(planes), nn.AvgPool2d(3, stride=2, padding=1))
        plain = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.right1 = nn.Sequential(plain, nn.BatchNorm2d(planes))
        self.right2 = nn.Sequential(*_depthwise(planes, planes), nn.Conv2d(planes, planes, 1, bias=False))
        last = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.conv = nn.Sequential(last, nn.BatchNorm2d(planes), nn.ReLU())

    def forward(self, detail: Tensor, semantic: Tensor) -> Tensor:
        """Map (N, planes, h, w) and (N, planes, h / 4, w / 4) to (N, planes, h, w)."""
        fine = self.left1(detail) * repeat(self.right1(semantic), 4, like=detail).sigmoid()
        coarse = self.left2(detail) * self.right2(semantic).sigmoid()
        return self.conv(fine + repeat(coarse, 4, like=detail))  # type: ignore[no-any-return]


class Head(nn.Module):
    """3x3 convolution, dropout and 1x1 convolution to one score a class.

    Args:
        in_planes: Channels of the features.
        planes: Hidden width.
        num_classes: Channels of the logits.
        stride: Input pixels between two cells of the features.
        auxiliary: Whether features are doubled in size first and pass one more 3x3 convolution of
            stride * stride channels.
    """

    def __init__(self, in_planes: int, planes: int, num_classes: int, stride: int, auxiliary: bool = False) -> None:
        super().__init__()
        self.conv = ConvBnRelu(in_planes, planes, 3)
        self.drop = nn.Dropout(0.1)
        refine: nn.Module = nn.Identity()
        if auxiliary:
            refine = nn.Sequential(nn.Upsample(scale_factor=2), ConvBnRelu(planes, stride * stride, 3))
        self.conv_out = nn.Sequential(refine, nn.Conv2d(stride * stride if auxiliary else planes, num_classes, 1))
        self.stride = stride // 2 if auxiliary else stride

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_planes, h, w) to logits (N, num_classes, h, w), or of double size in an auxiliary head."""
        return self.conv_out(self.drop(self.conv(x)))  # type: ignore[no-any-return]


class BiSeNetV2(SegmentationModel):
    """The bilateral network; `bisenet_v2` and `bisenet_v2_large` build the paper's two.

    Args:
        num_classes: Channels of the logits.
        in_channels: Channels of the image, in the order the preprocessing contract states.
        width: Width multiplier (the paper's alpha) of both branches and their aggregation.
        depth: Depth multiplier (the paper's d): how many times more stride-1 gather-and-expansion layers the
            semantic branch has.
        aux_head: Whether four booster heads read the semantic branch (for training; section 4.4).
        upsample: Whether logits are brought to input size, bilinearly with align_corners=False; otherwise
            they stay at 1/8, and those of the booster heads at 1/2, 1/4, 1/8 and 1/16.
        separable: Whether 3x3 convolutions are depthwise-separable, all but those that read the image. No
            published weights fit then.
        edge_head: Whether a further head tells where classes meet, from the detail branch (for training).
    """

    size_divisor = FEATURE_STRIDE
    booster_heads = ("aux2", "aux3", "aux4", "aux5_4")
    auxiliary_modules = (*booster_heads, "edge_head")
    decoder_modules = ("bga",)
    head_modules = ("head",)

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        width: float = 1.0,
        depth: int = 1,
        aux_head: bool = True,
        upsample: bool = True,
        separable: bool = False,
        edge_head: bool = False,
    ) -> None:
        super().__init__()
        if width < 0.25 or depth < 1:
            raise ConfigError(f"BiSeNetV2: width must be at least 0.25 and depth at least 1, found {width} and {depth}")
        self.output_stride = 1 if upsample else FEATURE_STRIDE
        detail = [_scaled(planes, width) for planes in DETAIL_WIDTHS]
        semantic = [_scaled(planes, width) for planes in SEMANTIC_WIDTHS]
        repeats = [count * depth for count in SEMANTIC_REPEATS]
        self.detail = DetailBranch(in_channels, (detail[0], detail[1], detail[2]))
        self.segment = SemanticBranch(
            in_channels, (semantic[0], semantic[1], semantic[2], semantic[3]), (repeats[0], repeats[1], repeats[2])
        )
        self.bga = GuidedAggregation(detail[2])
        self.head = Head(detail[2], _HEAD_WIDTH, num_classes, FEATURE_STRIDE)
        for index, name in enumerate(self.booster_heads):
            head = Head(semantic[index], _AUXILIARY_WIDTH, num_classes, 4 << index, auxiliary=True)
            setattr(self, name, head if aux_head else None)
        self.edge_head = ScoreHead(detail[2], EDGE_CHANNELS, 1) if edge_head else None
        initialise(self)
        if separable:
            separate_convolutions(self)

    def _to_output_size(self, logits: Tensor, stride: int) -> Tensor:
        if self.output_stride == FEATURE_STRIDE:
            return logits
        return F.interpolate(logits, scale_factor=float(stride), mode="bilinear", align_corners=False)

    def _main(self, fused: Tensor) -> Tensor:
        return self._to_output_size(self.head(fused), self.head.stride)

    def forward(self, image: Tensor) -> Tensor:
        """Return the main logits (N, num_classes, H, W), or (N, num_classes, H / 8, W / 8) without `upsample`."""
        semantic = self.segment(image)[-1]
        return self._main(self.bga(self.detail(image), semantic))

    def forward_heads(self, image: Tensor) -> dict[str, Tensor]:
        """Return the logits of "main" and, where those heads exist, of "aux2" to "aux5_4", finest first, and "edge"."""
        return self.forward_features(image)[0]

    def forward_features(self, image: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return what `forward_heads` does, and what the main head reads: both branches aggregated, at 1/8."""
        features, detail, (height, width) = self.segment(image), self.detail(image), image.shape[-2:]
        fused = self.bga(detail, features[-1])
        heads = {"main": self._main(fused)}
        for name, feature in zip(self.booster_heads, features, strict=False):
            head = getattr(self, name)
            if head is not None:
                # Below 1/8 odd sizes had been rounded up: what that added on the right and at the bottom goes.
                heads[name] = self._to_output_size(head(feature), head.stride)[..., :height, :width]
        if self.edge_head is not None and self.training:
            heads["edge"] = self.edge_head(detail)
        return heads, fused


def _scaled(planes: int, width: float) -> int:
    """Return a multiple of 4 near `planes * width`: the stem halves its own, and phones like vectors of four."""
    return max(4, round(planes * width / 4) * 4)


def bisenet_v2(
    num_classes: int,
    in_channels: int = 3,
    aux_head: bool = True,
    upsample: bool = True,
    separable: bool = False,
    edge_head: bool = False,
) -> BiSeNetV2:
    """Build BiSeNetV2 as published: 3.4 M parameters without the heads that training alone needs."""
    return BiSeNetV2(
        num_classes, in_channels, aux_head=aux_head, upsample=upsample, separable=separable, edge_head=edge_head
    )


def bisenet_v2_large(
    num_classes: int,
    in_channels: int = 3,
    aux_head: bool = True,
    upsample: bool = True,
    separable: bool = False,
    edge_head: bool = False,
) -> BiSeNetV2:
    """Build BiSeNetV2-Large: alpha 2.0 and d 3.0 (the paper's generalisation to large models), 17.5 M parameters.

    The paper names the multipliers, not what they apply to, and no weights are published: here widths are those of
    both branches and the aggregation, depth counts the stride-1 gather-and-expansion layers.
    """
    return BiSeNetV2(
        num_classes,
        in_channels,
        width=2.0,
        depth=3,
        aux_head=aux_head,
        upsample=upsample,
        separable=separable,
        edge_head=edge_head,
    )


def _read_options(state: Mapping[str, Tensor]) -> dict[str, OptionValue]:
    return {"aux_head": any(key.startswith("aux") for key in state), "upsample": True}


for _name in ("bisenet_v2", "bisenet_v2_large"):
    PUBLISHED.add(
        _name,
        PublishedForm(
            model=_name,
            stem="detail.S1.0.conv.weight",
            scores="head.conv_out.1.weight",
            tasks=COINCHEUNG_TASKS,
            origin=COINCHEUNG_ORIGIN,
            signature=("bga.conv.0.weight",),
            options=_read_options,
        ),
    )
