"""Recognise published state dicts: which registered architecture their keys and shapes are.

The readers of single families live beside their models; this module knows what all such files have in common:
wrappers, prefixes left by training frameworks, and entries of the loss.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from seg_core.errors import CheckpointError
from seg_core.labels import CITYSCAPES_19, LabelSet
from seg_core.models import build_placeholder, ddrnet
from seg_core.spec import IMAGENET_MEAN, IMAGENET_STD, ModelSpec, PostprocessSpec, PreprocessSpec

#: Half of Cityscapes' 1024x2048 in both directions: its aspect at a quarter of the work. An export may override it.
PUBLISHED_SIZE_HW = (512, 1024)

#: Where trainers put the state dict; averaged weights first, since those are the ones they evaluate.
_WRAPPERS = ("ema", "state_dict", "model_state", "model")
_PREFIXES = ("module.", "model.", "net.")
_LOSS_PREFIXES = ("loss.", "criterion.")

#: Architecture names to readers of their ModelSpec (None where a telling key is absent).
_READERS: dict[str, Callable[[str, Mapping[str, Tensor]], ModelSpec | None]] = {
    "ddrnet_23_slim": ddrnet.read_published_spec,
    "ddrnet_23": ddrnet.read_published_spec,
    "ddrnet_39": ddrnet.read_published_spec,
}


def read_published(content: Any) -> dict[str, Any]:
    """Return the fields of a Checkpoint for a published state dict, wrapped or bare.

    Raises CheckpointError when `content` holds no state dict, or one of no registered architecture; the message
    names the nearest architecture and the first keys that differ.
    """
    wrappers, state = _unwrap(content)
    state, dropped = _clean(state)
    model = _recognise(state)
    for key in _expected(model):  # torch before 0.4.1 did not count batches
        if key.endswith(".num_batches_tracked"):
            state.setdefault(key, torch.zeros((), dtype=torch.int64))
    preprocess = _assume_preprocess(model.in_channels)
    labels = _assume_labels(model.num_classes)
    provenance = {
        "source": "published state dict",
        "architecture": f"{model.name}, recognised by its keys and shapes",
        "read_from": "/".join(wrappers) or "top level",
        "dropped": dropped,
        "assumed": {
            "preprocess": f"{preprocess.color} with ImageNet statistics",
            "size_hw": list(PUBLISHED_SIZE_HW),
            "labels": "the 19 classes of Cityscapes" if labels is CITYSCAPES_19 else "numbered names",
        },
    }
    return {
        "model": model,
        "preprocess": preprocess,
        "postprocess": PostprocessSpec(),
        "labels": labels,
        "state_dict": state,
        "metrics": {},
        "provenance": provenance,
    }


def _unwrap(content: Any) -> tuple[list[str], dict[str, Tensor]]:
    wrappers: list[str] = []
    while isinstance(content, Mapping):
        inner = next((name for name in _WRAPPERS if isinstance(content.get(name), Mapping)), None)
        if inner is None:
            break
        wrappers.append(inner)
        content = content[inner]
    if not isinstance(content, Mapping) or not any(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError("holds no state dict (a dictionary of tensors by name); save model.state_dict() to it")
    return wrappers, {str(key): value for key, value in content.items()}


def _clean(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Drop entries of the loss, entries that are no tensors, and the prefixes that all remaining keys share."""
    dropped = [key for key, value in state.items() if not isinstance(value, Tensor)]
    state = {key: value for key, value in state.items() if isinstance(value, Tensor)}
    while True:
        dropped += [key for key in state if key.startswith(_LOSS_PREFIXES)]
        state = {key: value for key, value in state.items() if not key.startswith(_LOSS_PREFIXES)}
        prefix = next((p for p in _PREFIXES if state and all(key.startswith(p) for key in state)), None)
        if prefix is None:
            return state, dropped
        state = {key.removeprefix(prefix): value for key, value in state.items()}


def _recognise(state: Mapping[str, Tensor]) -> ModelSpec:
    best: tuple[int, str, list[str]] | None = None
    found = {key: tuple(value.shape) for key, value in state.items()}
    for name, read_spec in _READERS.items():
        spec = read_spec(name, state)
        expected = _expected(spec or ModelSpec(name, num_classes=2))
        differing = _differences(expected, found)
        if spec is not None and not differing:
            return spec
        if best is None or len(differing) < best[0]:
            best = (len(differing), name, differing)
    assert best is not None  # the table of readers is not empty
    count, name, differing = best
    raise CheckpointError(
        f"a state dict of no known architecture; the nearest is {name}, from which {count} entries differ: "
        f"{'; '.join(differing[:3])} (known: {', '.join(_READERS)})"
    )


def _expected(spec: ModelSpec) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in build_placeholder(spec).state_dict().items()}


def _differences(expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Say what differs, what is missing first; absent batch counters do not count."""
    missing = [key for key in expected if key not in found and not key.endswith(".num_batches_tracked")]
    surplus = [key for key in found if key not in expected]
    reshaped = [key for key in expected if key in found and found[key] != expected[key]]
    return (
        [f"{key} is missing" for key in missing]
        + [f"{key} is unknown" for key in surplus]
        + [f"{key} is {found[key]}, not {expected[key]}" for key in reshaped]
    )


def _assume_preprocess(in_channels: int) -> PreprocessSpec:
    if in_channels == 3:
        return PreprocessSpec(size_hw=PUBLISHED_SIZE_HW)
    if in_channels == 1:
        mean, std = sum(IMAGENET_MEAN) / 3, sum(IMAGENET_STD) / 3
        return PreprocessSpec(size_hw=PUBLISHED_SIZE_HW, color="gray", mean=(mean,), std=(std,))
    raise CheckpointError(
        f"takes {in_channels} channels; images have 3 (RGB) or 1 (gray), so it cannot be used as it is"
    )


def _assume_labels(num_classes: int) -> LabelSet:
    if num_classes == CITYSCAPES_19.num_classes:
        return CITYSCAPES_19
    return LabelSet(tuple(f"class_{index}" for index in range(num_classes)))
