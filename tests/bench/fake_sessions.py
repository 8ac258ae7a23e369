"""Sessions with known times or failures, opened by name in the benchmark's child processes."""

import os
import time

from seg_bench.schema import EVALUATOR
from seg_bench.worker import FrameTimes, SessionFacts
from seg_core.errors import ArtifactError


class SteadySession:
    """Claims 10 ms a frame for the first artifact and twice that for others; notes every frame in a log."""

    backend = "fake"

    def __init__(self, path, threads):
        self.path = path
        self.facts = SessionFacts("onnx", "fp32", self.backend, (8, 8))
        self.network_ms = 10.0 if path.name.startswith("a") else 20.0
        self.frames = 0
        os.write(1, b"a banner that must not reach stdout\n")

    def time_frame(self, image_bgr):
        assert image_bgr.shape == (4, 6, 3)
        self.frames += 1
        with (self.path.parent / "order.log").open("a") as log:
            log.write(self.path.stem + "\n")
        return FrameTimes(1.0, self.network_ms + self.frames, 2.0)


class EvaluatorSession(SteadySession):
    backend = EVALUATOR


class InterpreterSession(SteadySession):
    backend = "core ai interpreter"


def open_some(path, threads):
    """Open by file name: what goes wrong is what the name says."""
    if path.stem == "b_refuses":
        raise ArtifactError(f"{path.name}: damaged,\nsadly")
    if path.stem == "b_raises":
        raise ValueError("a bug in the runtime")
    if path.stem == "b_dies":
        os.write(2, b"last words\n")
        os._exit(7)
    if path.stem == "b_evaluates":
        return EvaluatorSession(path, threads)
    if path.stem == "b_interprets":
        return InterpreterSession(path, threads)
    return DyingSession(path, threads) if path.stem == "b_dies_later" else SteadySession(path, threads)


class DyingSession(SteadySession):
    """Runs a few frames, then takes its process down."""

    def time_frame(self, image_bgr):
        if self.frames == 6:
            os.abort()
        return super().time_frame(image_bgr)


class SilentSession(SteadySession):
    """Never finishes a frame."""

    def time_frame(self, image_bgr):
        time.sleep(60)
