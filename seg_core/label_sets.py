"""Label sets by name or from a file."""

from __future__ import annotations

import json
from pathlib import Path

from seg_core.errors import ConfigError, SpecError
from seg_core.labels import LABEL_SETS, LabelSet
from seg_core.spec import from_json


def load_labels(name: str) -> LabelSet:
    """Return the built-in label set of that name, or the one in the JSON file at that path; raises ConfigError."""
    if name in LABEL_SETS:
        return LABEL_SETS[name]
    path = Path(name)
    if path.suffix != ".json":
        raise ConfigError(
            f"data.labels: unknown label set {name!r} (built in: {', '.join(LABEL_SETS)}; or a .json file)"
        )
    try:
        return from_json(LabelSet, json.loads(path.read_text(encoding="utf-8")), "labels")
    except (OSError, ValueError, SpecError) as error:
        raise ConfigError(f"data.labels: {path} cannot be used ({error})") from None


#: The label sets that layouts come with.
LAYOUT_LABELS = {"celebamask_hq": "celebamask_hq", "camvid": "camvid_11", "cityscapes": "cityscapes_19"}
