"""The shape of `latency.json`, strict when read back, and how result files are written."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from seg_core.atomic import replacing
from seg_core.errors import SegError, SpecError
from seg_core.spec import to_json
from seg_core.spec.io import OPTIONAL, load_json

LATENCY_VERSION = 1

#: The backend of a row whose program was evaluated operation by operation: it has no latency to speak of.
EVALUATOR = "evaluator"

#: That, and Core AI's runtime for systems without Core AI: it takes seconds for what a phone does in milliseconds.
UNTIMED_BACKENDS = frozenset({EVALUATOR, "core ai interpreter"})

Status = Literal["ok", "unverified", "failed"]


@dataclass(frozen=True)
class Environment:
    """Where and with what a run was made; numbers from different environments are not comparable.

    `cores` counts those this process may use. `commit` and `dirty` describe the source tree the tool runs
    from and are None when it is an installed package. `load_average` is that of the last minute before the run.
    """

    cpu: str
    cores: int
    os: str
    machine: str
    python: str
    versions: Mapping[str, str]
    started_utc: str
    commit: str | None = None
    dirty: bool | None = None
    load_average: float | None = None


@dataclass(frozen=True)
class LatencyRow:
    """One artifact at one thread count.

    `p50_ms` to `min_ms` are over `samples_ms`, the time of the network alone, one value a frame;
    `preprocess_ms` and `postprocess_ms` are the medians of the frames' other two parts. `ratio_to_first` is the
    median over rounds of this row's median divided by that of the first artifact in the same round.
    `load_ms` is opening the artifact in a fresh process, import of its runtime included; `peak_rss_mb` (MiB) is
    of that process at the end. `ran` tells whether every frame asked for was run. `status` is "ok" for an
    artifact with a passed parity record and for a checkpoint, "unverified" without a record that counts,
    "failed" when parity failed or the artifact did not run; `error` says why. A row whose `backend` is
    one of `UNTIMED_BACKENDS` ran but has no times. `provenance`, with what was assumed, is that of a foreign
    checkpoint alone.
    """

    artifact: str
    target: str
    status: Status
    threads: int | None
    ran: bool = False
    precision: str | None = None
    backend: str | None = None
    size_hw: tuple[int, int] | None = None
    p50_ms: float | None = None
    p90_ms: float | None = None
    mean_ms: float | None = None
    min_ms: float | None = None
    ratio_to_first: float | None = None
    rounds: int = 0
    samples_ms: tuple[float, ...] = ()
    preprocess_ms: float | None = None
    postprocess_ms: float | None = None
    load_ms: float | None = None
    peak_rss_mb: float | None = None
    bytes: int | None = None
    sha256: str | None = None
    error: str | None = None
    provenance: Mapping[str, Any] | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True)
class LatencyReport:
    """A whole `seg-bench` run; `image` says what the frames were."""

    environment: Environment
    image: str
    rows: tuple[LatencyRow, ...]
    schema_version: int = LATENCY_VERSION

    def __post_init__(self) -> None:
        """Refuse other schema versions; raises SpecError."""
        if self.schema_version != LATENCY_VERSION:
            raise SpecError(
                f"latency.schema_version: this release reads version {LATENCY_VERSION}, found {self.schema_version}"
            )


def load_report(path: str | Path) -> LatencyReport:
    """Read a `latency.json`; raises SpecError naming the file and the field."""
    return load_json(LatencyReport, Path(path), "latency")


def dump_json(value: Any) -> str:
    """Return dataclasses, mappings, lists and scalars as indented JSON with a final newline."""
    return json.dumps(to_json(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def save_json(path: str | Path, value: Any) -> None:
    """Write `dump_json(value)` to `path` atomically, creating its directory; raises SegError naming the file."""
    path = Path(path)
    text = dump_json(value)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as draft:
            draft.write_text(text, encoding="utf-8")
    except OSError as error:
        raise _unwritable(path, error.strerror or str(error)) from None


def check_destination(path: Path) -> None:
    """Refuse, before anything is measured, a file that cannot be written afterwards; raises SegError naming it."""
    if path.is_dir():
        raise _unwritable(path, "it is a directory")
    described = path.with_suffix("")  # a manifest is named as its artifact, with .json behind
    if path.exists() and path.suffix.lower() != ".json":
        raise _unwritable(path, "it is there and no report")
    if described.suffix and described.exists():
        raise _unwritable(path, f"that is where the manifest of {described.name} lies")
    nearest = next(folder for folder in path.absolute().parents if folder.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise _unwritable(path, f"{nearest} is no writable directory")


def _unwritable(path: Path, reason: str) -> SegError:
    return SegError(f"{path}: cannot be written ({reason}); choose another --out FILE")
