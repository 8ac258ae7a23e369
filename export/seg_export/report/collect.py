"""Read what export, parity and benchmark left in a directory; no model is loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seg_core.errors import ArtifactError, SpecError
from seg_core.manifest import Manifest, artifact_bytes, load_manifest, manifest_path
from seg_core.runners import RUNNERS
from seg_export.overlays import OVERLAYS_DIR
from seg_export.parity.result import ParityReport, load_parity, parity_path

LATENCY_FILE = "latency.json"

#: The version of latency.json that is understood here.
_LATENCY_VERSION = 1


@dataclass(frozen=True)
class LatencyFigure:
    """A benchmark row: median and 90th percentile in milliseconds, None where nothing could be timed."""

    threads: int | None
    status: str
    p50_ms: float | None
    p90_ms: float | None
    ratio_to_first: float | None
    backend: str | None


@dataclass(frozen=True)
class ReportRow:
    """One artifact; `parity` is None where none was measured for this very file."""

    file: str
    manifest: Manifest
    bytes: int
    parity: ParityReport | None
    latency: tuple[LatencyFigure, ...]

    @property
    def p50_text(self) -> str:
        """The median latency for every thread count, such as "12.3 ms (1 thread)"; "–" where not measured."""
        timed = [figure for figure in self.latency if figure.p50_ms is not None]
        if not timed:
            return "not timed" if self.latency else "–"
        return ", ".join(f"{figure.p50_ms:.1f} ms{_threads(figure.threads)}" for figure in timed)


@dataclass(frozen=True)
class ReportData:
    """Everything a report shows. `overlays` are the folders of pictures, one an image."""

    directory: Path
    rows: tuple[ReportRow, ...]
    environment: Mapping[str, Any]
    overlays: tuple[Path, ...]


def _threads(count: int | None) -> str:
    return "" if count is None else f" ({count} thread{'s' if count != 1 else ''})"


def collect_report(directory: str | Path) -> ReportData:
    """Read manifests, parity reports, `latency.json` and pictures of `directory`.

    Raises ArtifactError when it holds no artifact or one that differs from its manifest, SpecError when a
    file is malformed.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise ArtifactError(
            f"{directory}: no such directory; make it with  seg-export CHECKPOINT --target all --out DIR"
        )
    latency = _load_latency(directory / LATENCY_FILE)
    rows = [_read_row(path, latency.get("rows", [])) for path in _artifacts(directory)]
    if not rows:
        raise ArtifactError(
            f"{directory}: holds no exported artifact; fill it with  seg-export CHECKPOINT --target all --out DIR"
        )
    pictures = directory / OVERLAYS_DIR
    folders = sorted(path for path in pictures.iterdir() if path.is_dir()) if pictures.is_dir() else []
    return ReportData(directory, tuple(sorted(rows, key=_order)), latency.get("environment", {}), tuple(folders))


def _artifacts(directory: Path) -> list[Path]:
    """Return the artifacts with a manifest beside them."""
    suffixes = [RUNNERS.get(name).suffix for name in RUNNERS]
    return [path for path in directory.iterdir() if path.suffix in suffixes and manifest_path(path).is_file()]


def _order(row: ReportRow) -> tuple[int, int, str]:
    """Sort by target in their usual order, then from full precision to lower ones."""
    info = row.manifest.artifact
    targets = RUNNERS.names()
    position = targets.index(info.target) if info.target in targets else len(targets)
    return position, ("fp32", "fp16", "int8").index(info.precision), row.file


def _read_row(path: Path, latency_rows: list[Any]) -> ReportRow:
    manifest = load_manifest(path)
    record = parity_path(path)
    parity = load_parity(record) if record.is_file() else None
    if parity is not None and parity.sha256 != manifest.artifact.sha256:
        parity = None  # it is about an earlier file of this name
    figures = tuple(_figure(row) for row in latency_rows if _is_about(row, path, manifest))
    return ReportRow(path.name, manifest, artifact_bytes(path), parity, figures)


def _is_about(row: Any, path: Path, manifest: Manifest) -> bool:
    if not isinstance(row, Mapping) or Path(str(row.get("artifact"))).name != path.name:
        return False
    return row.get("sha256") in (None, manifest.artifact.sha256)


def _figure(row: Mapping[str, Any]) -> LatencyFigure:
    def number(key: str) -> float | None:
        value = row.get(key)
        return float(value) if isinstance(value, (int, float)) else None

    threads = row.get("threads")
    return LatencyFigure(
        threads=threads if isinstance(threads, int) else None,
        status=str(row.get("status", "unverified")),
        p50_ms=number("p50_ms"),
        p90_ms=number("p90_ms"),
        ratio_to_first=number("ratio_to_first"),
        backend=str(row["backend"]) if row.get("backend") else None,
    )


def _load_latency(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SpecError(f"{path}: cannot be read as a latency report ({error}); run seg-bench again") from None
    if not isinstance(data, dict) or not isinstance(data.get("rows"), list):
        raise SpecError(f"{path}: not a latency report (no list of rows); run seg-bench again")
    if data.get("schema_version") != _LATENCY_VERSION:
        raise SpecError(f"{path}: latency report of version {data.get('schema_version')!r}, wanted {_LATENCY_VERSION}")
    return data
