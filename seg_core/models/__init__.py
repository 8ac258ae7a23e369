"""Segmentation networks by name. This package needs torch; nothing else in the library imports it eagerly."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from functools import partial

import torch

from seg_core.errors import ConfigError
from seg_core.models.base import SegmentationModel
from seg_core.models.bisenet_v1 import bisenet_v1, bisenet_v1_face, bisenet_v1_resnet34
from seg_core.models.bisenet_v2 import bisenet_v2, bisenet_v2_large
from seg_core.models.ddrnet import ddrnet_23, ddrnet_23_slim, ddrnet_39
from seg_core.models.deeplabv3plus import DeepLabV3Plus
from seg_core.registry import Registry
from seg_core.spec import ModelSpec

__all__ = ["MODELS", "SegmentationModel", "build_model", "build_placeholder", "list_models"]

#: Architecture names to builders taking `num_classes`, `in_channels` and the options of a ModelSpec.
MODELS: Registry[Callable[..., SegmentationModel]] = Registry("model")
MODELS.add("ddrnet_23_slim", ddrnet_23_slim, ("ddrnet-23-slim", "ddrnet23_slim", "ddrnet23-slim"))
MODELS.add("ddrnet_23", ddrnet_23, ("ddrnet-23", "ddrnet23"))
MODELS.add("ddrnet_39", ddrnet_39, ("ddrnet-39", "ddrnet39"))
MODELS.add("bisenet_v1", bisenet_v1, ("bisenetv1", "bisenet_v1_resnet18"))
MODELS.add("bisenet_v1_resnet34", bisenet_v1_resnet34, ("bisenetv1_resnet34",))
MODELS.add("bisenet_v1_face", bisenet_v1_face, ("bisenetv1_face", "face_parsing"))
MODELS.add("bisenet_v2", bisenet_v2, ("bisenetv2",))
MODELS.add("bisenet_v2_large", bisenet_v2_large, ("bisenetv2_large",))
# Any other encoder goes by the option "encoder" of the first.
MODELS.add("deeplabv3plus", DeepLabV3Plus, ("deeplabv3+", "deeplabv3plus_resnet18"))
for _encoder, _separable in (
    ("resnet50", False),
    ("mobilenet_v2", True),
    ("mobilenet_v4_small", True),
    ("efficientnet_lite0", True),
):
    MODELS.add(f"deeplabv3plus_{_encoder}", partial(DeepLabV3Plus, encoder=_encoder, separable=_separable))


def list_models() -> list[str]:
    """Return the registered architecture names."""
    return MODELS.names()


def build_model(spec: ModelSpec) -> SegmentationModel:
    """Build the freshly initialised network of `spec`, in training mode.

    Raises ConfigError when the name or an option is unknown or an option has the wrong type.
    """
    builder = MODELS.get(spec.name)
    parameters = inspect.signature(builder).parameters
    known = [name for name in parameters if name not in ("num_classes", "in_channels")]
    for name, value in spec.options.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"model {spec.name!r} has no option {name!r}{hint} (known: {', '.join(known)})")
        if type(value) is not type(parameters[name].default):
            wanted = type(parameters[name].default).__name__
            raise ConfigError(f"model {spec.name!r}, option {name!r}: expected {wanted}, found {value!r}")
    return builder(num_classes=spec.num_classes, in_channels=spec.in_channels, **spec.options)


def build_placeholder(spec: ModelSpec) -> SegmentationModel:
    """Build the network of `spec` on torch's "meta" device: names, shapes and dtypes without memory or randomness.

    Raises ConfigError as `build_model` does.
    """
    with torch.device("meta"):
        return build_model(spec)
