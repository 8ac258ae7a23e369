"""Run Core AI packages (`.aimodel`) in Apple's runtime, which lives in a process of its own; torch is not needed.

`backend` on the runner says which runtime it was: "core ai" is the system's, of macOS 27 and newer; everywhere
else "core ai interpreter", which comes with the package coreai-core, computes on one CPU core and says nothing
about the speed of a device.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

from seg_core.errors import ArtifactError, MissingDependencyError
from seg_core.manifest import METADATA_KEY, Manifest
from seg_core.runners import coreai_worker
from seg_core.runners.base import Array, check_feeds, first_line
from seg_core.runners.coreai_worker import DATA, FAILED, READY

Backend = Literal["core ai", "core ai interpreter"]

#: What a package that was not compiled for one system consists of.
METADATA_FILE = "metadata.json"
PROGRAM_FILE = "main.mlirb"
HASH_FILE = "main.hash"


class CoreAIRunner:
    """A package held by a process of its own; tensors are those of its manifest."""

    target = "coreai"
    backend: Backend

    def __init__(self, path: Path, manifest: Manifest) -> None:
        """Load `path`; raises ArtifactError when it is damaged or its tensors are not those of `manifest`.

        MissingDependencyError when the runtime is not installed.
        """
        self.inputs = manifest.inputs
        self.outputs = manifest.outputs
        self._path = path
        self._lock = threading.Lock()  # answers come in the order of requests and name none of them
        _check_program(path)
        if not _is_installed():
            # A release before 1.0: pip takes it only when the bound itself names one.
            raise MissingDependencyError("coreai-core", "running a Core AI package", "coreai-core>=1.0.0b3")
        # The runtime compiles into temporary files; here they go with the runner even when the process is killed.
        self._folder = tempfile.TemporaryDirectory(prefix="segproof-coreai-")
        self._log = Path(self._folder.name) / "log.txt"
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._process = self._start()
            facts = json.loads(self._receive(READY))
            _check_tensors(path, facts, manifest)
        except BaseException:
            self._kill()
            raise
        self.backend = "core ai" if facts["system_runtime"] else "core ai interpreter"

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Return every output by name; raises ArtifactError when a feed is not what `inputs` states."""
        check_feeds(self.inputs, feeds, self._path)
        with self._lock:
            results = self._ask(feeds)
        return {tensor.name: results[tensor.name] for tensor in self.outputs}

    def _ask(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        if self._process is None:
            raise ArtifactError(f"{self._path}: the runner is closed")
        try:
            coreai_worker.send(cast(BinaryIO, self._process.stdin), DATA, coreai_worker.pack(feeds))
            return coreai_worker.unpack(self._receive(DATA))
        except BrokenPipeError:
            raise self._died() from None
        except BaseException:  # interrupted halfway: the next answer would be that of this request
            self._kill()
            raise

    def close(self) -> None:
        """End the process and remove its temporary files."""
        if self._process is not None:
            cast(BinaryIO, self._process.stdin).close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=5)
        self._kill()

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("wb") as log:
            return subprocess.Popen(  # noqa: S603 - our own script, by the running interpreter
                # -P: the folder of the script holds modules called onnx and coreai.
                [sys.executable, "-P", coreai_worker.__file__, str(self._path.resolve())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "TMPDIR": self._folder.name},
            )

    def _receive(self, wanted: bytes) -> bytes:
        assert self._process is not None
        message = coreai_worker.receive(cast(BinaryIO, self._process.stdout))
        if message is None:
            raise self._died()
        kind, payload = message
        if kind == FAILED:
            raise ArtifactError(f"{self._path}: Core AI refuses it ({first_line(payload.decode())})")
        assert kind == wanted, kind
        return payload

    def _died(self) -> ArtifactError:
        """Clean up after a process that ended by itself and return what to say about it."""
        assert self._process is not None
        code = self._process.wait()
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        said = first_line(self._log.read_text(encoding="utf-8", errors="replace"))
        self._kill()
        return ArtifactError(f"{self._path}: Core AI's process died ({how}{': ' if said else ''}{said})")

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                with contextlib.suppress(BrokenPipeError):  # unsent bytes have nobody left to read them
                    cast(BinaryIO, stream).close()
        self._folder.cleanup()


def open_runner(path: Path, manifest: Manifest, threads: int | None) -> CoreAIRunner:
    """Open the package at `path`; raises ArtifactError when it cannot be used.

    `threads` is accepted for the sake of the common interface and changes nothing: Core AI schedules itself.
    """
    del threads
    return CoreAIRunner(path, manifest)


def read_manifest(path: Path) -> str:
    """Return the JSON text in the package's metadata; raises ArtifactError when there is none. Needs no runtime."""
    try:
        metadata = json.loads(_read(path, METADATA_FILE))
        manifest = metadata["creatorDefinedMetadata"][METADATA_KEY]
    except (ValueError, KeyError, TypeError):
        manifest = None
    if not isinstance(manifest, str):
        raise ArtifactError(
            f"{path}: a Core AI package without a readable segproof manifest (damaged, or exported by another tool); "
            "export it with  seg-export CHECKPOINT --target coreai"
        )
    return manifest


def _check_program(path: Path) -> None:
    """Compare the program with the hash that was saved with it: the runtime crashes on a damaged one."""
    if hashlib.sha256(_read(path, PROGRAM_FILE)).digest() != _read(path, HASH_FILE):
        raise ArtifactError(f"{path}: {PROGRAM_FILE} is damaged (it differs from {HASH_FILE}); copy or export it again")


def _read(path: Path, name: str) -> bytes:
    if not path.is_dir():
        raise ArtifactError(f"{path}: not a Core AI package, which is a directory; copy or export it again")
    try:
        return (path / name).read_bytes()
    except FileNotFoundError:
        raise ArtifactError(f"{path}: not a complete Core AI package ({name} is missing); export it again") from None
    except OSError as error:
        raise ArtifactError(f"{path}: {name} cannot be read ({error.strerror})") from None


def _is_installed() -> bool:
    try:
        return find_spec("coreai") is not None
    except ImportError:  # an import hook may refuse a module outright
        return False


def _check_tensors(path: Path, facts: Mapping[str, Any], manifest: Manifest) -> None:
    for what, stated in (("inputs", manifest.inputs), ("outputs", manifest.outputs)):
        found = {name: (tuple(tensor["shape"]), tensor["dtype"]) for name, tensor in facts[what].items()}
        wanted = {tensor.name: (tensor.shape, tensor.dtype) for tensor in stated}
        if found != wanted:
            raise ArtifactError(
                f"{path}: its {what} are {_listed(found)}, but the manifest names {_listed(wanted)}; export it again"
            )


def _listed(tensors: Mapping[str, tuple[tuple[int, ...], str]]) -> str:
    return ", ".join(f"{name} {dtype} {shape}" for name, (shape, dtype) in tensors.items())
