"""Evaluate a checkpoint or an artifact on labelled pictures, through the pipeline an application runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from seg_core.errors import SegError
from seg_core.geometry import plan_geometry
from seg_core.manifest import Manifest, hash_artifact, load_manifest
from seg_core.metrics import BoundaryAgreement, ConfusionMatrix
from seg_core.postprocessing import Postprocessor
from seg_core.preprocessing import Preprocessor
from seg_core.runners import open_runner
from seg_core.samples import list_pairs, load_pair

At = Literal["network", "source"]
LabelMap = npt.NDArray[np.uint8]

#: How far outlines may be apart and still agree, in pixels of the resolution that is compared.
BOUNDARY_TOLERANCE_PX = 2

#: Called after every picture with how many are done and how many there are.
Progress = Callable[[int, int], None]


class GateError(SegError):
    """A model ran but scored below the asked-for minimum."""

    exit_code = 3


@dataclass(frozen=True)
class Evaluation:
    """The scores of one model on one data set, and exactly what was compared.

    `at` is "network" (label maps at `size_hw`, the network's input size; this is how training evaluates) or
    "source" (at the size of every image, through the inverse geometry).
    """

    model: str
    sha256: str
    target: str
    precision: str
    data: str
    images: int
    at: At
    size_hw: tuple[int, int]
    confusion: ConfusionMatrix
    boundary: BoundaryAgreement
    names: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the scores and their circumstances as JSON types; absent classes are None."""
        boundary_f = self.boundary.mean_f()
        return {
            **self.confusion.to_json(self.names),
            "boundary_f": None if np.isnan(boundary_f) else boundary_f,
            "boundary_tolerance_px": self.boundary.tolerance_px,
            "images": self.images,
            "at": self.at,
            "size_hw": list(self.size_hw),
            "data": self.data,
            "model": self.model,
            "target": self.target,
            "precision": self.precision,
            "sha256": self.sha256,
        }


def evaluate(
    model: str | Path,
    data_dir: str | Path,
    at: At = "network",
    limit: int | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Run `model` over the pairs in `data_dir` (`images/`, `masks/`) and score its label maps.

    At "network" the mask goes to the network's size by INTER_NEAREST through the geometry of its image;
    letterbox padding is ignored and what a centre crop cuts away is not scored. At "source" the label map comes
    back to the image's size instead, and what was cut away counts as the class `outside_label`. `limit` takes
    only the first pairs by name. Raises SegError naming the file: a model or a pair that cannot be read, or a mask
    whose values are not classes of the model.
    """
    model = Path(model)
    if limit is not None and limit < 1:
        raise SegError(f"limit: expected at least 1, found {limit}")
    pairs = list_pairs(data_dir)[:limit]
    manifest = load_manifest(model)
    labels = manifest.labels
    segmenter = _Segmenter(model, manifest, threads)
    confusion = ConfusionMatrix(labels.num_classes, labels.ignore_index)
    boundary = BoundaryAgreement(labels.num_classes, labels.ignore_index, BOUNDARY_TOLERANCE_PX)
    for done, pair in enumerate(pairs, start=1):
        image_bgr, mask = load_pair(pair, labels)
        prediction, target = segmenter.compare(image_bgr, mask, at)
        confusion.update(prediction, target)
        boundary.update(prediction, target)
        if progress is not None:
            progress(done, len(pairs))
    segmenter.runner.close()
    return Evaluation(
        model=str(model),
        sha256=hash_artifact(model),
        target=manifest.artifact.target,
        precision=manifest.artifact.precision,
        data=str(data_dir),
        images=len(pairs),
        at=at,
        size_hw=manifest.preprocess.size_hw,
        confusion=confusion,
        boundary=boundary,
        names=labels.names,
    )


def check_miou(evaluation: Evaluation, min_miou: float) -> None:
    """Raise GateError (exit code 3) when the mean IoU is below `min_miou` or there is none."""
    miou = evaluation.confusion.mean_iou()
    if not miou >= min_miou:
        raise GateError(f"{evaluation.model}: mIoU {miou:.4f} on {evaluation.data} is below the minimum {min_miou:g}")


class _Segmenter:
    """A model with its contract, giving label maps that can be compared with masks."""

    def __init__(self, path: Path, manifest: Manifest, threads: int | None) -> None:
        self.manifest = manifest
        self.runner = open_runner(path, manifest, threads)
        self.preprocess = Preprocessor(manifest.preprocess)
        self.postprocess = Postprocessor(manifest.postprocess)
        # To the postprocessor a canvas is a picture that already has the network's size.
        self.canvas = plan_geometry(manifest.preprocess.size_hw, manifest.preprocess)

    def compare(self, image_bgr: LabelMap, mask: LabelMap, at: At) -> tuple[LabelMap, LabelMap]:
        """Return (prediction, target), uint8 label maps of one shape, at the asked-for resolution."""
        tensor, geometry = self.preprocess(image_bgr)
        spec = self.runner.outputs[0]
        output = self.runner.run({self.runner.inputs[0].name: tensor})[spec.name]
        if at == "source":
            return self.postprocess(output, spec, geometry), mask
        target = geometry.project_labels(mask, self.manifest.labels.ignore_index)
        return self.postprocess(output, spec, self.canvas), target
