"""The directory that a prepared data set is written to: made in one way, and with nothing else in it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from seg_core.atomic import replacing
from seg_core.errors import ConfigError, ImageError
from seg_core.spec.io import read_json

#: Names of the splits of a prepared data set, in the order of their fractions.
SPLITS = ("train", "val", "test")

#: The folders of pairs in such a directory, by itself or in splits.
_PLACES = [f"{split}{folder}" for split in ("", *(f"{name}/" for name in SPLITS)) for folder in ("images", "masks")]


def open_destination(destination: Path, record: str, options: Mapping[str, Any], planned: Collection[Path]) -> None:
    """Make the folders of the `planned` files in `destination` and note the `options` in its file `record`.

    An interrupted run may be gone on with. What comes from another one may not stay, since a picture that has changed
    splits would be in both. Raises ConfigError when `destination` was made with other options or holds pictures or
    masks that are not planned, SpecError when `record` cannot be read, and ImageError when it cannot be written.
    """
    _refuse_other_options(destination, destination / record, options)
    _refuse_strangers(destination, frozenset(planned))
    try:
        for folder in {destination, *(path.parent for path in planned)}:
            folder.mkdir(parents=True, exist_ok=True)
        with replacing(destination / record) as draft:
            draft.write_text(json.dumps(options, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise ImageError(f"{destination}: cannot be written ({error.strerror}); choose another directory") from None


def _refuse_other_options(destination: Path, record: Path, options: Mapping[str, Any]) -> None:
    stated: Mapping[str, Any] = json.loads(json.dumps(options))
    before = read_json(record) if record.exists() else stated
    if not isinstance(before, dict):
        raise ConfigError(f"{record}: holds no options of an earlier run; remove the directory or choose another")
    for name, value in stated.items():
        if before.get(name) != value:
            raise ConfigError(
                f"{destination}: was made with {name} {before.get(name)}, not {value}; choose another directory"
            )


def _refuse_strangers(destination: Path, planned: frozenset[Path]) -> None:
    found = (path for place in _PLACES for path in destination.glob(f"{place}/*") if not path.name.startswith("."))
    strangers = sorted(path for path in found if path not in planned)
    if strangers:
        raise ConfigError(
            f"{destination}: holds {len(strangers)} files that this run would not write, the first "
            f"{strangers[0].relative_to(destination)}; the source or its splits have changed; remove the directory or "
            "choose another"
        )
