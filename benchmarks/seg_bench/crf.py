"""Measure what a dense CRF gains and costs: the same scores of the network with and without it, picture by picture."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from seg_bench.accuracy import BOUNDARY_TOLERANCE_PX, At, Evaluation, Progress, without_unknown
from seg_bench.bootstrap import intervals_95, without_nan
from seg_bench.environment import read_environment
from seg_bench.labelled import LabelledData, as_labelled
from seg_bench.opening import open_predictor
from seg_bench.schema import Environment
from seg_core.convention import foreign_provenance
from seg_core.geometry import Geometry, plan_geometry
from seg_core.manifest import Manifest, hash_artifact
from seg_core.metrics import BoundaryAgreement, ConfusionMatrix
from seg_core.postprocessing import Postprocessor
from seg_core.predictor import Predictor
from seg_core.spec import CrfSpec, PostprocessSpec, to_json

UInt8 = npt.NDArray[np.uint8]
Resize = Literal["labels", "logits"]


@dataclass
class CrfRow:
    """One way of postprocessing: its counts, picture by picture, and the milliseconds that it took.

    `times_ms` are of the clock, `cpu_times_ms` of the processor: on a busy machine the latter tell more.
    """

    resize: Resize
    crf: CrfSpec | None
    confusions: list[ConfusionMatrix] = field(default_factory=list)
    boundaries: list[BoundaryAgreement] = field(default_factory=list)
    times_ms: list[float] = field(default_factory=list)
    cpu_times_ms: list[float] = field(default_factory=list)

    def confusion(self, chosen: Sequence[int] | None = None) -> ConfusionMatrix:
        """Return the counts of all pictures, or of the `chosen` ones (an index may come twice)."""
        total = ConfusionMatrix(self.confusions[0].num_classes, self.confusions[0].ignore_index)
        for index in range(len(self.confusions)) if chosen is None else chosen:
            total.merge(self.confusions[index])
        return total

    def boundary(self, chosen: Sequence[int] | None = None) -> BoundaryAgreement:
        """Return the outlines' counts of all pictures, or of the `chosen` ones."""
        first = self.boundaries[0]
        total = BoundaryAgreement(first.num_classes, first.ignore_index, first.tolerance_px)
        for index in range(len(self.boundaries)) if chosen is None else chosen:
            total.merge(self.boundaries[index])
        return total

    def add(self, prediction: UInt8, target: UInt8, manifest: Manifest) -> None:
        """Count one picture."""
        labels = manifest.labels
        self.confusions.append(ConfusionMatrix(labels.num_classes, labels.ignore_index))
        self.boundaries.append(BoundaryAgreement(labels.num_classes, labels.ignore_index, BOUNDARY_TOLERANCE_PX))
        self.confusions[-1].update(prediction, target)
        self.boundaries[-1].update(prediction, target)


@dataclass(frozen=True)
class CrfComparison:
    """Rows without and with the CRF, in this order for every `resize`, and what they were measured on."""

    environment: Environment
    model: str
    sha256: str
    manifest: Manifest
    data: str
    at: At
    threads: int | None
    rows: tuple[CrfRow, ...]

    @property
    def refined(self) -> Evaluation:
        """The scores with the CRF and the contract's own `resize`, or the only one measured."""
        rows = [row for row in self.rows if row.crf is not None]
        row = next((row for row in rows if row.resize == self.manifest.postprocess.resize), rows[-1])
        return self._evaluation(row)

    def to_json(self) -> dict[str, Any]:
        """Return scores, gains with their intervals, costs and circumstances as JSON types."""
        circumstances = self.refined.to_json()
        keys = ("model", "sha256", "target", "precision", "data", "images", "at", "size_hw", "boundary_tolerance_px",
                "provenance")  # fmt: skip
        crf = next(row.crf for row in self.rows if row.crf is not None)
        return {
            "environment": to_json(self.environment),
            **{key: circumstances[key] for key in keys if key in circumstances},
            "threads": self.threads,
            "crf": to_json(crf),
            "rows": [self._row_to_json(row) for row in self.rows],
            "gains": [self.gain(*pair) for pair in zip(self.rows[::2], self.rows[1::2], strict=True)],
        }

    def gain(self, plain: CrfRow, refined: CrfRow) -> dict[str, Any]:
        """Return the gain of `refined` over `plain`, with 95 % intervals from resampling the pictures.

        A gain is None where there is no score, as on masks that are ignored everywhere.
        """

        def gains(chosen: Sequence[int] | None = None) -> dict[str, float]:
            return {
                "boundary_f": refined.boundary(chosen).mean_f() - plain.boundary(chosen).mean_f(),
                "miou": refined.confusion(chosen).mean_iou() - plain.confusion(chosen).mean_iou(),
            }

        return {
            "resize": refined.resize,
            **without_nan(gains()),
            **intervals_95(gains, len(plain.times_ms)),
            "cost_p50_ms": statistics.median(np.subtract(refined.times_ms, plain.times_ms).tolist()),
            "cost_cpu_p50_ms": statistics.median(np.subtract(refined.cpu_times_ms, plain.cpu_times_ms).tolist()),
        }

    def _evaluation(self, row: CrfRow) -> Evaluation:
        return Evaluation(
            model=self.model,
            sha256=self.sha256,
            target=self.manifest.artifact.target,
            precision=self.manifest.artifact.precision,
            data=self.data,
            images=len(row.times_ms),
            at=self.at,
            size_hw=self.manifest.preprocess.size_hw,
            confusion=row.confusion(),
            areas=np.stack([confusion.class_areas() for confusion in row.confusions]),
            boundary=row.boundary(),
            names=self.manifest.labels.names,
            provenance=foreign_provenance(self.manifest.provenance),
        )

    def _row_to_json(self, row: CrfRow) -> dict[str, Any]:
        scores = self._evaluation(row).to_json()
        names = self.manifest.labels.names
        outlines = zip(names, row.boundary().class_f().tolist(), strict=True)
        return {
            "resize": row.resize,
            "with_crf": row.crf is not None,
            **{key: scores[key] for key in ("boundary_f", "miou", "pixel_accuracy", "per_class")},
            "boundary_f_per_class": {name: None if np.isnan(value) else value for name, value in outlines},
            "postprocess_p50_ms": statistics.median(row.times_ms),
            "postprocess_p90_ms": float(np.quantile(row.times_ms, 0.9)),
            "postprocess_min_ms": min(row.times_ms),
            "postprocess_cpu_p50_ms": statistics.median(row.cpu_times_ms),
        }


