"""The UPPERCASE YAML of an older training engine: its MODEL section as a ModelSpec.

Values are taken as that engine's loader (yacs) took them: a string that reads as a Python literal is that literal, so
"(3, 5, 7)" is a tuple and "None" nothing. Keys that it accepts and a network has no use for, such as atrous rates
beside a DDRNet, are checked and left out.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from seg_core.errors import ConfigError
from seg_core.spec import ModelSpec
from seg_core.spec.model import OptionValue

T = TypeVar("T")

_DDRNETS = {"DDRNet23_slim": "ddrnet_23_slim", "DDRNet23": "ddrnet_23", "DDRNet39": "ddrnet_39"}
_BISENETS = {"ResNet18": "bisenet_v1", "ResNet34": "bisenet_v1_resnet34"}

#: Encoders as that engine spells them, to this library's names. Case, "_" and "-" do not count.
ENCODERS = {
    **_DDRNETS,
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
_NECKS = {"": "", "FPN": "fpn", "PANet": "panet", "BiFPN": "bifpn"}
_NORMS = {"": "none", "BN": "batch", "BatchNorm": "batch", "GN": "group", "GroupNorm": "group"}
_POSTPROCESSES = {"": "", "PointRend": "point_rend", "SCSE": "scse"}
_BLOCKS = {"": False, "BasicBlock": False, "SeparableConv2d": True, "DepthwiseSeparableConv": True}


class LegacySection:
    """One section of such a file, read strictly: every message names the key from the top, as `MODEL.FPN.NAME`."""

    def __init__(self, path: str, section: Any, keys: Iterable[str]) -> None:
        """Wrap the mapping `section` found at `path`; raises ConfigError at the first key that is not in `keys`."""
        if section is None:
            section = {}
        if not isinstance(section, Mapping):
            raise ConfigError(f"{path}: expected a section with keys, found {_shown(section)}")
        self.path = path
        self._values = section
        known = list(keys)
        for key in section:
            if key not in known:
                raise ConfigError(f"{path}.{key}: unknown key; {_nearest(str(key), known)}")

    def section(self, key: str, keys: Iterable[str]) -> LegacySection:
        """Return the section under `key`; one that is absent is empty."""
        return LegacySection(f"{self.path}.{key}", self._values.get(key), keys)

    def integer(self, key: str, default: int, least: int = 1) -> int:
        """Return a whole number of at least `least`."""
        value = decode(self._values.get(key, default))
        if type(value) is not int or value < least:
            raise self.error(key, f"expected a whole number of at least {least}, found {_shown(value)}")
        return value

    def flag(self, key: str, default: bool) -> bool:
        """Return True or False."""
        value = decode(self._values.get(key, default))
        if type(value) is not bool:
            raise self.error(key, f"expected True or False, found {_shown(value)}")
        return value

    def integers(self, key: str, default: tuple[int, ...]) -> tuple[int, ...]:
        """Return whole numbers of at least 1: a tuple in parentheses, a list, or one number for itself."""
        value = decode(self._values.get(key, default))
        numbers = value if isinstance(value, (tuple, list)) else (value,)
        if not numbers or any(type(number) is not int or number < 1 for number in numbers):
            raise self.error(key, f"expected whole numbers such as (3, 5, 7), found {_shown(value)}")
        return tuple(numbers)

    def text(self, key: str, default: str = "") -> str:
        """Return a string; None is the empty one."""
        value = decode(self._values.get(key, default))
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self.error(key, f"expected a name, found {_shown(value)}")
        return value.strip()

    def choice(self, key: str, choices: Mapping[str, T], default: str = "") -> T:
        """Return what `choices` has for the name under `key`; case, "_" and "-" do not count."""
        return self._choose(key, self.text(key, default), choices)

    def choices(self, key: str, choices: Mapping[str, T]) -> list[T]:
        """Return what `choices` has for each name of the list under `key`; one name may stand alone."""
        value = decode(self._values.get(key, []))
        names = [] if value is None else list(value) if isinstance(value, (list, tuple)) else [value]
        if any(not isinstance(name, str) for name in names):
            raise self.error(key, f"expected a list of names, found {_shown(value)}")
        return [self._choose(key, name.strip(), choices) for name in names]

    def error(self, key: str, message: str) -> ConfigError:
        """Return the error that says `message` about `key`."""
        return ConfigError(f"{self.path}.{key}: {message}")

    def _choose(self, key: str, name: str, choices: Mapping[str, T]) -> T:
        for known, chosen in choices.items():
            if _plain(known) == _plain(name):
                return chosen
        problem = f"unknown name {name!r}" if name else "missing"
        raise self.error(key, f"{problem}; {_nearest(name, list(choices))}")


def decode(value: Any) -> Any:
    """Return a string's Python literal where it is one ("None", "(3, 5, 7)", "1e-3"), else `value` itself."""
    if not isinstance(value, str):
        return value
    try:
        return ast.literal_eval(value.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return value


def model_spec_from_legacy(section: Mapping[str, Any], num_classes: int, in_channels: int = 3) -> ModelSpec:
    """Return the ModelSpec of a MODEL section.

    `PRETRAINED` becomes an option where the network has an encoder that takes it; a DDRNet or BiSeNetV2 has none.
    `FPN.STACK` counts for BiFPN alone, as there. Auxiliary heads are on and logits at input size, which is what
    training and export expect. Raises ConfigError in one line that names the key and the nearest right value.
    """
    model = LegacySection("MODEL", section, ("PRETRAINED", "ENCODER", "FPN", "DECODER", "POSTPROCESS", "BLOCK"))
    encoder = model.section("ENCODER", ("NAME", "OUTPUT_STRIDE"))
    decoder = model.section("DECODER", ("NAME", "CHANNELS", "ASTROUS_RATES"))
    deeplab = {
        **_read_decoder(encoder, decoder),
        **_read_neck(model.section("FPN", ("NAME", "OUT_CHANNELS", "PANET", "NORM", "STACK"))),
        **_read_postprocess(model.section("POSTPROCESS", ("NAME", "FC_DIM", "NUM_FC", "REDUCTION"))),
    }
    options: dict[str, OptionValue] = {"aux_head": True, "upsample": True, "separable": model.choice("BLOCK", _BLOCKS)}
    pretrained = model.text("PRETRAINED")
    family = decoder.choice("NAME", _DECODERS)
    if family == "deeplabv3plus":
        options |= {"encoder": encoder.choice("NAME", ENCODERS), "pretrained": pretrained, **deeplab}
        return ModelSpec(family, num_classes, in_channels, options)
    _refuse_deeplab_parts(deeplab, decoder.text("NAME"))
    if family == "ddrnet":
        family = _encoder_of(encoder, _DDRNETS, decoder.text("NAME"))
    elif family == "bisenet_v1":
        family = _encoder_of(encoder, _BISENETS, decoder.text("NAME"))
        options["pretrained"] = pretrained
    return ModelSpec(family, num_classes, in_channels, options)


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


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).lower()


def _nearest(name: str, known: list[str]) -> str:
    by_plain = {_plain(entry): entry for entry in known}
    near = difflib.get_close_matches(_plain(name), by_plain, n=1, cutoff=0.5)
    return f"did you mean {by_plain[near[0]]!r}?" if near else f"known: {', '.join(map(repr, known))}"


def _shown(value: Any) -> str:
    return repr(value)[:60]
