"""Checkpoints: one file that holds a trained network and everything needed to export or run it.

The file is a `torch.save` of one dictionary of tensors and plain JSON types:
`format`, `format_version`, `model`, `preprocess`, `postprocess`, `labels`, `state_dict`, `metrics`, `provenance`.
It loads with `weights_only=True`, so that opening a stranger's checkpoint runs none of their code.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seg_core.convention import StatedConvention
from seg_core.errors import CheckpointError, SegError
from seg_core.labels import LabelSet
from seg_core.models import MODELS, SegmentationModel, build_placeholder
from seg_core.models.published import read_published
from seg_core.models.weights_file import read_weights_file, write_weights_file
from seg_core.spec import ModelSpec, PostprocessSpec, PreprocessSpec, from_json, to_json

CHECKPOINT_FORMAT = "segproof.checkpoint"
CHECKPOINT_VERSION = 1

_SECTIONS = ("model", "preprocess", "postprocess", "labels", "state_dict", "metrics", "provenance")


@dataclass(frozen=True)
class Checkpoint:
    """A trained network with its contracts.

    `state_dict` holds the weights by the model's own names (float32 after loading); `metrics` and `provenance`
    are plain JSON types.
    """

    model: ModelSpec
    preprocess: PreprocessSpec
    postprocess: PostprocessSpec
    labels: LabelSet
    state_dict: dict[str, Tensor]
    metrics: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse contracts that contradict each other; raises CheckpointError."""
        if self.labels.num_classes != self.model.num_classes:
            raise CheckpointError(
                f"labels: {self.labels.num_classes} names for the {self.model.num_classes} classes of the model"
            )
        if self.preprocess.channels != self.model.in_channels:
            raise CheckpointError(
                f"preprocess.color: {self.preprocess.source!r} makes {self.preprocess.channels} channel(s), "
                f"but the model takes {self.model.in_channels}"
            )
        if self.preprocess.has_prior and len(self.preprocess.prior_values) != self.model.num_classes:
            raise CheckpointError(
                f"preprocess.prior_values: {len(self.preprocess.prior_values)} values for the "
                f"{self.model.num_classes} classes of the model"
            )
        if (self.preprocess.layout, self.preprocess.dtype) != ("nchw", "float32"):
            raise CheckpointError(
                f"preprocess: a checkpoint takes nchw float32, found {self.preprocess.layout} {self.preprocess.dtype}"
            )


def save_checkpoint(path: str | Path, checkpoint: Checkpoint, half: bool = False) -> None:
    """Write `checkpoint` to `path` atomically; with `half` floating-point weights are stored as float16.

    Equal checkpoints give equal bytes. Numbers in `metrics` and `provenance` that are not finite become null.
    Raises CheckpointError when the weights do not fit the model, do not fit float16 or the file cannot be
    written; an older file at `path` then stays as it was.
    """
    path = Path(path)
    try:
        check_weights(checkpoint)
        content = {
            "format": CHECKPOINT_FORMAT,
            "format_version": CHECKPOINT_VERSION,
            **{name: to_json(getattr(checkpoint, name)) for name in ("model", "preprocess", "postprocess", "labels")},
            "state_dict": {name: _stored(name, tensor, half) for name, tensor in checkpoint.state_dict.items()},
            "metrics": _plain("metrics", checkpoint.metrics),
            "provenance": _plain("provenance", checkpoint.provenance),
        }
    except SegError as error:
        raise CheckpointError(f"{path}: not saved: {error}") from None
    write_weights_file(path, content)


def load_checkpoint(path: str | Path, stated: StatedConvention | None = None) -> Checkpoint:
    """Read a checkpoint, or a published state dict of a registered architecture, into float32 weights on the CPU.

    A bare state dict (also inside "state_dict", "model", "model_state", "ema" and the like) has its architecture
    read from its keys and shapes; what had to be assumed, for want of being `stated`, is in `provenance`. Raises
    CheckpointError naming the file and the next step when it is missing, damaged, holds Python objects, is of an
    unknown architecture or version, its weights do not fit or are not finite, or when more than the size is stated
    about a checkpoint of ours, which says it itself.
    """
    path = Path(path)
    content = read_weights_file(path)
    try:
        if isinstance(content, Mapping) and "format" in content:
            checkpoint = _resized(_parse(content), stated or StatedConvention())
        else:
            checkpoint = Checkpoint(**read_published(content, stated))
        check_weights(checkpoint)
    except SegError as error:
        raise CheckpointError(f"{path}: {error}") from None
    for name, tensor in checkpoint.state_dict.items():
        checkpoint.state_dict[name] = tensor.detach().float() if tensor.is_floating_point() else tensor
    return checkpoint


def build_network(checkpoint: Checkpoint) -> SegmentationModel:
    """Build the network of `checkpoint` with its weights: float32, on the CPU, in eval mode."""
    network = build_placeholder(checkpoint.model).to_empty(device="cpu")
    network.load_state_dict(checkpoint.state_dict, strict=True)
    return network.eval()


