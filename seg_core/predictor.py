"""A picture in, a label map out: preprocessing, runner and postprocessing in one object."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from seg_core.errors import ArtifactError, SpecError
from seg_core.geometry import Geometry, Roi
from seg_core.labels import LabelSet
from seg_core.manifest import load_manifest
from seg_core.postprocessing import Postprocessor
from seg_core.preprocessing import Preprocessor
from seg_core.runners import Runner, open_runner
from seg_core.spec import PostprocessSpec, PreprocessSpec, TensorSpec

UInt8 = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Prediction:
    """Labels uint8 (H, W) at source size, how they came about, and the time each step took.

    `timings_ms` has the keys "preprocess", "run", "postprocess" and "total", in wall-clock milliseconds.
    """

    labels: UInt8
    geometry: Geometry
    timings_ms: Mapping[str, float]


class Predictor:
    """Label pictures with an opened network. Use it as a context manager, or call `close`."""

    def __init__(
        self, runner: Runner, preprocess: PreprocessSpec, postprocess: PostprocessSpec, labels: LabelSet
    ) -> None:
        """Join `runner` with its contracts; raises SpecError when they contradict one another."""
        self.runner = runner
        self.labels = labels
        self.preprocessor = Preprocessor(preprocess)
        self.postprocessor = Postprocessor(postprocess)
        self.input = _input_of(runner, preprocess)
        self.output = _output_of(runner, labels)

    @classmethod
    def open(cls, path: str | Path, threads: int | None = None) -> Predictor:
        """Open a checkpoint or an exported artifact with the contracts that it carries.

        `threads` None leaves the number to the runtime. Raises ArtifactError, CheckpointError or SpecError when the
        file cannot be used, MissingDependencyError when its runtime is not installed.
        """
        path = Path(path)
        manifest = load_manifest(path)
        runner = open_runner(path, manifest, threads)
        try:
            return cls(runner, manifest.preprocess, manifest.postprocess, manifest.labels)
        except SpecError as error:
            runner.close()
            raise SpecError(f"{path}: {error}") from None

    def predict(self, image_bgr: UInt8, roi: Roi | None = None) -> Prediction:
        """Label one picture, BGR uint8 (H, W, 3); without `roi` all of it goes to the network.

        Raises ImageError when the picture or `roi` is wrong, ArtifactError when the network's output is.
        """
        start = time.perf_counter()
        tensor, geometry = self.preprocessor(image_bgr, roi)
        prepared = time.perf_counter()
        outputs = self.runner.run({self.input.name: tensor.astype(self.input.dtype, copy=False)})
        ran = time.perf_counter()
        if self.output.name not in outputs:
            raise ArtifactError(f"output {self.output.name!r}: the network gave only {', '.join(outputs) or 'nothing'}")
        labels = self.postprocessor(outputs[self.output.name], self.output, geometry)
        end = time.perf_counter()
        spans = {"preprocess": prepared - start, "run": ran - prepared, "postprocess": end - ran, "total": end - start}
        return Prediction(labels, geometry, {step: 1e3 * span for step, span in spans.items()})

    def close(self) -> None:
        """Release the network."""
        self.runner.close()

    def __enter__(self) -> Predictor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _input_of(runner: Runner, preprocess: PreprocessSpec) -> TensorSpec:
    if len(runner.inputs) != 1:
        raise SpecError(f"the network takes {len(runner.inputs)} inputs; a predictor feeds one image")
    (image,) = runner.inputs
    if image.shape != preprocess.tensor_shape or image.layout != preprocess.layout:
        raise SpecError(
            f"input {image.name!r}: takes {image.shape} {image.layout}, preprocessing makes "
            f"{preprocess.tensor_shape} {preprocess.layout}"
        )
    if (image.dtype == "uint8") != (preprocess.dtype == "uint8"):
        raise SpecError(f"input {image.name!r}: takes {image.dtype}, preprocessing makes {preprocess.dtype}")
    return image


def _output_of(runner: Runner, labels: LabelSet) -> TensorSpec:
    """Return the first output that is logits or labels."""
    for output in runner.outputs:
        if output.role == "image":
            continue
        channels = output.shape[output.layout.index("c")] if "c" in output.layout else labels.num_classes
        if channels != labels.num_classes:
            raise SpecError(f"output {output.name!r}: {channels} channels for {labels.num_classes} classes")
        return output
    raise SpecError("the network has no output that is logits or labels")
