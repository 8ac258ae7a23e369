"""One way to run every kind of artifact; each runtime is imported only when it is used."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from seg_core.errors import ArtifactError, ConfigError
from seg_core.manifest import Manifest, load_manifest, parse_manifest
from seg_core.registry import Registry
from seg_core.runners.base import Array, Runner, RunnerModule

__all__ = [
    "CHECKPOINT",
    "RUNNERS",
    "Array",
    "Runner",
    "RunnerEntry",
    "open_runner",
    "read_embedded_manifest",
    "target_of",
]


@dataclass(frozen=True)
class RunnerEntry:
    """Where a target's runner lives and which file suffix it opens."""

    module: str
    suffix: str


#: The target that checkpoints are, which are no artifacts of an export.
CHECKPOINT = "pytorch"

RUNNERS: Registry[RunnerEntry] = Registry("target")
RUNNERS.add(CHECKPOINT, RunnerEntry("seg_core.runners.pytorch", ".pth"), ("checkpoint", "eager"))
RUNNERS.add("torchscript", RunnerEntry("seg_core.runners.torchscript", ".pt"), ("jit", "pt"))
RUNNERS.add("onnx", RunnerEntry("seg_core.runners.onnx", ".onnx"), ("ort",))
RUNNERS.add("coreml", RunnerEntry("seg_core.runners.coreml", ".mlpackage"), ("ios", "mlpackage"))
RUNNERS.add("tflite", RunnerEntry("seg_core.runners.tflite", ".tflite"), ("litert", "android"))
RUNNERS.add("coreai", RunnerEntry("seg_core.runners.coreai", ".aimodel"), ("aimodel",))


def target_of(path: Path) -> str:
    """Return the target whose suffix `path` has; raises ArtifactError listing the suffixes."""
    for name in RUNNERS:
        if path.suffix == RUNNERS.get(name).suffix:
            return name
    known = ", ".join(RUNNERS.get(name).suffix for name in RUNNERS)
    if path.is_dir():
        raise ArtifactError(f"{path}: is a directory; name the artifact in it (known suffixes: {known})")
    raise ArtifactError(f"{path}: not a kind of artifact that can be run (known suffixes: {known})")


def _module(path: Path) -> RunnerModule:
    entry = RUNNERS.get(target_of(path))
    return cast(RunnerModule, importlib.import_module(entry.module))


def read_embedded_manifest(path: Path) -> Manifest:
    """Read the manifest inside the artifact itself; raises ArtifactError or SpecError naming the file."""
    return parse_manifest(_module(path).read_manifest(path), str(path))


def open_runner(path: str | Path, manifest: Manifest | None = None, threads: int | None = None) -> Runner:
    """Open an artifact or checkpoint for running.

    `manifest` is read (and the artifact's hash checked) when it is not given. Raises ArtifactError or
    CheckpointError when the file cannot be used, MissingDependencyError when its runtime is not installed and
    ConfigError when `threads` is below 1.
    """
    path = Path(path)
    if threads is not None and threads < 1:
        raise ConfigError(f"threads: expected at least 1, found {threads}")
    if not path.exists():
        raise ArtifactError(f"{path}: no such file")
    module = _module(path)
    return module.open_runner(path, manifest or load_manifest(path), threads)
