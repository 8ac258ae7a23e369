"""Open a checkpoint or an artifact the way an application does, together with what it says about itself."""

from __future__ import annotations

from pathlib import Path

from seg_core.errors import SpecError
from seg_core.manifest import Manifest, load_manifest
from seg_core.predictor import Predictor
from seg_core.runners import open_runner


def open_predictor(path: Path, threads: int | None) -> tuple[Predictor, Manifest]:
    """Return `Predictor.open(path, threads)` and the manifest it was opened with, which is read once only.

    Raises SegError naming the file when it cannot be used.
    """
    manifest = load_manifest(path)
    runner = open_runner(path, manifest, threads)
    try:
        return Predictor(runner, manifest.preprocess, manifest.postprocess, manifest.labels), manifest
    except SpecError as error:
        runner.close()
        raise SpecError(f"{path}: {error}") from None
