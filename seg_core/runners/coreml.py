"""Run Core ML packages: in Core ML itself on macOS, in `seg_core.mil` everywhere else.

`backend` on the runner says which of the two ran. The evaluator checks the program, not the Neural Engine,
and its running time says nothing about a phone's.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from seg_core.errors import ArtifactError, ConfigError, MissingDependencyError
from seg_core.manifest import METADATA_KEY, Manifest
from seg_core.mil import Program, ValueType, load_program, read_metadata
from seg_core.mil.dtypes import boundary_dtype
from seg_core.mil.program import format_shape
from seg_core.runners.base import Array, check_feeds, check_names, first_line
from seg_core.spec import TensorSpec

Backend = Literal["evaluator", "core ml"]

#: Set to "evaluator" to use it on macOS too, or to "core ml" to insist on the real runtime.
BACKEND_VARIABLE = "SEGPROOF_COREML_BACKEND"


class EvaluatorRunner:
    """The saved program, run with numpy; tensors are those of the manifest."""

    target = "coreml"
    backend: Backend = "evaluator"

    def __init__(self, path: Path, manifest: Manifest) -> None:
        """Load `path`; raises ArtifactError when it is damaged or its tensors are not those of `manifest`."""
        self.inputs = manifest.inputs
        self.outputs = manifest.outputs
        self._path = path
        self._program: Program | None = load_program(path)
        _check_tensors(path, self._program, manifest)

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Return every output by name; raises ArtifactError when a feed is not what `inputs` states."""
        if self._program is None:
            raise ArtifactError(f"{self._path}: the runner is closed")
        check_feeds(self.inputs, feeds, self._path)
        results = self._program.run(feeds)
        return {tensor.name: results[tensor.name] for tensor in self.outputs}

    def close(self) -> None:
        """Release the program and its weights."""
        self._program = None


class AppleRunner:
    """The package in Apple's runtime, on all compute units; tensors are those of the manifest."""

    target = "coreml"
    backend: Backend = "core ml"

    def __init__(self, path: Path, manifest: Manifest) -> None:
        """Compile and load `path`; raises ArtifactError when Core ML refuses it."""
        try:
            import coremltools
        except ImportError:
            raise MissingDependencyError("coremltools", "running a Core ML package", "segproof[coreml]") from None
        self.inputs = manifest.inputs
        self.outputs = manifest.outputs
        self._path = path
        try:
            self._model: Any = coremltools.models.MLModel(str(path))
        except Exception as error:  # Core ML's errors arrive as bare RuntimeError or Exception
            raise ArtifactError(f"{path}: Core ML cannot load it ({first_line(error)})") from error

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Return every output by name; raises ArtifactError when a feed is not what `inputs` states."""
        if self._model is None:
            raise ArtifactError(f"{self._path}: the runner is closed")
        check_feeds(self.inputs, feeds, self._path)
        arguments = {tensor.name: _as_apple_takes(tensor, feeds[tensor.name]) for tensor in self.inputs}
        try:
            results = self._model.predict(arguments)
        except Exception as error:  # Core ML's errors arrive as bare RuntimeError or Exception
            raise ArtifactError(f"{self._path}: Core ML failed while running ({first_line(error)})") from error
        return {tensor.name: np.asarray(results[tensor.name], tensor.dtype) for tensor in self.outputs}

    def close(self) -> None:
        """Release the model."""
        self._model = None


def choose_backend() -> Backend:
    """Return the backend for this machine, or the one that SEGPROOF_COREML_BACKEND names; raises ConfigError."""
    asked = os.environ.get(BACKEND_VARIABLE, "")
    if asked == "evaluator":
        return "evaluator"
    if asked == "core ml" or (not asked and sys.platform == "darwin"):
        return "core ml"
    if asked:
        raise ConfigError(f'{BACKEND_VARIABLE}: expected "evaluator" or "core ml", found {asked!r}')
    return "evaluator"


def open_runner(path: Path, manifest: Manifest, threads: int | None) -> EvaluatorRunner | AppleRunner:
    """Open the package at `path`; raises ArtifactError when it cannot be used.

    `threads` is accepted for the sake of the common interface and changes nothing: Core ML schedules
    itself, and the evaluator's matrix products follow OPENBLAS_NUM_THREADS and its like.
    """
    del threads
    if choose_backend() == "core ml":
        return AppleRunner(path, manifest)
    return EvaluatorRunner(path, manifest)


def read_manifest(path: Path) -> str:
    """Return the JSON text in the package's user-defined metadata; raises ArtifactError when there is none."""
    metadata = read_metadata(path)
    if METADATA_KEY not in metadata:
        raise ArtifactError(
            f"{path}: a Core ML package without a segproof manifest, so its preprocessing is unknown; "
            "export it with  seg-export CHECKPOINT --target coreml"
        )
    return metadata[METADATA_KEY]


def _check_tensors(path: Path, program: Program, manifest: Manifest) -> None:
    sides = (("input", manifest.inputs, program.inputs), ("output", manifest.outputs, program.outputs))
    for what, stated, found in sides:
        check_names(path, f"{what}s", stated, found)
        for tensor in stated:
            _check_tensor(path, what, tensor, found[tensor.name], tensor.name in program.images)


def _check_tensor(path: Path, what: str, stated: TensorSpec, found: ValueType, is_image: bool) -> None:
    shape: tuple[int, ...] = stated.shape
    dtype: np.dtype[Any] = np.dtype(stated.dtype)
    if is_image and stated.layout == "nhwc" and stated.dtype == "uint8":
        shape, dtype = (shape[0], shape[3], shape[1], shape[2]), boundary_dtype(found.dtype)
    if not found.admits(shape) or boundary_dtype(found.dtype) != dtype:
        raise ArtifactError(
            f"{path}: {what} {stated.name!r} is {found.dtype} {format_shape(found.shape)}, but the manifest states "
            f"{stated.dtype} {format_shape(stated.shape)} ({stated.layout}); export it again"
        )


def _as_apple_takes(tensor: TensorSpec, array: Array) -> Any:
    """Return what MLModel.predict takes: an array as it is, pixels as a PIL image."""
    if tensor.dtype != "uint8":
        return array
    try:
        from PIL import Image
    except ImportError:
        raise MissingDependencyError("pillow", "feeding pixels to Core ML", "pillow") from None
    return Image.fromarray(array[0])
