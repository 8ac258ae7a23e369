"""Run TFLite artifacts in LiteRT (or TensorFlow's interpreter); torch is not needed."""

from __future__ import annotations

import threading
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seg_core.errors import ArtifactError, MissingDependencyError
from seg_core.manifest import METADATA_KEY, Manifest
from seg_core.runners.base import Array, check_feeds, check_names, first_line

#: Name of the zip entry, appended after the flatbuffer, that holds the manifest. TFLite Metadata lies the same way.
MANIFEST_ENTRY = METADATA_KEY + ".json"

#: Bytes 4..7 of every TFLite flatbuffer.
_MAGIC = b"TFL3"


class TfliteRunner:
    """A LiteRT interpreter of one artifact; tensors are those of its manifest."""

    target = "tflite"

    def __init__(self, path: Path, manifest: Manifest, threads: int | None = None) -> None:
        """Load `path` with `threads` CPU threads, None for what the runtime chooses.

        Raises ArtifactError when the file cannot be read or its tensors are not those of `manifest`.
        """
        self.inputs = manifest.inputs
        self.outputs = manifest.outputs
        self._path = path
        self._lock = threading.Lock()  # the runtime writes all answers into the same buffers
        self._signature: Any = _open_signature(path, threads)
        check_names(path, "inputs", self.inputs, self._signature.get_input_details())
        check_names(path, "outputs", self.outputs, self._signature.get_output_details())

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Return every output by name; raises ArtifactError when a feed is not what `inputs` states."""
        if self._signature is None:
            raise ArtifactError(f"{self._path}: the runner is closed")
        check_feeds(self.inputs, feeds, self._path)
        try:
            with self._lock:
                results = self._signature(**feeds)
        except (RuntimeError, ValueError) as error:
            raise ArtifactError(f"{self._path}: the network failed while running ({first_line(error)})") from error
        return {tensor.name: results[tensor.name] for tensor in self.outputs}

    def close(self) -> None:
        """Release the interpreter."""
        self._signature = None


def open_runner(path: Path, manifest: Manifest, threads: int | None) -> TfliteRunner:
    """Open the artifact at `path`; raises ArtifactError when it is not a usable TFLite file."""
    return TfliteRunner(path, manifest, threads)


def read_manifest(path: Path) -> str:
    """Return the JSON text of the appended zip entry; raises ArtifactError when there is none."""
    _check_is_tflite(path)
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(MANIFEST_ENTRY).decode("utf-8")
    except (zipfile.BadZipFile, KeyError, UnicodeDecodeError):
        raise ArtifactError(
            f"{path}: a TFLite file without a readable segproof manifest (cut short, or exported by another tool); "
            "export it with  seg-export CHECKPOINT --target tflite"
        ) from None


def _check_is_tflite(path: Path) -> None:
    try:
        with path.open("rb") as stream:
            head = stream.read(8)
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror})") from None
    if head[4:8] != _MAGIC:
        raise ArtifactError(f"{path}: {'not a TFLite file' if head else 'an empty file'}; copy or export it again")


def _interpreter_class() -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        pass
    else:
        return Interpreter
    try:
        import tensorflow
    except ImportError:
        raise MissingDependencyError("ai-edge-litert", "running a TFLite artifact", "ai-edge-litert") from None
    return tensorflow.lite.Interpreter


def _open_signature(path: Path, threads: int | None) -> Any:
    _check_is_tflite(path)
    interpreter_class = _interpreter_class()
    try:
        interpreter = interpreter_class(model_path=str(path), num_threads=threads)
        return interpreter.get_signature_runner()
    except (RuntimeError, ValueError) as error:
        raise ArtifactError(
            f"{path}: not a usable TFLite file ({first_line(error)}); copy or export it again"
        ) from error
