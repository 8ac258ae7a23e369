"""What is known about every registered network: size, work, options, paper, published weights and proofs.

Everything is read from the network itself or from `proven.json`, which `make zoo` writes; a new model needs no entry.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from seg_core.errors import ConfigError, SpecError
from seg_core.models import MODELS, SegmentationModel, build_placeholder, list_models
from seg_core.models.encoders import ENCODERS
from seg_core.models.published_form import PUBLISHED
from seg_core.spec import ModelSpec
from seg_core.spec.io import load_json
from seg_core.spec.model import OptionValue

#: The size at which networks are compared where nobody asks for another.
SIZE_HW = (256, 256)

#: Cityscapes' number of classes, with which most of these networks are published.
NUM_CLASSES = 19

PROVEN_FILE = Path(__file__).with_name("proven.json")
PROVEN_VERSION = 1

#: Published files as their authors call them: (trained on, file). Where they are is the origin of the published form.
_WEIGHT_FILES: dict[str, tuple[tuple[str, str], ...]] = {
    "ddrnet_23_slim": (("Cityscapes", "best_val_smaller.pth"), ("ImageNet", "DDRNet23s_imagenet.pth")),
    "ddrnet_23": (("Cityscapes", "best_val.pth"), ("ImageNet", "DDRNet23_imagenet.pth")),
    "bisenet_v1": (
        ("Cityscapes", "model_final_v1_city_new.pth"),
        ("COCO-Stuff", "model_final_v1_coco_new.pth"),
        ("ADE20K", "model_final_v1_ade20k.pth"),
    ),
    "bisenet_v2": (
        ("Cityscapes", "model_final_v2_city.pth"),
        ("COCO-Stuff", "model_final_v2_coco.pth"),
        ("ADE20K", "model_final_v2_ade20k.pth"),
    ),
    "bisenet_v1_face": (("CelebAMask-HQ", "79999_iter.pth"),),
}


@dataclass(frozen=True)
class ModelOption:
    """One keyword of a model's constructor: its type in words ("bool", "int", "float", "str", "ints") and default."""

    name: str
    type: str
    default: OptionValue


@dataclass(frozen=True)
class PublishedFile:
    """A file of trained weights, as its authors publish it. `origin` names the repository and its licence."""

    trained_on: str
    file: str
    origin: str


@dataclass(frozen=True)
class Proof:
    """One model that was exported to one target, reopened from disk and found within tolerance of its checkpoint.

    `weights` says whether the checkpoint was a trained one or seeded weights of a trained network's size.
    `max_abs_relative` is max|artifact - checkpoint| / max|checkpoint| of the logits, on the worst image.
    """

    model: str
    target: str
    precision: str
    weights: str
    size_hw: tuple[int, int]
    max_abs_relative: float
    label_agreement: float
    converter: str
    date: str


@dataclass(frozen=True)
class ProofTable:
    """The content of `proven.json`."""

    proofs: tuple[Proof, ...]
    schema_version: int = PROVEN_VERSION

    def __post_init__(self) -> None:
        """Refuse other schema versions; raises SpecError."""
        if self.schema_version != PROVEN_VERSION:
            raise SpecError(f"proven.schema_version: this release reads {PROVEN_VERSION}, found {self.schema_version}")


@dataclass(frozen=True)
class ModelFacts:
    """What `seg-models show` tells about one network with given options.

    `parameters` and `gmacs` are those of what is exported, the main head alone; `training_parameters` adds the heads
    that only training needs. `gmacs` counts 10^9 multiply-accumulates (half of torch's FLOPs) of convolutions and
    matrix products on one image of `size_hw`; normalisation, activations and resizing are not counted.
    """

    name: str
    aliases: tuple[str, ...]
    summary: str
    paper: str
    num_classes: int
    in_channels: int
    given: Mapping[str, OptionValue]
    size_hw: tuple[int, int]
    parameters: int
    training_parameters: int
    gmacs: float
    output_stride: int
    size_divisor: int
    minimum_side: int
    heads: tuple[str, ...]
    options: tuple[ModelOption, ...]
    published: tuple[PublishedFile, ...]
    proofs: tuple[Proof, ...]


