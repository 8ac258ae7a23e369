"""Whether a network is scored on what it learns from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from seg_core.samples import SamplePair


def describe_overlap(train_set: Any, val_set: Any) -> str | None:
    """Return one line when validation shows image files that training shows too, else None.

    A data set that has no `pairs` cannot be looked into.
    """
    train: Sequence[SamplePair] = getattr(train_set, "pairs", ())
    val: Sequence[SamplePair] = getattr(val_set, "pairs", ())
    learnt = {pair.image.resolve() for pair in train}
    shared = [pair.image for pair in val if pair.image.resolve() in learnt]
    if not shared:
        return None
    return (
        f"data.val: {len(shared)} of {len(val)} validation images are training images too, such as {shared[0]}; "
        "scores on them tell nothing of other images"
    )
