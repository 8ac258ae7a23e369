"""What of a manifest no number shows: classes, postprocessing, and that the copy inside the artifact says the same."""

from __future__ import annotations

import json
from dataclasses import fields
from itertools import zip_longest
from pathlib import Path
from typing import Any

from seg_core.convention import PUBLISHED_SOURCE
from seg_core.errors import ArtifactError
from seg_core.manifest import Manifest
from seg_core.runners import read_embedded_manifest
from seg_core.spec import to_json
from seg_export.parity.reference import Reference


def check_contract(artifact: Path, manifest: Manifest, reference: Reference) -> None:
    """Compare labels, postprocessing and prior values of `manifest` with the checkpoint's.

    Logits are the same whatever these say, but the label map at the end is not. Raises ArtifactError naming
    `artifact`, the first field that differs and both sides.
    """
    checkpoint = reference.checkpoint
    pairs: list[tuple[str, Any, Any]] = [("postprocess", manifest.postprocess, checkpoint.postprocess)]
    if not _are_labels_assumed(checkpoint.provenance):
        pairs.append(("labels", manifest.labels, checkpoint.labels))
    for name, found, wanted in pairs:
        for field in fields(found):
            ours, theirs = getattr(wanted, field.name), getattr(found, field.name)
            _compare(artifact, reference, f"{name}.{field.name}", theirs, ours)
    values, wanted_values = manifest.preprocess.prior_values, checkpoint.preprocess.prior_values
    _compare(artifact, reference, "preprocess.prior_values", values, wanted_values)


def check_embedded(artifact: Path, manifest: Manifest) -> None:
    """Compare the manifest inside `artifact` with `manifest`, the one beside it: an app may read either one.

    Raises ArtifactError naming `artifact` and the first field that differs.
    """
    inside, beside = _by_field(read_embedded_manifest(artifact)), _by_field(manifest.embedded())
    for name, text in beside.items():
        if inside[name] != text:
            raise ArtifactError(
                f"{artifact}: the manifest inside it states another {name!r} than {artifact.name}.json beside it; "
                "export it again"
            )


def _compare(artifact: Path, reference: Reference, name: str, found: Any, wanted: Any) -> None:
    if found == wanted:
        return
    if isinstance(found, tuple) and isinstance(wanted, tuple):
        pairs = enumerate(zip_longest(found, wanted, fillvalue="missing"))
        index, (found, wanted) = next((index, pair) for index, pair in pairs if pair[0] != pair[1])
        name += f"[{index}]"
    raise ArtifactError(
        f"{artifact}: its manifest states {name} {found!r}, but {reference.path.name} has {wanted!r}; export it again "
        "or compare it with the checkpoint it was exported from"
    )


def _are_labels_assumed(provenance: Any) -> bool:
    """Whether the classes are a guess about a foreign checkpoint, where the export may have been told better."""
    return provenance.get("source") == PUBLISHED_SOURCE and "labels" in provenance["assumed"]


def _by_field(manifest: Manifest) -> dict[str, str]:
    """Return each field as text: metrics in it may be NaN, which equals nothing, and tuples come back as lists."""
    return {name: json.dumps(value, sort_keys=True) for name, value in to_json(manifest).items()}
