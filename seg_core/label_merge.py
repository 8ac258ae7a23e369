"""Fewer classes than the masks hold: groups of labels that count as one.

Built-in merges of CelebAMask-HQ's 19 classes. What is worn (hat, earring, necklace, cloth) is background in all of
them, and glasses belong to the skin they lie on where they have no class of their own: eyes behind them keep theirs.

- face_10: background, skin, brows, eyes, eye_glasses, ears, nose, mouth (inner mouth and both lips), hair, neck.
- face_8: background, skin (with ears and glasses), brows, eyes, nose, mouth, hair, neck.
- face_6: background, skin (with nose, ears, glasses and neck), brows, eyes, mouth, hair.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from seg_core.errors import ConfigError
from seg_core.labels import LabelSet

#: The group that is not learnt: its pixels become the ignore index.
IGNORED = "ignore"

_WORN = ("background", "hat", "earring", "necklace", "cloth")
_EARS, _BROWS, _EYES = ("left_ear", "right_ear"), ("left_brow", "right_brow"), ("left_eye", "right_eye")
_MOUTH = ("inner_mouth", "upper_lip", "lower_lip")

#: Merges that a configuration may name: the new classes in order, each with the old ones it is made of.
MERGES: dict[str, dict[str, tuple[str, ...]]] = {
    "face_10": {
        "background": _WORN, "skin": ("skin",), "brows": _BROWS, "eyes": _EYES, "eye_glasses": ("eye_glasses",),
        "ears": _EARS, "nose": ("nose",), "mouth": _MOUTH, "hair": ("hair",), "neck": ("neck",),
    },
    "face_8": {
        "background": _WORN, "skin": ("skin", "eye_glasses", *_EARS), "brows": _BROWS, "eyes": _EYES,
        "nose": ("nose",), "mouth": _MOUTH, "hair": ("hair",), "neck": ("neck",),
    },
    "face_6": {
        "background": _WORN, "skin": ("skin", "nose", "eye_glasses", "neck", *_EARS), "brows": _BROWS, "eyes": _EYES,
        "mouth": _MOUTH, "hair": ("hair",),
    },
}  # fmt: skip


def merge_of_task(task: str) -> str | None:
    """Return the built-in merge that a task of the older engine stands for ("Face-6": "face_6"), None for others."""
    name = task.strip().lower().replace("-", "_").replace(" ", "_")
    return name if name in MERGES else None


def load_merge(name: str) -> Mapping[str, Sequence[str]]:
    """Return the built-in merge of that name, or the one in the JSON file {new name: [old names]} at that path.

    Raises ConfigError when there is no such merge or the file does not hold one.
    """
    if name in MERGES:
        return MERGES[name]
    path = Path(name)
    if path.suffix.lower() != ".json":
        near = difflib.get_close_matches(name, MERGES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"built in: {', '.join(MERGES)}; or a .json file"
        raise ConfigError(f"data.merge: unknown merge {name!r}; {hint}")
    try:
        groups = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"data.merge: {path} cannot be read ({error})") from None
    if not isinstance(groups, dict) or not all(_is_names(olds) for olds in groups.values()):
        raise ConfigError(f"data.merge: {path}: expected an object of {{new name: [old names]}}")
    return groups


def merge_labels(labels: LabelSet, merge: str | Mapping[str, Sequence[str]]) -> tuple[LabelSet, npt.NDArray[np.uint8]]:
    """Return the merged label set, and the table uint8 (256,) that maps old mask values to new ones.

    `merge` is a name or path for `load_merge`, or the groups themselves, in the order of the new classes; the old
    classes under the name "ignore" are not learnt. Every old class must be in one group. A group takes the colour of
    its first class. Left and right stay a flip pair when their groups differ; every other value becomes the ignore
    index. Raises ConfigError naming the class: unknown, in two groups, in none, or left and right grouped unlike.
    """
    groups = load_merge(merge) if isinstance(merge, str) else merge
    index = {name: label for label, name in enumerate(labels.names)}
    _check_groups(groups, labels)
    names = tuple(name for name in groups if name != IGNORED)
    ignore_index = labels.ignore_index if labels.ignore_index >= labels.num_classes else 255
    table = np.full(256, ignore_index, np.uint8)
    for new, name in enumerate(names):
        table[[index[old] for old in groups[name]]] = new
    if labels.ignore_index < labels.num_classes:
        table[labels.ignore_index] = ignore_index
    merged = LabelSet(
        names=names,
        palette=tuple(labels.palette[index[groups[name][0]]] for name in names),
        ignore_index=ignore_index,
        flip_pairs=_merge_flips(labels, table, len(names)),
    )
    return merged, table


def _check_groups(groups: Mapping[str, Sequence[str]], labels: LabelSet) -> None:
    place: dict[str, str] = {}
    for name, olds in groups.items():
        if not olds and name != IGNORED:
            raise ConfigError(f"data.merge: {name}: has no old classes")
        for old in olds:
            if old not in labels.names:
                near = difflib.get_close_matches(old, labels.names, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"classes: {', '.join(labels.names)}"
                raise ConfigError(f"data.merge: {name}: unknown class {old!r}; {hint}")
            if old in place:
                raise ConfigError(f"data.merge: class {old!r} is in both {place[old]!r} and {name!r}; leave it in one")
            place[old] = name
    lost = [name for name in labels.names if name not in place]
    if lost:
        raise ConfigError(f"data.merge: class {lost[0]!r} is in no group; put it into one, or into {IGNORED!r}")
    if len(groups.keys() - {IGNORED}) < 2:
        raise ConfigError("data.merge: expected at least two groups")


def _merge_flips(labels: LabelSet, table: npt.NDArray[np.uint8], num_classes: int) -> tuple[tuple[int, int], ...]:
    """Return the flip pairs of the groups; raises ConfigError where mirroring would mix groups up."""
    partner = dict(labels.flip_pairs) | {right: left for left, right in labels.flip_pairs}
    mirrored: dict[int, tuple[int, str]] = {}
    classes = range(num_classes)
    for old, name in enumerate(labels.names):
        group, opposite = int(table[old]), int(table[partner.get(old, old)])
        if (group in classes) != (opposite in classes):
            other = labels.names[partner[old]]
            raise ConfigError(f"data.merge: of {name!r} and {other!r} only one is ignored; group the sides alike")
        expected, first = mirrored.setdefault(group, (opposite, name))
        if opposite != expected:
            raise ConfigError(
                f"data.merge: classes {first!r} and {name!r} are in one group, but mirror images of them are in two; "
                "group the left and right side alike"
            )
    return tuple(sorted((group, opposite) for group, (opposite, _) in mirrored.items() if group < opposite))


def _is_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
