"""Open a checkpoint or an artifact the way an application does, together with what it says about itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from seg_core.convention import StatedConvention
from seg_core.errors import ConfigError
from seg_core.manifest import Manifest, load_manifest
from seg_core.predictor import Predictor
from seg_core.runners import CHECKPOINT, target_of


def open_predictor(path: Path, threads: int | None, manifest: Manifest | None = None) -> tuple[Predictor, Manifest]:
    """Return `Predictor.open(path, threads)` and the manifest it was opened with, read once and only when not given.

    Raises SegError naming the file when it cannot be used.
    """
    manifest = manifest or load_manifest(path)
    return Predictor.open(path, threads, manifest), manifest


def check_stated(paths: Sequence[Path], stated: StatedConvention) -> None:
    """Raise ConfigError when something is stated and none of `paths` is a checkpoint, which it could be true of."""
    if not stated.is_empty and CHECKPOINT not in map(target_of, paths):
        raise ConfigError(
            "--mean, --std, --color, --labels and --size: are stated of checkpoints, and none is given; leave them out"
        )


def read_manifests(paths: Sequence[Path], stated: StatedConvention) -> list[Manifest]:
    """Return the manifest of each; what is `stated` stands for what checkpoints among them do not say themselves.

    Raises ConfigError as `check_stated` does, SegError naming the file that cannot be used.
    """
    check_stated(paths, stated)
    return [load_manifest(path, stated=stated if target_of(path) == CHECKPOINT else None) for path in paths]
