"""The manifest: what an artifact is, beside it as `<artifact>.json` and embedded inside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from seg_core.errors import ArtifactError, ConfigError, SpecError
from seg_core.labels import LabelSet
from seg_core.spec import ModelSpec, PostprocessSpec, PreprocessSpec, TensorSpec, to_json
from seg_core.spec.io import load_json, parse_json

if TYPE_CHECKING:
    from seg_core.convention import StatedConvention

MANIFEST_VERSION = 1

#: Key under which every format that has a metadata dictionary carries the manifest.
METADATA_KEY = "segproof.manifest"


@dataclass(frozen=True)
class GraphSpec:
    """Which steps of the contract are inside the artifact's graph and therefore not done by its caller."""

    scaling: bool = False
    normalisation: bool = False
    argmax: bool = False


@dataclass(frozen=True)
class ArtifactInfo:
    """The file itself. `sha256` is None in the embedded copy, which cannot hold its own hash."""

    file: str
    target: str
    precision: Literal["fp32", "fp16", "int8"]
    bytes: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Manifest:
    """Everything an app needs to run an artifact: contracts, labels, tensors and origin.

    `preprocess` is that of the artifact: its layout and dtype are what the input tensor takes, and with
    `graph.normalisation` its mean and std are already 0 and 1.
    """

    artifact: ArtifactInfo
    model: ModelSpec
    preprocess: PreprocessSpec
    postprocess: PostprocessSpec
    labels: LabelSet
    graph: GraphSpec
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    schema_version: int = MANIFEST_VERSION

    def __post_init__(self) -> None:
        """Refuse other schema versions and contradictory tensors; raises SpecError."""
        if self.schema_version != MANIFEST_VERSION:
            raise SpecError(
                f"manifest.schema_version: this release reads version {MANIFEST_VERSION}, found "
                f"{self.schema_version}; upgrade segproof or export the model again"
            )
        if len(self.inputs) < 1 or len(self.outputs) < 1:
            raise SpecError("manifest: an artifact has at least one input and one output")
        if self.labels.num_classes != self.model.num_classes:
            raise SpecError(
                f"manifest.labels: {self.labels.num_classes} names for {self.model.num_classes} classes of the model"
            )
        if self.preprocess.has_prior and len(self.preprocess.prior_values) != self.model.num_classes:
            raise SpecError(
                f"manifest.preprocess.prior_values: {len(self.preprocess.prior_values)} values for "
                f"{self.model.num_classes} classes of the model"
            )
        image = self.inputs[0]
        if image.shape != self.preprocess.tensor_shape or image.layout != self.preprocess.layout:
            raise SpecError(
                f"manifest.inputs[0]: shape {image.shape} {image.layout} is not what preprocess makes "
                f"({self.preprocess.tensor_shape} {self.preprocess.layout})"
            )

    def to_json(self) -> str:
        """Return the manifest as indented JSON with a final newline."""
        return json.dumps(to_json(self), indent=2) + "\n"

    def embedded(self) -> Manifest:
        """Return the copy that goes inside the artifact: without its own size and hash."""
        return replace(self, artifact=replace(self.artifact, bytes=None, sha256=None))


def parse_manifest(text: str, where: str) -> Manifest:
    """Build a Manifest from JSON text; raises SpecError naming `where` and the field."""
    return parse_json(Manifest, text, "manifest", where)


def manifest_path(artifact: Path) -> Path:
    """Return where the manifest of `artifact` lies: the same name with `.json` appended."""
    return artifact.with_name(artifact.name + ".json")


def hash_artifact(path: Path) -> str:
    r"""Return the SHA-256 of a file, or of a package directory.

    A directory (`.mlpackage`) hashes the sorted lines `<relative posix path>\0<sha256 of the file>\n`.
    """
    import hashlib  # OpenSSL is slow to load, and most importers hash nothing

    if not path.is_dir():
        return _hash_file(path)
    lines = (
        f"{item.relative_to(path).as_posix()}\0{_hash_file(item)}\n"
        for item in sorted(path.rglob("*"), key=lambda p: p.relative_to(path).as_posix())
        if item.is_file()
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _hash_file(path: Path) -> str:
    import hashlib

    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def artifact_bytes(path: Path) -> int:
    """Return the size on disk of a file or a package directory."""
    if path.is_dir():
        return sum(item.stat().st_size for item in path.rglob("*") if item.is_file())
    return path.stat().st_size


def load_manifest(path: str | Path, verify: bool = True, stated: StatedConvention | None = None) -> Manifest:
    """Read the manifest of an artifact (or a manifest file itself) and check the artifact against it.

    `path` is the artifact or its `.json`. Where no `.json` lies beside the artifact, the embedded copy is
    read. With `verify` the artifact's SHA-256 is compared. Of a checkpoint, what is `stated` stands in the place of
    what it does not say itself. Raises ArtifactError when the artifact is missing, differs from its manifest or
    carries none, SpecError when the manifest is malformed, ConfigError when something is stated about an artifact.
    """
    path = Path(path)
    if stated is not None and not stated.is_empty:
        return _load_stated(path, stated)
    artifact = path.with_name(path.name.removesuffix(".json")) if path.suffix == ".json" else path
    sidecar = manifest_path(artifact)
    if not artifact.exists() and not (path == sidecar and not verify):
        raise ArtifactError(f"{artifact}: no such artifact; export it with  seg-export CHECKPOINT --target …")
    if not sidecar.exists():
        from seg_core.runners import read_embedded_manifest

        return read_embedded_manifest(artifact)
    manifest = load_json(Manifest, sidecar, "manifest")
    if verify and manifest.artifact.sha256 is not None:
        found = hash_artifact(artifact)
        if found != manifest.artifact.sha256:
            raise ArtifactError(
                f"{artifact}: SHA-256 {found[:12]}… is not the {manifest.artifact.sha256[:12]}… of {sidecar.name}; "
                "the file was changed or damaged after export: export it again"
            )
    return manifest


def _load_stated(path: Path, stated: StatedConvention) -> Manifest:
    from seg_core.runners import CHECKPOINT, pytorch, target_of

    if target_of(path) != CHECKPOINT:
        raise ConfigError(
            f"{path}: an exported artifact, which says itself what it takes: leave out --mean, --std, --color, --size "
            "and the classes, or state them when exporting it again"
        )
    return parse_manifest(pytorch.read_manifest(path, stated), str(path))
