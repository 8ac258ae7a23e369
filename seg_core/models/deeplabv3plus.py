"""DeepLabV3+: atrous pyramid pooling and a light decoder (Chen et al., 2018, https://arxiv.org/abs/1802.02611).

The encoder's deepest feature sees several scales through atrous (dilated) convolutions; a decoder sharpens the result
with the encoder's feature at 1/4. Every resize is bilinear by a whole number, which all runtimes compute alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seg_core.errors import ConfigError
from seg_core.models.base import SegmentationModel
from seg_core.models.blocks import SCSE, ConvNormAct, ScoreHead
from seg_core.models.encoders import create_encoder, list_encoders
from seg_core.models.necks import create_neck
from seg_core.models.point_rend import PointRend
from seg_core.models.published_form import PUBLISHED, PublishedForm, PublishedTask
from seg_core.spec import PreprocessSpec
from seg_core.spec.model import OptionValue

#: The decoder works on the encoder's feature at this stride (P2), and the auxiliary head reads it.
DECODER_STRIDE = 4

#: Channels left of P2, so that it does not outweigh the context (section 4.1 of the paper).
DETAIL_CHANNELS = 48
AUXILIARY_CHANNELS = 64

#: Atrous rates by output stride: a third of the paper's 6, 12 and 18 (at 16), which are for maps of 33x33 cells,
#: 513-pixel crops; a phone's 256 pixels give 16x16.
DEFAULT_RATES = {8: (4, 8, 12), 16: (2, 4, 6), 32: (1, 2, 3)}


def _enlarge(features: Tensor, ratio: int) -> Tensor:
    if ratio == 1:
        return features
    return F.interpolate(features, scale_factor=float(ratio), mode="bilinear", align_corners=False)


class AtrousSpatialPyramidPooling(nn.Module):
    """ASPP with image pooling (Chen et al., 2017, https://arxiv.org/abs/1706.05587, section 3.3).

    Args:
        in_channels: Channels of the encoder's deepest feature.
        channels: Channels of each branch and of the result.
        rates: Dilation of each 3x3 branch, in cells.
        norm: batch, group or none.
        separable: Whether the 3x3 convolutions are depthwise-separable.
    """

    def __init__(self, in_channels: int, channels: int, rates: Sequence[int], norm: str, separable: bool) -> None:
        super().__init__()
        self.point = ConvNormAct(in_channels, channels, kernel=1, norm=norm)
        self.atrous = nn.ModuleList(
            ConvNormAct(in_channels, channels, dilation=rate, norm=norm, separable=separable) for rate in rates
        )
        self.image = ConvNormAct(in_channels, channels, kernel=1, norm=norm)
        self.project = ConvNormAct(channels * (len(rates) + 2), channels, kernel=1, norm=norm)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, in_channels, h, w) to (N, channels, h, w)."""
        branches = [self.point(features), *(branch(features) for branch in self.atrous)]
        mean = self.image(features.mean(dim=(2, 3), keepdim=True))
        # One value a channel, copied to every cell. `expand` says the same, but litert-torch mixes up its axes.
        branches.append(F.interpolate(mean, size=features.shape[-2:], mode="nearest"))
        return self.project(torch.cat(branches, dim=1))  # type: ignore[no-any-return]


class DeepLabV3Plus(SegmentationModel):
    """DeepLabV3+ on any encoder.

    Args:
        num_classes: Channels of the logits.
        in_channels: Channels of the image, in the order the preprocessing contract states.
        encoder: One of `list_encoders()`.
        output_stride: Stride of the deepest feature: 8, 16 or 32. Half the stride is four times the work there.
        atrous_rates: Dilations of the pyramid's 3x3 branches in cells of that feature; DEFAULT_RATES when empty.
        decoder_channels: Width of pyramid and decoder.
        separable: Whether the 3x3 convolutions of pyramid, neck, decoder and auxiliary head are depthwise-separable.
        neck: fpn, panet, bifpn, or nothing, between the encoder's features at 1/4 and deeper and the decoder. Its
            features but the deepest are then added up at 1/4 for the decoder (as in Kirillov et al., 2019,
            https://arxiv.org/abs/1901.02446).
        neck_channels: Width of the neck; that of the decoder when 0.
        neck_norm: Normalisation of the neck; `norm` when empty.
        neck_stacks: How many times the neck is run.
        norm: Normalisation after the encoder: batch, group or none.
        scse: Whether the decoder's features pass concurrent spatial and channel attention.
        scse_reduction: How many times narrower the channel attention's hidden layer is.
        aux_head: Whether a second head reads the encoder's P2 (for training).
        upsample: Whether logits are brought to input size; otherwise they stay at 1/4.
        point_rend: Whether logits are brought to input size by PointRend, with the encoder's P2 as fine features.
            In training there is a further head "points", which teaches it.
        point_fc_dim: Width of its hidden layers.
        point_num_fc: Number of its hidden layers.
        pretrained: Weights of the encoder: "imagenet", a file's path, or nothing.
        edge_head: Whether a further head tells where classes meet, from the encoder's P2 (for training).

    Raises ConfigError when the encoder cannot give the output stride, a number is not positive, a name is unknown or
    PointRend is to leave the logits at 1/4.
    """

    auxiliary_modules = ("aux", "edge_head")
    decoder_modules = ("neck", "aspp", "detail", "fuse")
    head_modules = ("classifier", "point_rend")

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        encoder: str = "resnet18",
        output_stride: int = 16,
        atrous_rates: tuple[int, ...] = (),
        decoder_channels: int = 256,
        separable: bool = False,
        neck: str = "",
        neck_channels: int = 0,
        neck_norm: str = "",
        neck_stacks: int = 1,
        norm: str = "batch",
        scse: bool = False,
        scse_reduction: int = 16,
        aux_head: bool = True,
        upsample: bool = True,
        point_rend: bool = False,
        point_fc_dim: int = 256,
        point_num_fc: int = 3,
        pretrained: str = "",
        edge_head: bool = False,
    ) -> None:
        super().__init__()
        if decoder_channels < 1:
            raise ConfigError(f"DeepLabV3Plus: decoder_channels must be at least 1, found {decoder_channels}")
        self.encoder = create_encoder(encoder, in_channels, output_stride, pretrained)
        self.rates = _checked_rates(atrous_rates or DEFAULT_RATES[output_stride])
        self.size_divisor = self.feature_stride = output_stride
        self.minimum_side = output_stride * (max(self.rates) + 1)
        self.output_stride = 1 if upsample else DECODER_STRIDE
        channels, self.strides = self.encoder.channels[1:], self.encoder.strides[1:]
        p2_channels = channels[0]
        self.neck: nn.Module | None = None
        if neck:
            width = neck_channels or decoder_channels
            self.neck = create_neck(neck, channels, width, neck_norm or norm, neck_stacks, self.strides, separable)
            channels = (width,) * len(channels)
        self.aspp = AtrousSpatialPyramidPooling(channels[-1], decoder_channels, self.rates, norm, separable)
        self.detail = ConvNormAct(channels[0], DETAIL_CHANNELS, kernel=1, norm=norm)
        self.fuse = nn.Sequential(
            ConvNormAct(decoder_channels + DETAIL_CHANNELS, decoder_channels, norm=norm, separable=separable),
            ConvNormAct(decoder_channels, decoder_channels, norm=norm, separable=separable),
            SCSE(decoder_channels, scse_reduction) if scse else nn.Identity(),
        )
        self.classifier = nn.Conv2d(decoder_channels, num_classes, 1)
        self.aux = ScoreHead(p2_channels, AUXILIARY_CHANNELS, num_classes, norm, separable) if aux_head else None
        self.edge_head = ScoreHead(p2_channels, AUXILIARY_CHANNELS, 1, norm, separable) if edge_head else None
        self.point_rend: PointRend | None = None
        if point_rend:
            if not upsample:
                raise ConfigError("DeepLabV3Plus: point_rend renders logits at input size; set upsample=true")
            self.point_rend = PointRend(p2_channels, num_classes, 2, point_fc_dim, point_num_fc)

    def _decode(self, features: Sequence[Tensor]) -> Tensor:
        """Return what the main scores are read from, at 1/4, given the encoder's features at strides 4 and more."""
        if self.neck is None:
            fine, deep = features[0], features[-1]
        else:
            fine, *middle, deep = self.neck(features)
            for feature, stride in zip(middle, self.strides[1:], strict=False):
                fine = fine + _enlarge(feature, stride // DECODER_STRIDE)
        context = _enlarge(self.aspp(deep), self.feature_stride // DECODER_STRIDE)
        return self.fuse(torch.cat([context, self.detail(fine)], dim=1))  # type: ignore[no-any-return]

    def _to_output_size(self, logits: Tensor) -> Tensor:
        return _enlarge(logits, DECODER_STRIDE // self.output_stride)

    def _main_heads(self, decoded: Tensor, fine: Tensor) -> dict[str, Tensor]:
        coarse = self.classifier(decoded)
        if self.point_rend is None:
            return {"main": self._to_output_size(coarse)}
        return self.point_rend.heads(coarse, fine)

    def forward(self, image: Tensor) -> Tensor:
        """Return the main logits (N, num_classes, H, W), or (N, num_classes, H / 4, W / 4) without `upsample`."""
        features = self.encoder(image)[1:]
        return self._main_heads(self._decode(features), features[0])["main"]

    def forward_heads(self, image: Tensor) -> dict[str, Tensor]:
        """Return the logits of "main", "points" (see `point_rend`) and, where those heads exist, "aux" and "edge"."""
        return self.forward_features(image)[0]

    def forward_features(self, image: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return what `forward_heads` does, and what the main scores are read from: the decoder's map at 1/4."""
        features = self.encoder(image)[1:]
        decoded = self._decode(features)
        heads = self._main_heads(decoded, features[0])
        if self.aux is not None:
            heads["aux"] = self._to_output_size(self.aux(features[0]))
        if self.edge_head is not None and self.training:
            heads["edge"] = self.edge_head(features[0])
        return heads, decoded

    def check_size(self, size_hw: tuple[int, int]) -> None:
        """Refuse an input size that the stride or the atrous rates cannot take; raises ConfigError with the nearest.

        A rate as large as the map leaves a 3x3 convolution its centre alone: all other taps read padding.
        """
        super().check_size(size_hw)
        if min(size_hw) >= self.minimum_side:
            return
        cells = tuple(side // self.feature_stride for side in size_hw)
        nearest = tuple(max(side, self.minimum_side) for side in size_hw)
        smaller = f"rates up to {min(cells) - 1} or " if min(cells) > 1 else ""
        raise ConfigError(
            f"size {size_hw[0]}x{size_hw[1]} (height x width): its map at output stride {self.feature_stride} has "
            f"{cells[0]}x{cells[1]} cells, beyond which atrous rate {max(self.rates)} reads nothing but padding; "
            f"use {smaller}{nearest[0]}x{nearest[1]}"
        )


def _checked_rates(rates: tuple[int, ...]) -> tuple[int, ...]:
    wrong = [rate for rate in rates if rate < 1]
    if wrong:
        raise ConfigError(f"DeepLabV3Plus: atrous rates must be at least 1, found {wrong[0]} in {list(rates)}")
    return rates


def _read_options(state: Mapping[str, Tensor]) -> dict[str, OptionValue]:
    options: dict[str, OptionValue] = {
        "encoder": _find_encoder(state),
        "separable": "aspp.atrous.0.0.1.weight" in state,
        "scse": any(key.startswith("fuse.2.") for key in state),
        "aux_head": any(key.startswith("aux.") for key in state),
        "upsample": True,
    }
    if "classifier.weight" in state:
        options["decoder_channels"] = int(state["classifier.weight"].shape[1])
    return options


def _find_encoder(state: Mapping[str, Tensor]) -> str:
    """Return the encoder whose entries `state` holds; the default one where it holds none's."""
    found = _convolutions({key.removeprefix("encoder."): item for key, item in state.items() if key[:8] == "encoder."})
    in_channels = int(next(iter(found.values()))[1]) if found else 3
    for name in list_encoders() if found else ():
        with torch.device("meta"):
            if _convolutions(create_encoder(name, in_channels).state_dict()) == found:
                return name
    return "resnet18"


def _convolutions(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in state.items() if value.ndim == 4}


PUBLISHED.add(
    "deeplabv3plus",
    PublishedForm(
        model="deeplabv3plus",
        stem="",  # it is the encoder's, and every encoder has its own names
        scores="classifier.weight",
        tasks=(PublishedTask("an unknown data set", 0, PreprocessSpec((512, 512))),),
        origin="this project's own names",
        signature=("aspp.image.0.weight", "aspp.project.0.weight"),
        options=_read_options,
        untold="output stride 16 with the default atrous rates, as weights are the same at any",
    ),
)
