"""One artifact in a process of its own, so that a runtime that crashes takes nothing else with it.

The parent holds a `Worker`; the child runs `serve`. They talk over a pipe: the child first sends its facts, then
answers every request for frames with their times. Whatever the runtime prints goes to a log that is only
looked at when the child dies.
"""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from seg_bench.environment import read_peak_rss_mb
from seg_bench.schema import EVALUATOR
from seg_core.convention import StatedConvention, foreign_provenance
from seg_core.errors import SegError
from seg_core.manifest import load_manifest
from seg_core.predictor import Predictor
from seg_core.runners import CHECKPOINT, Runner, target_of

Image = npt.NDArray[np.uint8]


class FrameTimes(NamedTuple):
    """Milliseconds spent on one frame: image to tensor, the network, output to label map."""

    preprocess_ms: float
    network_ms: float
    postprocess_ms: float


@dataclass(frozen=True)
class SessionFacts:
    """What an opened artifact says about itself; `load_ms` is filled in by the child's `serve`.

    `provenance` is that of a foreign checkpoint, with what was assumed of it.
    """

    target: str
    precision: str
    backend: str
    size_hw: tuple[int, int]
    load_ms: float = 0.0
    provenance: Mapping[str, Any] | None = None


class Session(Protocol):
    """An opened artifact whose frames can be timed."""

    facts: SessionFacts

    def time_frame(self, image_bgr: Image) -> FrameTimes:
        """Run one frame from image to label map."""
        ...


#: Opens an artifact in the child; must be importable there (a module-level function or class).
SessionOpener = Callable[[Path, int | None], Session]


class WorkerError(SegError):
    """The process of an artifact reported a failure, died or did not answer."""


class ArtifactSession:
    """An artifact opened the way an application opens it, with the contract of its manifest."""

    def __init__(self, path: Path, threads: int | None, stated: StatedConvention | None = None) -> None:
        """Open `path` with `threads` (None: the runtime's default); raises SegError when it cannot be used.

        What is `stated` is stated of a checkpoint, and of an artifact nothing.
        """
        if threads is not None:
            cv2.setNumThreads(threads)
        manifest = load_manifest(path, stated=stated if target_of(path) == CHECKPOINT else None)
        self._predictor = Predictor.open(path, threads, manifest)
        backend = _backend_of(self._predictor.runner)
        artifact = manifest.artifact
        self.facts = SessionFacts(
            artifact.target,
            artifact.precision,
            backend,
            manifest.preprocess.size_hw,
            provenance=foreign_provenance(manifest.provenance),
        )

    def time_frame(self, image_bgr: Image) -> FrameTimes:
        """Run one frame; raises SegError when the network fails or its output does not fit the manifest."""
        timings_ms = self._predictor.predict(image_bgr).timings_ms
        return FrameTimes(timings_ms["preprocess"], timings_ms["run"], timings_ms["postprocess"])


def _backend_of(runner: Runner) -> str:
    backend = getattr(runner, "backend", None)
    if isinstance(backend, str):
        return backend
    # Core ML's runtime exists on Apple's systems only; anywhere else the program is evaluated, not run.
    return EVALUATOR if runner.target == "coreml" and sys.platform != "darwin" else str(runner.target)


class Worker:
    """A child process that holds one artifact; use it as a context manager."""

    def __init__(
        self,
        path: Path,
        threads: int | None,
        image_bgr: Image,
        opener: SessionOpener = ArtifactSession,
        timeout_s: float = 120.0,
    ) -> None:
        """Start the child without waiting for it; `timeout_s` bounds every single answer."""
        self.timeout_s = timeout_s
        self._logs = tempfile.TemporaryDirectory(prefix="seg-bench-")
        self._log = Path(self._logs.name) / "stderr.txt"
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=serve, args=(theirs, self._log, path, threads, image_bgr, opener), daemon=True
        )
        self._process.start()
        theirs.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wait_ready(self) -> SessionFacts:
        """Return what the artifact says about itself once it is open; raises WorkerError with the reason."""
        facts = self._receive("opening")
        assert isinstance(facts, SessionFacts)
        return facts

    def time_frames(self, count: int) -> list[FrameTimes]:
        """Run `count` frames in a row; raises WorkerError with the reason when that fails."""
        self._send(count)
        return [FrameTimes(*times) for times in self._receive("running")]

    def finish(self) -> float | None:
        """End the child and return its peak resident size in MiB, if the system tells."""
        self._send(None)
        peak: float | None = self._receive("ending")
        return peak

    def close(self) -> None:
        """End the child, gently at first, and remove its log."""
        self._connection.close()
        self._process.join(timeout=5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._logs.cleanup()

    def _send(self, message: int | None) -> None:
        with contextlib.suppress(OSError):  # a dead child is explained by the _receive that follows
            self._connection.send(message)

    def _receive(self, doing: str) -> Any:
        try:
            if not self._connection.poll(self.timeout_s):
                self._process.kill()
                raise WorkerError(f"{doing}: no answer within {self.timeout_s:g} s")
            kind, payload = self._connection.recv()
        except (EOFError, OSError):
            self._process.join(timeout=5)
            raise WorkerError(f"{doing}: {self._death()}") from None
        if kind == "error":
            raise WorkerError(payload)
        return payload

    def _death(self) -> str:
        code = self._process.exitcode
        if code is not None and code < 0:
            how = f"the process was killed by {signal.Signals(-code).name}"
        else:
            how = f"the process ended with exit code {code}"
        last = _last_line(self._log)
        return f"{how} ({last})" if last else how


def serve(
    connection: Connection, log: Path, path: Path, threads: int | None, image_bgr: Image, opener: SessionOpener
) -> None:
    """Open the artifact and answer requests until told to end: the whole life of the child process."""
    _redirect_output(log)
    try:
        start = time.perf_counter()
        session = opener(path, threads)
        load_ms = (time.perf_counter() - start) * 1e3
        connection.send(("ok", replace(session.facts, load_ms=load_ms)))
        while (count := connection.recv()) is not None:
            connection.send(("ok", [tuple(session.time_frame(image_bgr)) for _ in range(count)]))
        connection.send(("ok", read_peak_rss_mb()))
    except EOFError:
        return  # the parent is gone or has lost interest
    except SegError as error:
        connection.send(("error", " ".join(str(error).splitlines())))
    except Exception as error:  # a runtime may raise anything: the parent reports it as this row's failure
        connection.send(("error", f"{type(error).__name__}: {' '.join(str(error).splitlines())[:300]}"))


def _redirect_output(log: Path) -> None:
    # Runtimes write banners to both streams; stdout belongs to the parent's --json.
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for descriptor in (1, 2):
        os.dup2(handle, descriptor)
    os.close(handle)
    faulthandler.enable()


def _last_line(log: Path) -> str:
    if not log.exists():
        return ""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith("Fatal Python error")]
    return (fatal or lines or [""])[-1][:200]
