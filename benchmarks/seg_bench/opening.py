"""Open a checkpoint or an artifact the way an application does, together with what it says about itself."""

from __future__ import annotations

from pathlib import Path

from seg_core.manifest import Manifest, load_manifest
from seg_core.predictor import Predictor


def open_predictor(path: Path, threads: int | None, manifest: Manifest | None = None) -> tuple[Predictor, Manifest]:
    """Return `Predictor.open(path, threads)` and the manifest it was opened with, read once and only when not given.

    Raises SegError naming the file when it cannot be used.
    """
    manifest = manifest or load_manifest(path)
    return Predictor.open(path, threads, manifest), manifest
