"""Build the manifest of an artifact from the checkpoint it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from seg_core.manifest import ArtifactInfo, GraphSpec, Manifest
from seg_core.spec import TensorSpec
from seg_export.provenance import created_utc
from seg_export.target import INPUT_NAME, OUTPUT_NAME, Precision, Target
from seg_export.targets import package_version

if TYPE_CHECKING:
    from seg_export.parity import Reference


def build_manifest(
    reference: Reference,
    target: Target,
    precision: Precision,
    file: str,
    notes: Sequence[str],
    logits_shape: tuple[int, ...],
) -> Manifest:
    """Return the manifest of the artifact `file`, its size and hash still open.

    `logits_shape` is (num_classes, h, w) of one image; `notes` say how the graph was prepared.
    """
    preprocess = replace(reference.spec, layout=target.layout)
    classes, height, width = logits_shape
    output_shape = (1, height, width, classes) if target.layout == "nhwc" else (1, classes, height, width)
    checkpoint = reference.checkpoint
    return Manifest(
        artifact=ArtifactInfo(file=file, target=target.name, precision=precision),
        model=checkpoint.model,
        preprocess=preprocess,
        postprocess=checkpoint.postprocess,
        labels=checkpoint.labels,
        graph=GraphSpec(),
        inputs=(TensorSpec(INPUT_NAME, "image", preprocess.tensor_shape, "float32", target.layout),),
        outputs=(TensorSpec(OUTPUT_NAME, "logits", output_shape, "float32", target.layout),),
        provenance=_provenance(reference, target, notes),
    )


def _provenance(reference: Reference, target: Target, notes: Sequence[str]) -> dict[str, Any]:
    return {
        "checkpoint": {
            "file": reference.path.name,
            "sha256": reference.sha256,
            "metrics": reference.checkpoint.metrics,
            "provenance": reference.checkpoint.provenance,
        },
        "segproof": package_version("segproof"),
        "converter": target.converter(),
        "torch": package_version("torch"),
        "created_utc": created_utc(),
        "prepared": list(notes),
    }
