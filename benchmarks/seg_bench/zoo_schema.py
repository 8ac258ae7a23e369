"""The shape of the committed results that `docs/models.md` is made of, strict when read back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from seg_bench.schema import Environment
from seg_core.errors import SpecError
from seg_core.spec.io import load_json

ZOO_VERSION = 1

Weights = Literal["trained", "seeded"]

R = TypeVar("R", bound="ZooReport | ZooLatency")


@dataclass(frozen=True)
class ZooExport:
    """One network exported to one target, as `seg-export --json` reported it.

    `max_abs_relative` and `label_agreement` are those of the worst image; None where the artifact never ran.
    `backend` is what ran it where the target has more than one way.
    """

    target: str
    precision: str
    status: str
    converter: str
    seconds: float
    bytes: int | None = None
    max_abs_relative: float | None = None
    label_agreement: float | None = None
    backend: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class ZooWeights:
    """A file of published weights: what it was trained on, its name and its repository with the licence."""

    trained_on: str
    file: str
    origin: str


@dataclass(frozen=True)
class ZooEntry:
    """One registered network with its default options; numbers as in `seg_core.models.zoo.ModelFacts`.

    `weights` says whether parity was proved on a trained checkpoint or on seeded weights of a trained one's size;
    `checkpoint` is that file's name.
    """

    model: str
    summary: str
    paper: str
    parameters: int
    training_parameters: int
    gmacs: float
    output_stride: int
    size_divisor: int
    published: tuple[ZooWeights, ...]
    weights: Weights
    checkpoint: str
    date: str
    exports: tuple[ZooExport, ...]


@dataclass(frozen=True)
class ZooReport:
    """Every network's numbers and proofs; `environment` is that of the run that was last to add one."""

    command: str
    size_hw: tuple[int, int]
    images: tuple[str, ...]
    environment: Environment
    entries: tuple[ZooEntry, ...] = ()
    schema_version: int = ZOO_VERSION

    def __post_init__(self) -> None:
        """Refuse other schema versions; raises SpecError."""
        _check_version(self.schema_version)


@dataclass(frozen=True)
class ZooTime:
    """One artifact in one interleaved run; `ratio` is to the baseline artifact of the same run."""

    model: str
    target: str
    p50_ms: float
    ratio: float
    rounds: int
    date: str


@dataclass(frozen=True)
class ZooLatency:
    """Times of every network's artifacts, each run interleaved with `baseline`."""

    command: str
    size_hw: tuple[int, int]
    threads: int
    baseline: str
    environment: Environment
    times: tuple[ZooTime, ...] = ()
    schema_version: int = ZOO_VERSION

    def __post_init__(self) -> None:
        """Refuse other schema versions; raises SpecError."""
        _check_version(self.schema_version)


def load_results(cls: type[R], path: Path) -> R:
    """Read a ZooReport or ZooLatency; raises SpecError naming the file and the field."""
    return load_json(cls, path, "zoo")


def _check_version(found: int) -> None:
    if found != ZOO_VERSION:
        raise SpecError(f"zoo.schema_version: this release reads version {ZOO_VERSION}, found {found}")
