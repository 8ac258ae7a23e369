"""The MODEL section of the older engine's UPPERCASE YAML as a ModelSpec.

Keys that the engine accepts and a network has no use for, such as atrous rates beside a DDRNet, are checked and left
out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seg_core.config.legacy_values import LegacySection, nearest, plain
from seg_core.errors import ConfigError
from seg_core.spec import ModelSpec
from seg_core.spec.model import OptionValue

#: The tag of the weights that an encoder's library recommends.
IMAGENET = "imagenet"

DDRNETS = {"DDRNet23_slim": "ddrnet_23_slim", "DDRNet23": "ddrnet_23", "DDRNet39": "ddrnet_39"}
_BISENETS = {"ResNet18": "bisenet_v1", "ResNet34": "bisenet_v1_resnet34"}

#: Encoders as that engine spells them, to this library's names. Case, "_" and "-" do not count.
ENCODERS = {
    **DDRNETS,
    **{f"ResNet{depth}": f"resnet{depth}" for depth in (18, 34, 50)},
    "MobileNetV2": "mobilenet_v2",
    "MobileNetV3_small": "mobilenet_v3_small",
    "MobileNetV3_large": "mobilenet_v3_large",
    "GhostNet": "ghostnet",
    **{f"EfficientNet_Lite{size}": f"efficientnet_lite{size}" for size in range(5)},
    **{f"MobileNetV4_{size}": f"mobilenet_v4_{size}" for size in ("small", "medium", "large")},
}
_DECODERS = {
    "DeepDualResolutionNet": "ddrnet",
    "DeepLabV3Plus": "deeplabv3plus",
    "BiSeNet": "bisenet_v1",
    "BiSeNetV1": "bisenet_v1",
    "BiSeNetV2": "bisenet_v2",
    "BiSeNetV2_large": "bisenet_v2_large",
}
_KEYS = {
    "ENCODER": ("NAME", "OUTPUT_STRIDE"),
    "FPN": ("NAME", "OUT_CHANNELS", "PANET", "NORM", "STACK"),
    "DECODER": ("NAME", "CHANNELS", "ASTROUS_RATES"),
    "POSTPROCESS": ("NAME", "FC_DIM", "NUM_FC", "REDUCTION"),
}
_NECKS = {"": "", "FPN": "fpn", "PANet": "panet", "BiFPN": "bifpn"}
_NORMS = {"": "none", "BN": "batch", "BatchNorm": "batch", "GN": "group", "GroupNorm": "group"}
_POSTPROCESSES = {"": "", "PointRend": "point_rend", "SCSE": "scse"}
_BLOCKS = {"": False, "BasicBlock": False, "SeparableConv2d": True, "DepthwiseSeparableConv": True}


def model_spec_from_legacy(section: Mapping[str, Any], num_classes: int, in_channels: int = 3) -> ModelSpec:
    """Return the ModelSpec of a MODEL section.

    `PRETRAINED`, "imagenet" or the path of a file, becomes an option where the network has an encoder that takes it;
    for a DDRNet or BiSeNetV2 see `first_weights`. `FPN.STACK` counts for BiFPN alone, as there. Auxiliary heads are on
    and logits at input size, which is what training and export expect. Raises ConfigError in one line that names the
    key and the nearest right value.
    """
    model = _open(section)
    encoder = model.section("ENCODER", _KEYS["ENCODER"])
    decoder = model.section("DECODER", _KEYS["DECODER"])
    deeplab = {
        **_read_decoder(encoder, decoder),
        **_read_neck(model.section("FPN", _KEYS["FPN"])),
        **_read_postprocess(model.section("POSTPROCESS", _KEYS["POSTPROCESS"])),
    }
    options: dict[str, OptionValue] = {"aux_head": True, "upsample": True, "separable": model.choice("BLOCK", _BLOCKS)}
    pretrained = _read_pretrained(model)
    family = decoder.choice("NAME", _DECODERS)
    if family == "deeplabv3plus":
        options |= {"encoder": encoder.choice("NAME", ENCODERS), "pretrained": pretrained, **deeplab}
        return ModelSpec(family, num_classes, in_channels, options)
    _refuse_deeplab_parts(deeplab, decoder.text("NAME"))
    if family == "ddrnet":
        family = _encoder_of(encoder, DDRNETS, decoder.text("NAME"))
    elif family == "bisenet_v1":
        family = _encoder_of(encoder, _BISENETS, decoder.text("NAME"))
        options["pretrained"] = pretrained
    return ModelSpec(family, num_classes, in_channels, options)


def first_weights(section: Mapping[str, Any], spec: ModelSpec) -> Path | None:
    """Return the checkpoint that `PRETRAINED` names beside a network without an encoder of its own.

    None where the encoder of `spec` takes it, where it is empty and for "imagenet", of which these networks have no
    weights that a program could fetch. Raises ConfigError naming the key when there is no such file.
    """
    if "pretrained" in spec.options:
        return None
    pretrained = _read_pretrained(_open(section))
    return None if pretrained in ("", IMAGENET) else Path(pretrained)


def _read_pretrained(model: LegacySection) -> str:
    """Return "", "imagenet" or the path of a file that is there."""
    pretrained = model.text("PRETRAINED")
    if plain(pretrained) in ("", IMAGENET):
        return plain(pretrained)
    path = Path(pretrained).expanduser()
    if path.is_file():
        return str(path)
    looks_like_a_path = path.suffix or len(path.parts) > 1
    hint = "give the path of a checkpoint" if looks_like_a_path else nearest(pretrained, [IMAGENET])
    raise model.error("PRETRAINED", f"no file {pretrained!r}; {hint}")


def _open(section: Mapping[str, Any]) -> LegacySection:
    return LegacySection("MODEL", section, ("PRETRAINED", *_KEYS, "BLOCK"), model_keys())


def model_keys() -> list[str]:
    """Return every key of the section, from the top of the file: `MODEL.FPN.NAME` and its like."""
    inner = [f"MODEL.{section}.{key}" for section, keys in _KEYS.items() for key in keys]
    return ["MODEL.PRETRAINED", "MODEL.BLOCK", *inner]


def _read_decoder(encoder: LegacySection, decoder: LegacySection) -> dict[str, OptionValue]:
    stride = encoder.integer("OUTPUT_STRIDE", 16)
    if stride not in (8, 16, 32):
        nearest = min((8, 16, 32), key=lambda known: abs(known - stride))
        raise encoder.error("OUTPUT_STRIDE", f"expected 8, 16 or 32, found {stride}; the nearest is {nearest}")
    return {
        "output_stride": stride,
        "decoder_channels": decoder.integer("CHANNELS", 256),
        "atrous_rates": decoder.integers("ASTROUS_RATES", (3, 5, 7)),
    }


def _read_neck(fpn: LegacySection) -> dict[str, OptionValue]:
    neck = fpn.choice("NAME", _NECKS)
    norm = fpn.choice("NORM", _NORMS, "BN")
    channels, stacks = fpn.integer("OUT_CHANNELS", 256), fpn.integer("STACK", 1)
    if fpn.flag("PANET", default=False):
        if neck not in ("fpn", "panet"):
            raise fpn.error("PANET", 'True belongs to NAME: "FPN"; set that or PANET: False')
        neck = "panet"
    if not neck:
        return {}
    return {
        "neck": neck,
        "neck_channels": channels,
        "neck_norm": norm,
        "neck_stacks": stacks if neck == "bifpn" else 1,
    }


def _read_postprocess(postprocess: LegacySection) -> dict[str, OptionValue]:
    names = set(postprocess.choices("NAME", _POSTPROCESSES))
    width, layers = postprocess.integer("FC_DIM", 512), postprocess.integer("NUM_FC", 3)
    reduction = postprocess.integer("REDUCTION", 16)
    options: dict[str, OptionValue] = {}
    if "point_rend" in names:
        options |= {"point_rend": True, "point_fc_dim": width, "point_num_fc": layers}
    if "scse" in names:
        options |= {"scse": True, "scse_reduction": reduction}
    return options


def _encoder_of(encoder: LegacySection, choices: Mapping[str, str], decoder: str) -> str:
    """Return the architecture whose trunk the encoder is, where the decoder takes only certain ones."""
    encoder.choice("NAME", ENCODERS)  # a misspelt name gets its nearest, whatever the decoder
    try:
        return encoder.choice("NAME", choices)
    except ConfigError:
        name, takes = encoder.text("NAME"), " or ".join(map(repr, choices))
        message = f'decoder {decoder!r} takes {takes}, not {name!r}; "DeepLabV3Plus" takes every encoder'
        raise encoder.error("NAME", message) from None


def _refuse_deeplab_parts(options: Mapping[str, OptionValue], decoder: str) -> None:
    for option, key, off in (
        ("neck", "FPN.NAME", '""'),
        ("point_rend", "POSTPROCESS.NAME", '[""]'),
        ("scse", "POSTPROCESS.NAME", '[""]'),
    ):
        if option in options:
            raise ConfigError(
                f'MODEL.{key}: decoder {decoder!r} takes none; use {off}, or MODEL.DECODER.NAME: "DeepLabV3Plus"'
            )
