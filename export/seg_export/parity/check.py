"""Run a written artifact beside the reference and judge it by the tolerance table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seg_core.convention import PUBLISHED_SOURCE, convention_options
from seg_core.errors import ArtifactError
from seg_core.manifest import Manifest, hash_artifact, load_manifest
from seg_core.preprocessing import Preprocessor
from seg_core.reference import reference_preprocess
from seg_core.runners import open_runner
from seg_export.parity.compare import compare_image, summarise_output
from seg_export.parity.contract import check_contract, check_embedded
from seg_export.parity.reference import Reference, ReferenceRun
from seg_export.parity.result import ParityReport
from seg_export.parity.tolerances import tolerance_of
from seg_export.provenance import created_utc

Float32 = npt.NDArray[np.float32]

#: Called for every image with the reference and the artifact's logits (num_classes, h, w).
Observer = Callable[[ReferenceRun, Float32], None]


def check_artifact(artifact: str | Path, reference: Reference, observer: Observer | None = None) -> ParityReport:
    """Reopen `artifact` from disk, run it on every sample of `reference` and return the verdict.

    Its own manifest says how images are preprocessed and what its tensors are, so all of that is part of what
    is proved. A difference beyond tolerance is a report that has not passed, not an exception. Raises
    ArtifactError when the file cannot be read, run or is not of this checkpoint's architecture, when its manifest
    states other labels, postprocessing or prior values than the checkpoint, and when everything beside it agrees but
    the manifest inside it is another one.
    """
    artifact = Path(artifact)
    manifest = load_manifest(artifact)
    _check_kinship(artifact, manifest, reference)
    _check_convention(artifact, manifest, reference)
    check_contract(artifact, manifest, reference)
    tolerance = tolerance_of(manifest.artifact.target, manifest.artifact.precision)
    runs = reference.runs(manifest.preprocess.size_hw)
    preprocessor = Preprocessor(manifest.preprocess)
    output = manifest.outputs[0]
    identical = True
    images = []
    runner = open_runner(artifact, manifest)
    try:
        for run in runs:
            tensor, _ = preprocessor(run.sample.image_bgr, run.sample.roi, run.prior)
            identical = identical and _is_same_tensor(manifest, run, tensor)
            found = runner.run({manifest.inputs[0].name: tensor})[output.name]
            logits = _as_planes(found, output.layout)
            images.append(compare_image(run.sample.name, logits, run.logits, tolerance))
            if observer is not None:
                observer(run, logits)
        backend = getattr(runner, "backend", None)
    finally:
        runner.close()
    largest = max(float(np.abs(run.logits).max()) for run in runs)
    verdict = summarise_output(output.name, output.shape, largest, images)
    passed = identical and verdict.passed
    if passed:  # what has not passed is told by its numbers, which say more
        check_embedded(artifact, manifest)
    return ParityReport(
        artifact=artifact.name,
        sha256=hash_artifact(artifact),
        target=manifest.artifact.target,
        precision=manifest.artifact.precision,
        size_hw=manifest.preprocess.size_hw,
        checkpoint=reference.path.name,
        checkpoint_sha256=reference.sha256,
        tolerance=tolerance,
        images="synthetic" if any(sample.synthetic for sample in reference.samples) else "real",
        preprocessing_identical=identical,
        outputs=(verdict,),
        passed=passed,
        created_utc=created_utc(),
        backend=backend,
    )


def _check_kinship(artifact: Path, manifest: Manifest, reference: Reference) -> None:
    ours, theirs = reference.checkpoint.model, manifest.model
    if (ours.name, ours.num_classes) != (theirs.name, theirs.num_classes):
        raise ArtifactError(
            f"{artifact}: is a {theirs.name} with {theirs.num_classes} classes, but {reference.path.name} holds a "
            f"{ours.name} with {ours.num_classes}; compare it with the checkpoint it was exported from"
        )


def _check_convention(artifact: Path, manifest: Manifest, reference: Reference) -> None:
    """Refuse to read a foreign checkpoint by another convention than the export did: what differs is no defect."""
    ours = reference.checkpoint.provenance
    recorded = manifest.provenance.get("checkpoint", {}).get("provenance", {}).get("convention")
    if ours.get("source") == PUBLISHED_SOURCE and recorded is not None and recorded != ours["convention"]:
        raise ArtifactError(
            f"{artifact}: {reference.path.name} was exported by another input convention than it is read by now: "
            f"give  {convention_options(recorded)}"
        )


def _is_same_tensor(manifest: Manifest, run: ReferenceRun, tensor: npt.NDArray[Any]) -> bool:
    """Whether the fast path gave the bytes of the numpy definition, and the numbers the checkpoint's own gave."""
    defined, _ = reference_preprocess(manifest.preprocess, run.sample.image_bgr, run.sample.roi, run.prior)
    planes = tensor.transpose(0, 3, 1, 2) if manifest.preprocess.layout == "nhwc" else tensor
    return np.array_equal(tensor, defined) and np.array_equal(planes, run.tensor)


def _as_planes(output: npt.NDArray[Any], layout: str) -> Float32:
    """Return logits of one image as float32 (num_classes, h, w)."""
    planes = output[0].transpose(2, 0, 1) if layout == "nhwc" else output[0]
    return np.asarray(planes, np.float32)