def measure_crf(
    model: str | Path,
    data: str | Path | LabelledData,
    crf: CrfSpec,
    at: At = "source",
    limit: int | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
    manifest: Manifest | None = None,
) -> CrfComparison:
    """Score `model` on the pairs of `data` with and without `crf`, and time both on the same outputs.

    The network runs once a picture; the ways to postprocess then take turns, the order rotating with every picture.
    At "source" labels are compared at the picture's size, carried back as labels and as logits; at "network" on the
    network's canvas, on which both are the same. `threads` is that of the network's runtime and of OpenCV; the
    lattice runs in one. `manifest` is the model's, read when it is not given. Raises what
    `seg_bench.accuracy.evaluate` raises.
    """
    data = as_labelled(data)
    pairs = data.pairs(limit)
    environment = read_environment()
    predictor, manifest = open_predictor(Path(model), threads, manifest)
    reading = data.reading(manifest.labels)
    resizes: tuple[Resize, ...] = ("labels", "logits") if at == "source" else ("logits",)
    rows = tuple(CrfRow(resize, each) for resize in resizes for each in (None, crf))
    with predictor, _opencv_threads(threads):
        for done, pair in enumerate(pairs, start=1):
            image_bgr, mask = reading.read(pair)
            _measure_picture(predictor, manifest, rows, done, (image_bgr, mask), at)
            if progress is not None:
                progress(done, len(pairs))
    return CrfComparison(
        environment, str(model), hash_artifact(Path(model)), manifest, str(data.path), at, threads, rows
    )


def _measure_picture(
    predictor: Predictor, manifest: Manifest, rows: Sequence[CrfRow], turn: int, pair: tuple[UInt8, UInt8], at: At
) -> None:
    image_bgr, mask = pair
    tensor, geometry = predictor.preprocessor(image_bgr)
    output = predictor.runner.run({predictor.input.name: tensor.astype(predictor.input.dtype, copy=False)})
    if at == "network":
        mask = geometry.project_labels(mask, manifest.labels.ignore_index)
        image_bgr = _canvas(image_bgr, geometry, manifest.preprocess.pad_value)
        geometry = plan_geometry(geometry.size_hw, manifest.preprocess)
    for place in range(len(rows)):
        row = rows[(place + turn) % len(rows)]
        spec = PostprocessSpec(row.resize, manifest.postprocess.outside_label)
        post = Postprocessor(replace(spec, crf=row.crf))
        start, cpu_start = time.perf_counter(), time.process_time()
        prediction = post(output[predictor.output.name], predictor.output, geometry, image_bgr)
        row.cpu_times_ms.append(1e3 * (time.process_time() - cpu_start))
        row.times_ms.append(1e3 * (time.perf_counter() - start))
        row.add(*without_unknown(prediction, mask, spec, manifest.labels), manifest)


def _canvas(image_bgr: UInt8, geometry: Geometry, pad_value: int) -> UInt8:
    """Return the picture as the network's canvas holds it, BGR uint8 at network size."""
    canvas = np.full((*geometry.size_hw, 3), pad_value, np.uint8)
    box = np.ascontiguousarray(image_bgr[geometry.box.slices])
    canvas[geometry.content.slices] = cv2.resize(box, geometry.resized_hw[::-1], interpolation=cv2.INTER_AREA)
    return canvas


@contextmanager
def _opencv_threads(threads: int | None) -> Iterator[None]:
    before = cv2.getNumThreads()
    if threads is not None:
        cv2.setNumThreads(threads)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
