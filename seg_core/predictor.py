"""A picture in, a label map out: preprocessing, runner and postprocessing in one object."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from seg_core.errors import ArtifactError, SpecError
from seg_core.geometry import Geometry, Roi
from seg_core.labels import LabelSet
from seg_core.manifest import Manifest, load_manifest
from seg_core.postprocessing import Postprocessor
from seg_core.preprocessing import Preprocessor
from seg_core.runners import Runner, open_runner
from seg_core.spec import PostprocessSpec, PreprocessSpec, TensorSpec
from seg_core.tracking import PriorState

UInt8 = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Prediction:
    """Labels uint8 (H, W) at source size, how they came about, and the time each step took.

    `timings_ms` has the keys "preprocess", "run", "postprocess" and "total", in wall-clock milliseconds, and with a
    CRF in the contract "crf", the part of "postprocess" that it took.
    `used_prior` says whether the network was told the labels of the frame before.
    """

    labels: UInt8
    geometry: Geometry
    timings_ms: Mapping[str, float]
    used_prior: bool = False


class Predictor:
    """Label pictures with an opened network. Use it as a context manager, or call `close`.

    `predict` is for single pictures. `track` is for the frames of one video, in order: a network whose contract has a
    prior is then told what it said of the frame before. With a network that takes none the two are the same.
    Threads may share a predictor for `predict`; runtimes that compute one picture at a time (TFLite, Core AI) make them
    wait for one another.
    """

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
        self._state = PriorState()

    @classmethod
    def open(cls, path: str | Path, threads: int | None = None, manifest: Manifest | None = None) -> Predictor:
        """Open a checkpoint or an exported artifact with the contracts that it carries.

        `threads` None leaves the number to the runtime; `manifest` is read when it is not given. Raises
        ArtifactError, CheckpointError or SpecError when the file cannot be used, MissingDependencyError when its
        runtime is not installed.
        """
        path = Path(path)
        manifest = manifest or load_manifest(path)
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
        return self._label(image_bgr, roi, None)

    def track(self, frame_bgr: UInt8, roi: Roi | None = None) -> Prediction:
        """Label the next frame of a video as `predict` labels a picture, and remember it for the frame after.

        The memory begins anew by itself when the size of the frames changes or the scene does (`seg_core.tracking`).
        It holds one video: call `reset` before another, and take a predictor each for videos side by side.
        """
        return self._label(frame_bgr, roi, self._state if self.preprocessor.spec.has_prior else None)

    def reset(self) -> None:
        """Forget the frame before: the next one that is tracked is the first of its video."""
        self._state.reset()

    def _label(self, image_bgr: UInt8, roi: Roi | None, state: PriorState | None) -> Prediction:
        start = time.perf_counter()
        canvas, geometry = self.preprocessor.to_canvas(image_bgr, roi)
        prior = state.recall(image_bgr, geometry) if state is not None else None
        tensor = self.preprocessor.to_tensor(canvas, prior)
        prepared = time.perf_counter()
        outputs = self.runner.run({self.input.name: tensor.astype(self.input.dtype, copy=False)})
        ran = time.perf_counter()
        if self.output.name not in outputs:
            raise ArtifactError(f"output {self.output.name!r}: the network gave only {', '.join(outputs) or 'nothing'}")
        labels, refined = self._finish(outputs[self.output.name], geometry, image_bgr)
        if state is not None:
            state.keep(self.postprocessor.network_labels(outputs[self.output.name], self.output, geometry), geometry)
        end = time.perf_counter()
        spans = {"preprocess": prepared - start, "run": ran - prepared, "postprocess": end - ran, "total": end - start}
        if refined is not None:
            spans["crf"] = refined - ran
        return Prediction(labels, geometry, {step: 1e3 * span for step, span in spans.items()}, prior is not None)

    def _finish(self, output: npt.NDArray[Any], geometry: Geometry, image_bgr: UInt8) -> tuple[UInt8, float | None]:
        """Return the labels, and the time at which the CRF was done where there is one."""
        if self.postprocessor.spec.crf is None:
            return self.postprocessor(output, self.output, geometry), None
        probabilities = self.postprocessor.refine(output, self.output, geometry, image_bgr)
        refined = time.perf_counter()
        return self.postprocessor.finish(probabilities, geometry), refined

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
