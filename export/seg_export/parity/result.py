"""What parity measured, as data: `<artifact>.parity.json` beside the artifact."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from seg_core.atomic import replacing
from seg_core.errors import SpecError
from seg_core.spec import to_json
from seg_core.spec.io import load_json
from seg_export.install import unwritable
from seg_export.parity.tolerances import Tolerance

PARITY_VERSION = 1


@dataclass(frozen=True)
class ImageParity:
    """One output on one image. The differences are None when the artifact's values were not all finite."""

    image: str
    max_abs: float | None
    max_abs_relative: float | None
    label_agreement: float
    passed: bool


@dataclass(frozen=True)
class OutputParity:
    """One output over all images: `max_abs_relative` and `label_agreement` are those of the worst one.

    `reference_max` is max|reference| over all images, what a reader needs to judge `max_abs`.
    """

    name: str
    shape: tuple[int, ...]
    reference_max: float
    max_abs: float | None
    max_abs_relative: float | None
    label_agreement: float
    worst_image: str
    images: tuple[ImageParity, ...]
    passed: bool


@dataclass(frozen=True)
class ParityReport:
    """A whole comparison of one artifact with the checkpoint in eager float32 PyTorch.

    `preprocessing_identical` says that on every image the artifact's own preprocessing gave the bytes of the
    pure numpy definition and the numbers that the checkpoint's gave. `images` says whether the images were
    photographs or synthetic. `backend` is what ran the artifact where its target has more than one way, such as
    "evaluator" for a Core ML program away from macOS or "core ai interpreter" for a Core AI one. `passed` is the
    verdict over everything.
    """

    artifact: str
    sha256: str
    target: str
    precision: str
    size_hw: tuple[int, int]
    checkpoint: str
    checkpoint_sha256: str
    tolerance: Tolerance
    images: Literal["real", "synthetic"]
    preprocessing_identical: bool
    outputs: tuple[OutputParity, ...]
    passed: bool
    created_utc: str
    backend: str | None = None
    schema_version: int = PARITY_VERSION

    def __post_init__(self) -> None:
        """Refuse other schema versions; raises SpecError."""
        if self.schema_version != PARITY_VERSION:
            raise SpecError(
                f"parity.schema_version: this release reads version {PARITY_VERSION}, found {self.schema_version}"
            )

    def to_json(self) -> str:
        """Return the report as indented JSON with a final newline."""
        return json.dumps(to_json(self), indent=2, allow_nan=False) + "\n"


def parity_path(artifact: Path) -> Path:
    """Return where the parity report of `artifact` lies: the same name with `.parity.json` appended."""
    return artifact.with_name(artifact.name + ".parity.json")


def save_parity(artifact: Path, report: ParityReport) -> None:
    """Write the parity report of `artifact` beside it, atomically; raises ExportError when it cannot be written."""
    path = parity_path(artifact)
    try:
        with replacing(path) as draft:
            draft.write_text(report.to_json(), encoding="utf-8")
    except OSError as error:
        raise unwritable(path.parent, error) from None


def load_parity(path: str | Path) -> ParityReport:
    """Read a parity report; raises SpecError naming the file and the field."""
    return load_json(ParityReport, Path(path), "parity")
