"""What a parity record beside an artifact says about it; benchmark rows carry the verdict."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seg_bench.schema import Status

#: Keys under which a record of several artifacts lists them.
_LISTS = ("artifacts", "results", "rows")


@dataclass(frozen=True)
class Verdict:
    """A row's status and, unless it is plainly "ok" or without record, the reason."""

    status: Status
    reason: str | None = None


def read_parity(artifact: Path, target: str, sha256: str) -> Verdict:
    """Return the verdict of `<artifact>.parity.json`, or of `parity.json` in the same directory.

    An entry belongs to the artifact when it names the file (`artifact` or `file`); its verdict is the boolean
    `passed`. Checkpoints are what parity is measured against, so they are "ok". No record, an unreadable one
    or one of another `sha256` is "unverified": only a statement about this very file counts.
    """
    if target == "pytorch":
        return Verdict("ok")
    for path in (artifact.with_name(artifact.name + ".parity.json"), artifact.with_name("parity.json")):
        if path.is_file():
            return _read_record(path, artifact, sha256)
    return Verdict("unverified")


def _read_record(path: Path, artifact: Path, sha256: str) -> Verdict:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return Verdict("unverified", f"{path.name} cannot be read ({error})")
    own = path.name != "parity.json"
    for entry in _entries(record):
        name = entry.get("artifact", entry.get("file"))
        if not (own and name is None) and not (isinstance(name, str) and Path(name).name == artifact.name):
            continue
        if entry.get("sha256") not in (None, sha256):
            return Verdict("unverified", f"{path.name} is about another version of the file: run  seg-parity  again")
        if isinstance(entry.get("passed"), bool):
            return Verdict("ok") if entry["passed"] else Verdict("failed", f"parity failed ({path.name})")
    return Verdict("unverified", f"{path.name} says nothing about this file")


def _entries(record: Any) -> Iterator[dict[str, Any]]:
    if isinstance(record, dict):
        yield record
        for key in _LISTS:
            yield from _entries(record.get(key))
    elif isinstance(record, list):
        for item in record:
            yield from _entries(item)
