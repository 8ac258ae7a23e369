"""Recognise published state dicts: which registered architecture their keys and shapes are.

The readers of single families live beside their models; this module knows what all such files have in common:
wrappers, prefixes left by training frameworks, and entries of the loss.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from seg_core.errors import CheckpointError
from seg_core.labels import LabelSet
from seg_core.models import build_placeholder
from seg_core.models.published_form import PUBLISHED, PublishedForm, PublishedTask
from seg_core.spec import ModelSpec, PostprocessSpec, PreprocessSpec

#: Where trainers put the state dict; averaged weights first, since those are the ones they evaluate.
_WRAPPERS = ("ema", "state_dict", "model_state", "model")
_PREFIXES = ("module.", "model.", "net.")
_LOSS_PREFIXES = ("loss.", "criterion.")


def read_published(content: Any) -> dict[str, Any]:
    """Return the fields of a Checkpoint for a published state dict, wrapped or bare.

    Raises CheckpointError when `content` holds no state dict, or one of no registered architecture; the message
    names the nearest architecture and the first keys that differ.
    """
    wrappers, state = _unwrap(content)
    state, dropped = _clean(state)
    form, model = _recognise(state)
    state = form.own_keys(state)
    for key in _expected(model):  # torch before 0.4.1 did not count batches
        if key.endswith(".num_batches_tracked"):
            state.setdefault(key, torch.zeros((), dtype=torch.int64))
    task = form.assume_task(model.num_classes)
    preprocess = _assume_preprocess(task, model.in_channels)
    labels = _assume_labels(task, model.num_classes)
    named = labels is task.labels
    provenance = {
        "source": "published state dict",
        "architecture": f"{model.name}, recognised by its keys and shapes",
        "origin": form.origin,
        "read_from": "/".join(wrappers) or "top level",
        "dropped": dropped,
        "assumed": {
            "preprocess": f"{preprocess.color} with {task.statistics}",
            "size_hw": list(preprocess.size_hw),
            "labels": f"the {model.num_classes} classes of {task.dataset}" if named else "numbered names",
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


def _recognise(state: Mapping[str, Tensor]) -> tuple[PublishedForm, ModelSpec]:
    forms = [PUBLISHED.get(name) for name in PUBLISHED]
    differing: dict[str, list[str]] = {}
    for form in forms:
        spec = form.read_spec(state)
        if spec is not None:
            differing[form.model] = _form_differences(form, spec, state)
            if not differing[form.model]:
                return form, spec
    if not differing:  # no form's telling keys are there
        differing = {form.model: _form_differences(form, ModelSpec(form.model, num_classes=2), state) for form in forms}
    name = min(differing, key=lambda name: len(differing[name]))
    raise CheckpointError(
        f"a state dict of no known architecture; the nearest is {name}, from which {len(differing[name])} entries "
        f"differ: {'; '.join(differing[name][:3])} (known: {', '.join(sorted({form.model for form in forms}))})"
    )


def _form_differences(form: PublishedForm, spec: ModelSpec, state: Mapping[str, Tensor]) -> list[str]:
    found = {key: tuple(value.shape) for key, value in form.own_keys(state).items()}
    return _differences(_expected(spec), found)


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


def _assume_preprocess(task: PublishedTask, in_channels: int) -> PreprocessSpec:
    rgb = task.preprocess
    if in_channels == 3:
        return rgb
    if in_channels == 1:
        mean, std = sum(rgb.mean) / 3, sum(rgb.std) / 3
        return dataclasses.replace(rgb, color="gray", mean=(mean,), std=(std,))
    raise CheckpointError(
        f"takes {in_channels} channels; images have 3 (RGB) or 1 (gray), so it cannot be used as it is"
    )


def _assume_labels(task: PublishedTask, num_classes: int) -> LabelSet:
    if task.labels is not None and task.num_classes == num_classes:
        return task.labels
    return LabelSet(tuple(f"class_{index}" for index in range(num_classes)))