def describe_model(spec: ModelSpec, size_hw: tuple[int, int] = SIZE_HW) -> ModelFacts:
    """Describe the network of `spec` at `size_hw` without allocating its weights.

    Raises ConfigError when the name, an option or the size is wrong, SpecError when `proven.json` is malformed.
    """
    name = MODELS.resolve(spec.name)
    network = build_placeholder(spec).eval()
    network.check_size(size_hw)
    image = torch.zeros((1, spec.in_channels, *size_hw), device="meta")
    with torch.no_grad():
        heads = tuple(network.forward_heads(image))
    training_parameters = count_parameters(network)
    network.main_only()
    summary, paper = _read_docstring(network)
    options = list_options(name)
    defaults = not spec.options and spec.in_channels == 3
    return ModelFacts(
        name=name,
        aliases=MODELS.aliases(name),
        summary=summary,
        paper=paper,
        num_classes=spec.num_classes,
        in_channels=spec.in_channels,
        given=dict(spec.options),
        size_hw=size_hw,
        parameters=count_parameters(network),
        training_parameters=training_parameters,
        gmacs=count_macs(network, image) / 1e9,
        output_stride=network.output_stride,
        size_divisor=network.size_divisor,
        minimum_side=max(network.size_divisor, network.minimum_side),
        heads=heads,
        options=options,
        published=_find_published(name) + _find_encoder_weights(options, spec.options),
        # Proofs are of the default network; other options make another graph.
        proofs=tuple(proof for proof in load_proofs() if proof.model == name) if defaults else (),
    )


def count_parameters(network: torch.nn.Module) -> int:
    """Return how many trained numbers `network` has; running statistics are not counted."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_macs(network: torch.nn.Module, image: torch.Tensor) -> int:
    """Return the multiply-accumulates of convolutions and matrix products of `network` on `image`."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(image)
    return int(counter.get_total_flops()) // 2


def list_options(name: str) -> tuple[ModelOption, ...]:
    """Return the options that a ModelSpec of model `name` may hold, in the order of the constructor."""
    return tuple(
        ModelOption(parameter.name, _type_in_words(parameter.default), parameter.default)
        for parameter in inspect.signature(MODELS.get(name)).parameters.values()
        if parameter.name not in ("num_classes", "in_channels")
    )


def parse_options(name: str, texts: Mapping[str, str]) -> dict[str, OptionValue]:
    """Return `texts` (option to value as typed on a command line) as the types that model `name` wants.

    Unknown options pass as text, since building the model refuses them with the nearest name. Raises ConfigError when
    a value is not of its option's type.
    """
    types = {option.name: option.type for option in list_options(name)}
    return {key: _parse_value(name, key, types.get(key, "str"), text) for key, text in texts.items()}


def load_proofs(path: Path = PROVEN_FILE) -> tuple[Proof, ...]:
    """Return the proofs that ship with the package; raises SpecError naming the file when it is malformed."""
    return load_json(ProofTable, path, "proven").proofs


def describe_models(size_hw: tuple[int, int] = SIZE_HW) -> list[ModelFacts]:
    """Describe every registered network with its default options at `size_hw`."""
    return [describe_model(ModelSpec(name, NUM_CLASSES), size_hw) for name in list_models()]


def _read_docstring(network: SegmentationModel) -> tuple[str, str]:
    """Return what the module of `network` says it is: title and paper, from its docstring's first sentence."""
    text = (sys.modules[type(network).__module__].__doc__ or type(network).__doc__ or "").strip()
    line = " ".join(text.split("\n\n")[0].split())
    start = line.find("https://")
    paper = line[start:].split(")")[0].split(" ")[0].rstrip(".,;") if start >= 0 else ""
    return line.replace(f", {paper}", "").rstrip(".") if paper else line.rstrip("."), paper


def _find_published(name: str) -> tuple[PublishedFile, ...]:
    origin = PUBLISHED.get(name).origin if name in PUBLISHED else ""
    return tuple(PublishedFile(trained_on, file, origin) for trained_on, file in _WEIGHT_FILES.get(name, ()))


def _find_encoder_weights(
    options: tuple[ModelOption, ...], given: Mapping[str, OptionValue]
) -> tuple[PublishedFile, ...]:
    """Return the ImageNet weights of the encoder that the option "encoder" names, where there is such an option."""
    encoder = given.get("encoder", next((option.default for option in options if option.name == "encoder"), ""))
    if encoder not in ENCODERS:
        return ()
    weights = ENCODERS.get(str(encoder)).find_weights()
    origin = weights.url or weights.package or "published by the authors of the encoder"
    return (PublishedFile(f"ImageNet, encoder {encoder} (pretrained=imagenet)", Path(weights.file).name, origin),)


def _type_in_words(default: Any) -> str:
    return "ints" if isinstance(default, tuple) else type(default).__name__


def _parse_value(model: str, key: str, kind: str, text: str) -> OptionValue:
    try:
        if kind == "bool":
            return {"true": True, "false": False}[text.lower()]
        if kind == "ints":
            return tuple(int(part) for part in text.strip("[]()").split(",") if part.strip())
        if kind == "int":
            return int(text)
        return float(text) if kind == "float" else text
    except (KeyError, ValueError):
        wanted = {"bool": "true or false", "ints": "whole numbers such as 6,12,18", "int": "a whole number"}
        raise ConfigError(
            f"model {model!r}, option {key!r}: expected {wanted.get(kind, 'a number')}, found {text!r}"
        ) from None
