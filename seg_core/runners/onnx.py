"""Run ONNX artifacts in ONNX Runtime on the CPU; torch and the `onnx` package are not needed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seg_core.errors import ArtifactError, MissingDependencyError
from seg_core.manifest import METADATA_KEY, Manifest
from seg_core.runners.base import Array, check_feeds, check_names, first_line

_SILENT = 4  # only fatal messages: what goes wrong is raised as an ArtifactError instead


class OnnxRunner:
    """An ONNX Runtime session of one artifact; tensors are those of its manifest."""

    target = "onnx"

    def __init__(self, path: Path, manifest: Manifest, threads: int | None = None) -> None:
        """Load `path`; `threads` is the number of threads inside one operator, None what the runtime chooses.

        Raises ArtifactError when the file cannot be read or its tensors are not those of `manifest`.
        """
        self.inputs = manifest.inputs
        self.outputs = manifest.outputs
        self._path = path
        self._session = _open_session(path, threads)
        check_names(path, "inputs", self.inputs, [tensor.name for tensor in self._session.get_inputs()])
        check_names(path, "outputs", self.outputs, [tensor.name for tensor in self._session.get_outputs()])

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Return every output by name; raises ArtifactError when a feed is not what `inputs` states."""
        if self._session is None:
            raise ArtifactError(f"{self._path}: the runner is closed")
        check_feeds(self.inputs, feeds, self._path)
        names = [tensor.name for tensor in self.outputs]
        try:
            return dict(zip(names, self._session.run(names, dict(feeds)), strict=True))
        except Exception as error:  # the runtime raises classes of its own that share no public base
            raise ArtifactError(f"{self._path}: the network failed while running ({first_line(error)})") from error

    def close(self) -> None:
        """Release the session."""
        self._session = None


def open_runner(path: Path, manifest: Manifest, threads: int | None) -> OnnxRunner:
    """Open the artifact at `path`; raises ArtifactError when it is not a usable ONNX file."""
    return OnnxRunner(path, manifest, threads)


def read_manifest(path: Path) -> str:
    """Return the JSON text in the model's `metadata_props`; raises ArtifactError when there is none."""
    metadata = _open_session(path, threads=1, optimise=False).get_modelmeta().custom_metadata_map
    if METADATA_KEY not in metadata:
        raise ArtifactError(
            f"{path}: an ONNX file without a segproof manifest, so its preprocessing is unknown; "
            "export it with  seg-export CHECKPOINT --target onnx"
        )
    return str(metadata[METADATA_KEY])


def _open_session(path: Path, threads: int | None, optimise: bool = True) -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise MissingDependencyError("onnxruntime", "running an ONNX artifact", "onnxruntime") from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _SILENT
    if threads is not None:
        options.intra_op_num_threads = threads
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if not path.is_file() or path.stat().st_size == 0:
        raise ArtifactError(f"{path}: {'an empty file' if path.is_file() else 'no such file'}; export it again")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime raises classes of its own that share no public base
        raise ArtifactError(
            f"{path}: not a readable ONNX file ({first_line(error)}); copy or export it again"
        ) from error