def check_weights(checkpoint: Checkpoint) -> None:
    """Refuse weights or sizes that the architecture cannot take; raises CheckpointError or ConfigError.

    Keys, shapes, kinds of dtype (any floating type will do for float weights) and finiteness are checked.
    """
    network = build_placeholder(checkpoint.model)
    network.check_size(checkpoint.preprocess.size_hw)
    expected, found = network.state_dict(), checkpoint.state_dict
    _refuse_keys("lacks the weight", [key for key in expected if key not in found])
    _refuse_keys(
        f"holds a weight that {checkpoint.model.name} does not have:", [key for key in found if key not in expected]
    )
    for key, wanted in expected.items():
        _check_tensor(key, found[key], wanted)


def _refuse_keys(finding: str, keys: list[str]) -> None:
    if keys:
        more = f" (and {len(keys) - 1} more)" if len(keys) > 1 else ""
        raise CheckpointError(
            f"{finding} {keys[0]!r}{more}; the file and its model section do not belong together: save it again"
        )


def _check_tensor(key: str, found: Any, wanted: Tensor) -> None:
    if not isinstance(found, Tensor) or found.layout != torch.strided or found.is_meta:
        raise CheckpointError(f"weight {key!r}: expected a dense tensor, found {type(found).__name__}")
    if found.shape != wanted.shape:
        raise CheckpointError(
            f"weight {key!r}: expected shape {tuple(wanted.shape)}, found {tuple(found.shape)}; "
            "num_classes, in_channels or the architecture differ"
        )
    if found.dtype != wanted.dtype and not (wanted.is_floating_point() and found.is_floating_point()):
        raise CheckpointError(f"weight {key!r}: holds {found.dtype}; save it as {wanted.dtype}")
    # The sum is finite unless an entry is not (or it overflows, hence the second look), and much cheaper.
    if not math.isfinite(float(found.sum(dtype=torch.float32))) and not bool(torch.isfinite(found).all()):
        raise CheckpointError(f"weight {key!r} holds NaN or Inf: training diverged; use an earlier checkpoint")


def _parse(content: Mapping[str, Any]) -> Checkpoint:
    if content["format"] != CHECKPOINT_FORMAT:
        raise CheckpointError(f"format {content['format']!r} is not {CHECKPOINT_FORMAT!r}; not one of our checkpoints")
    version = content.get("format_version")
    if version != CHECKPOINT_VERSION:
        raise CheckpointError(
            f"format version {version!r}, this release reads {CHECKPOINT_VERSION}; upgrade segproof or save it again"
        )
    for name in _SECTIONS:
        if not isinstance(content.get(name), Mapping):
            raise CheckpointError(f"section {name!r} is missing or not a dictionary; save the checkpoint again")
    model = from_json(ModelSpec, content["model"], "model")
    MODELS.resolve(model.name)
    return Checkpoint(
        model=model,
        preprocess=from_json(PreprocessSpec, content["preprocess"], "preprocess"),
        postprocess=from_json(PostprocessSpec, content["postprocess"], "postprocess"),
        labels=from_json(LabelSet, content["labels"], "labels"),
        state_dict=dict(content["state_dict"]),
        metrics=_plain("metrics", content["metrics"]),
        provenance=_plain("provenance", content["provenance"]),
    )


def _resized(checkpoint: Checkpoint, stated: StatedConvention) -> Checkpoint:
    """Return a checkpoint of ours at the stated size."""
    if not replace(stated, size_hw=None).is_empty:
        raise CheckpointError(
            "one of our checkpoints, which says itself how it was trained: leave out --mean, --std, --color and the "
            "classes"
        )
    size_hw = stated.size_hw or checkpoint.preprocess.size_hw
    return replace(checkpoint, preprocess=replace(checkpoint.preprocess, size_hw=size_hw))


def _stored(name: str, tensor: Tensor, half: bool) -> Tensor:
    dtype = tensor.dtype if not tensor.is_floating_point() else torch.float16 if half else torch.float32
    # A copy, so that a view never drags the whole storage behind it into the file.
    stored = tensor.detach().to("cpu", dtype, copy=True).contiguous()
    if not bool(torch.isfinite(stored).all()):
        raise CheckpointError(f"weight {name!r} is beyond the range of float16; save without half")
    return stored


def _plain(section: str, value: Mapping[str, Any]) -> dict[str, Any]:
    try:
        text = json.dumps(to_json(value), default=_number)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{section}: only JSON types can be there ({error})") from None
    result: dict[str, Any] = json.loads(text, parse_constant=lambda _: None)
    return result


def _number(value: Any) -> Any:
    if getattr(value, "ndim", None) == 0:  # numpy and torch scalars
        return value.item()
    raise TypeError(f"found {type(value).__name__}")
