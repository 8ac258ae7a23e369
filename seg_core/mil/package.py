"""The folder layout of a `.mlpackage`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seg_core.errors import ArtifactError
from seg_core.mil.protocol import parse_model

_HINT = "the package is damaged or was not copied whole: export it again"


@dataclass(frozen=True)
class Package:
    """A parsed package: `specification` is the protobuf message `Model`, `model_dir` the folder it lies in."""

    path: Path
    model_dir: Path
    specification: Any


def open_package(path: str | Path) -> Package:
    """Parse the package directory at `path`.

    Raises ArtifactError naming the missing or damaged part, MissingDependencyError without coremltools.
    """
    path = Path(path)
    model_path = _find_model(path)
    try:
        data = model_path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path}: {model_path.name} cannot be read ({error.strerror}); {_HINT}") from None
    try:
        specification = parse_model(data)
    except ValueError:
        raise ArtifactError(f"{path}: {model_path.name} is not a Core ML specification; {_HINT}") from None
    if specification.specificationVersion < 1 or specification.WhichOneof("Type") is None:
        raise ArtifactError(f"{path}: {model_path.name} holds no model; {_HINT}")
    return Package(path, model_path.parent, specification)


def read_metadata(path: str | Path) -> dict[str, str]:
    """Return the user-defined metadata of the package at `path`; raises as `open_package` does."""
    return dict(open_package(path).specification.description.metadata.userDefined)


def _find_model(path: Path) -> Path:
    if not path.is_dir():
        found = "is a file" if path.exists() else "does not exist"
        raise ArtifactError(f"{path}: a Core ML package is a directory, this {found}")
    manifest_path = path / "Manifest.json"
    try:
        manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
        relative = manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]["path"]
    except FileNotFoundError:
        raise ArtifactError(f"{path}: no Manifest.json inside, so this is no Core ML package; {_HINT}") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise ArtifactError(f"{path}: Manifest.json names no root model; {_HINT}") from None
    return resolve_inside(path, path / "Data" / str(relative))


def resolve_inside(package: Path, member: Path) -> Path:
    """Return `member`, which the package names itself; raises ArtifactError when it points out of `package`."""
    if not member.resolve().is_relative_to(package.resolve()):
        raise ArtifactError(f"{package}: refers to {member}, which lies outside the package; {_HINT}")
    return member
