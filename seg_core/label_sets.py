"""Label sets by name or from a file."""

from __future__ import annotations

from pathlib import Path

from seg_core.errors import ConfigError, SpecError
from seg_core.labels import LABEL_SETS, LabelSet
from seg_core.spec import from_json
from seg_core.spec.io import read_json


def load_labels(name: str, option: str = "data.labels") -> LabelSet:
    """Return the built-in label set of that name, or the one in the JSON file at that path.

    The file holds a list of names or an object of LabelSet's fields. Raises ConfigError naming `option`, by which the
    user gave `name`, and what was expected.
    """
    if name in LABEL_SETS:
        return LABEL_SETS[name]
    path = Path(name)
    if path.suffix != ".json":
        known = ", ".join(LABEL_SETS)
        raise ConfigError(f"{option}: unknown label set {name!r} (built in: {known}; or a .json file)")
    try:
        data = read_json(path)
    except SpecError as error:
        raise ConfigError(f"{option}: {error}") from None
    try:
        return from_json(LabelSet, {"names": data} if isinstance(data, list) else data, "labels")
    except SpecError as error:
        raise ConfigError(f'{option}: {path}: {error}; expected ["background", …] or an object with "names"') from None


#: The label sets that layouts come with.
LAYOUT_LABELS = {"celebamask_hq": "celebamask_hq", "camvid": "camvid_11", "cityscapes": "cityscapes_19"}
