"""Evaluate a checkpoint or an artifact on labelled pictures, through the pipeline an application runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from seg_bench.bootstrap import intervals_95
from seg_bench.environment import read_environment
from seg_bench.labelled import LabelledData, as_labelled
from seg_bench.opening import open_predictor
from seg_bench.schema import Environment
from seg_core.convention import foreign_provenance
from seg_core.errors import SegError
from seg_core.geometry import plan_geometry
from seg_core.labels import LabelSet
from seg_core.manifest import Manifest, hash_artifact
from seg_core.metrics import BoundaryAgreement, ConfusionMatrix
from seg_core.postprocessing import Postprocessor
from seg_core.predictor import Predictor
from seg_core.spec import PostprocessSpec, to_json

At = Literal["network", "source"]
ContractCrf = Literal["none", "applied", "left out"]
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
    "source" (at the size of every image, through the inverse geometry). `provenance` is that of a foreign checkpoint,
    with what was assumed of it; None for other models. `contract_crf` says what became of the CRF in the model's
    contract: at "network" it is left out, as training has none. `environment` is the machine and the commit.
    `areas` is int64 (images, 3, num_classes), what `ConfusionMatrix.class_areas` gives of each picture.
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
    areas: npt.NDArray[np.int64]
    boundary: BoundaryAgreement
    names: tuple[str, ...]
    provenance: Mapping[str, Any] | None = None
    contract_crf: ContractCrf = "none"
    environment: Environment | None = None

    def class_images(self) -> list[int]:
        """Return in how many pictures the truth has each class; one alone decides the IoU of a class that is in it."""
        return [int(count) for count in (self.areas[:, 2] > 0).sum(axis=0)]

    def intervals(self) -> dict[str, list[float]]:
        """Return "miou_95", [low, high] over the choice of pictures; nothing for a single one."""

        def score(chosen: Sequence[int]) -> dict[str, float]:
            shared, whole, _ = self.areas[chosen].sum(axis=0)
            return {"miou": float((shared[whole > 0] / whole[whole > 0]).mean()) if whole.any() else float("nan")}

        return intervals_95(score, len(self.areas))

    def to_json(self) -> dict[str, Any]:
        """Return the scores and their circumstances as JSON types; absent classes are None."""
        boundary_f = self.boundary.mean_f()
        return {
            **self.confusion.to_json(self.names),
            **self.intervals(),
            "class_images": dict(zip(self.names, self.class_images(), strict=True)),
            "boundary_f": None if np.isnan(boundary_f) else boundary_f,
            "boundary_tolerance_px": self.boundary.tolerance_px,
            "images": self.images,
            "at": self.at,
            "contract_crf": self.contract_crf,
            "size_hw": list(self.size_hw),
            "data": self.data,
            "model": self.model,
            "target": self.target,
            "precision": self.precision,
            "sha256": self.sha256,
            **({} if self.environment is None else {"environment": to_json(self.environment)}),
            **({} if self.provenance is None else {"provenance": dict(self.provenance)}),
        }


def evaluate(
    model: str | Path,
    data: str | Path | LabelledData,
    at: At = "network",
    limit: int | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
    manifest: Manifest | None = None,
) -> Evaluation:
    """Run `model` over the pairs of `data`, a data set in any layout, and score its label maps.

    At "network" the mask goes to the network's size by INTER_NEAREST through the geometry of its image;
    letterbox padding is ignored and what a centre crop cuts away is not scored. At "source" the label map comes
    back to the image's size instead, and what was cut away counts as the class `outside_label`, or is not scored either
    where that is none of the classes; a CRF of the model's contract takes part there alone. `limit` takes only the
    first pairs by name; `manifest` is the model's, read when it is not given. Raises SegError naming the file: a model
    or a pair that cannot be read, or a mask whose values are not classes of the model.
    """
    model = Path(model)
    data = as_labelled(data)
    pairs = data.pairs(limit)
    environment = read_environment()
    predictor, manifest = open_predictor(model, threads, manifest)
    labels = manifest.labels
    reading = data.reading(labels)
    confusion = ConfusionMatrix(labels.num_classes, labels.ignore_index)
    boundary = BoundaryAgreement(labels.num_classes, labels.ignore_index, BOUNDARY_TOLERANCE_PX)
    areas = []
    for done, pair in enumerate(pairs, start=1):
        image_bgr, mask = reading.read(pair)
        prediction, target = _compare(predictor, image_bgr, mask, at)
        image = ConfusionMatrix(labels.num_classes, labels.ignore_index)
        image.update(prediction, target)
        areas.append(image.class_areas())
        confusion.merge(image)
        boundary.update(prediction, target)
        if progress is not None:
            progress(done, len(pairs))
    predictor.close()
    return Evaluation(
        model=str(model),
        sha256=hash_artifact(model),
        target=manifest.artifact.target,
        precision=manifest.artifact.precision,
        data=str(data.path),
        images=len(pairs),
        at=at,
        size_hw=manifest.preprocess.size_hw,
        confusion=confusion,
        areas=np.stack(areas),
        boundary=boundary,
        names=labels.names,
        provenance=foreign_provenance(manifest.provenance),
        contract_crf="none" if manifest.postprocess.crf is None else "applied" if at == "source" else "left out",
        environment=environment,
    )


def check_miou(evaluation: Evaluation, min_miou: float) -> None:
    """Raise GateError (exit code 3) when the mean IoU is below `min_miou` or there is none."""
    miou = evaluation.confusion.mean_iou()
    if not miou >= min_miou:
        raise GateError(f"{evaluation.model}: mIoU {miou:.4f} on {evaluation.data} is below the minimum {min_miou:g}")


def without_unknown(
    prediction: LabelMap, target: LabelMap, postprocess: PostprocessSpec, labels: LabelSet
) -> tuple[LabelMap, LabelMap]:
    """Return both label maps, uint8 (H, W), with the target ignored where the prediction says "unknown".

    That is an `outside_label` which is no class: a contract's way to say that the network never saw these pixels.
    """
    if postprocess.outside_label < labels.num_classes:
        return prediction, target
    unknown = prediction == postprocess.outside_label
    ignored = np.where(unknown, np.uint8(labels.ignore_index), target)
    return np.where(unknown, np.uint8(0), prediction), ignored


def _compare(predictor: Predictor, image_bgr: LabelMap, mask: LabelMap, at: At) -> tuple[LabelMap, LabelMap]:
    """Return (prediction, target), uint8 label maps of one shape, at the asked-for resolution."""
    if at == "source":
        prediction = predictor.predict(image_bgr).labels
        return without_unknown(prediction, mask, predictor.postprocessor.spec, predictor.labels)
    tensor, geometry = predictor.preprocessor(image_bgr)
    output = predictor.runner.run({predictor.input.name: tensor})[predictor.output.name]
    # To a postprocessor the canvas is a picture that already has the network's size. Scores of a smaller size are
    # enlarged before argmax, whatever the model's own contract says: training evaluates like that.
    spec = predictor.preprocessor.spec
    on_canvas = Postprocessor(PostprocessSpec(resize="logits"))
    prediction = on_canvas(output, predictor.output, plan_geometry(spec.size_hw, spec))
    return prediction, geometry.project_labels(mask, predictor.labels.ignore_index)
