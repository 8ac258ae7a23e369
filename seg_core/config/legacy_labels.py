"""Which label set, and which merging of its classes, the older engine's TASK and NUM_CLASSES speak of."""

from __future__ import annotations

import json
import re
from pathlib import Path

from seg_core.config.legacy_values import nearest, plain
from seg_core.errors import ConfigError
from seg_core.label_merge import IGNORED, MERGES, load_merge
from seg_core.labels import LABEL_SETS

_FACES = "celebamask_hq"
#: The face tasks by their number of classes: the merging of CelebAMask-HQ's 19 that each is, nothing for all of them.
FACE_MERGES: dict[int, str | None] = {
    19: None,
    **{len(groups.keys() - {IGNORED}): name for name, groups in MERGES.items() if name.startswith("face_")},
}
#: Other tasks by how their name begins.
_OTHERS = {"camvid": "camvid_11", "cityscapes": "cityscapes_19"}
_TASKS = [*(f"Face-{count}" for count in FACE_MERGES), "CamVid", "Cityscapes"]
#: What a bare number of classes is taken for.
_BY_NUMBER = {19: _FACES, 11: "camvid_11"}
_ADVICE = "name your own classes with  -o data.labels=FILE.json  (a section `data: {labels: FILE.json}` does the same)"


def choose_labels(task: str, num_classes: int | None) -> tuple[str, str | None]:
    """Return the names of a built-in label set and of a built-in merging, None for none.

    "Face-6" is CelebAMask-HQ merged into 6 classes; a task that begins otherwise than the known ones leaves the
    choice to `num_classes`, which is None where the file has none. Raises ConfigError naming the key when the two
    contradict each other or name nothing.
    """
    if plain(task).startswith("face"):
        number = re.search(r"\d+", task)
        count = int(number[0]) if number else num_classes
        if count not in FACE_MERGES:
            raise _unknown(task if number else f"{task}-{count}", num_classes)
        _same(num_classes, count, f"TASK {task!r}")
        return _FACES, FACE_MERGES[count]
    for beginning, labels in _OTHERS.items():
        if plain(task).startswith(beginning):
            _same(num_classes, LABEL_SETS[labels].num_classes, f"TASK {task!r}")
            return labels, None
    if num_classes is None:
        raise ConfigError("DATASET.NUM_CLASSES: missing")
    if num_classes not in _BY_NUMBER:
        raise _unknown(task, num_classes)
    return _BY_NUMBER[num_classes], None


def _unknown(task: str, num_classes: int | None) -> ConfigError:
    if not task:
        return ConfigError(
            f"DATASET.NUM_CLASSES: no built-in label set has {num_classes} classes; name the task (TASK: "
            f"{', '.join(_TASKS)}), or {_ADVICE}"
        )
    return ConfigError(f"TASK: {task!r} is no built-in task; {nearest(task, _TASKS)}; or {_ADVICE}")


def check_num_classes(wanted: int, labels: str, merge: str | None) -> None:
    """Raise ConfigError when the label set `labels`, merged by `merge`, has not `wanted` classes.

    A file of labels that cannot be read is left to those who need it.
    """
    count = _count_classes(labels, merge)
    if count is not None:
        _same(wanted, count, f"data.labels {labels!r}" + (f" merged by {merge!r}" if merge else ""))


def _same(num_classes: int | None, count: int, of: str) -> None:
    if num_classes not in (None, count):
        raise ConfigError(f"DATASET.NUM_CLASSES: {num_classes}, but {of} has {count} classes")


def _count_classes(labels: str, merge: str | None) -> int | None:
    if merge is not None:
        return len(load_merge(merge).keys() - {IGNORED})
    if labels in LABEL_SETS:
        return LABEL_SETS[labels].num_classes
    try:
        content = json.loads(Path(labels).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    names = content.get("names") if isinstance(content, dict) else None
    return len(names) if isinstance(names, list) else None
