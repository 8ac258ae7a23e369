"""Read published state dicts: what architecture they are, and what has to be assumed of everything else.

The readers of single families live beside their models (see `published_form`).
"""

from __future__ import annotations

import dataclasses
from typing import Any

from seg_core.convention import PUBLISHED_SOURCE, StatedConvention, input_convention
from seg_core.errors import CheckpointError
from seg_core.labels import LABEL_SETS, LabelSet
from seg_core.models.foreign_state import ForeignState, open_state
from seg_core.models.published_form import PublishedTask
from seg_core.models.published_match import Fit, recognise
from seg_core.spec import PostprocessSpec, PreprocessSpec


def read_published(content: Any, stated: StatedConvention | None = None) -> dict[str, Any]:
    """Return the fields of a Checkpoint for a published state dict, wrapped or bare.

    What is `stated` stands in the place of what would be assumed. Raises CheckpointError when `content` holds no
    state dict, or one of no registered architecture (the message names the nearest and the first keys that differ),
    and ConfigError when what is stated contradicts the weights.
    """
    foreign = open_state(content)
    return checkpoint_fields(foreign, recognise(foreign.state), stated or StatedConvention())


def checkpoint_fields(foreign: ForeignState, fit: Fit, stated: StatedConvention) -> dict[str, Any]:
    """Return the fields of a Checkpoint for weights that fit entirely; assumptions are in its provenance.

    Raises CheckpointError for networks that take neither 1 nor 3 channels and ConfigError when what is stated
    contradicts the weights.
    """
    model = fit.model
    task = fit.form.assume_task(model.num_classes)
    assumed = _assume_preprocess(task, model.in_channels)
    preprocess = stated.applied_to(assumed)
    labels = stated.labels or _assume_labels(task, model.num_classes)
    if labels.num_classes != model.num_classes:
        raise CheckpointError(
            f"--labels {stated.labels_from}: {labels.num_classes} names, but the model has {model.num_classes} classes"
        )
    provenance = {
        "source": PUBLISHED_SOURCE,
        "architecture": f"{model.name}, recognised by its keys and shapes",
        "origin": fit.form.origin,
        "read_from": foreign.read_from,
        "prefix": foreign.prefix,
        "dropped": foreign.dropped,
        "convention": input_convention(preprocess),
        "assumed": _list_assumed(fit, task, assumed, stated),
        "stated": _list_stated(stated) | ({"options": fit.stated_options} if fit.stated_options else {}),
        "also_fits": {"labels": _other_label_sets(labels)},
    }
    return {
        "model": model,
        "preprocess": preprocess,
        "postprocess": PostprocessSpec(),
        "labels": labels,
        "state_dict": fit.state,
        "metrics": {},
        "provenance": provenance,
    }


def _list_assumed(fit: Fit, task: PublishedTask, assumed: PreprocessSpec, stated: StatedConvention) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if fit.form.untold and not fit.stated_options:
        found["architecture"] = fit.form.untold
    if stated.mean is None:
        found["preprocess"] = f"{stated.color or assumed.color} with {task.statistics}"
    if stated.size_hw is None:
        found["size_hw"] = list(assumed.size_hw)
    if stated.labels is None:
        classes = fit.model.num_classes
        named = _assume_labels(task, classes) is task.labels
        found["labels"] = f"the {classes} classes of {task.dataset}" if named else "numbered names"
    return found


def _list_stated(stated: StatedConvention) -> dict[str, Any]:
    values: dict[str, Any] = {"color": stated.color, "labels": stated.labels_from or None}
    for name in ("mean", "std", "size_hw"):
        value = getattr(stated, name)
        values[name] = None if value is None else list(value)
    return {name: value for name, value in values.items() if value is not None}


def _other_label_sets(labels: LabelSet) -> list[str]:
    """Return the known label sets of the same number of classes that are not `labels`."""
    return [name for name, other in LABEL_SETS.items() if other.num_classes == labels.num_classes and other != labels]


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
