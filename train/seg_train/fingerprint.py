"""What must be the same for a stopped run to go on: its configuration, the files that it names, and its pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seg_core.config.schema import TrainConfig
from seg_core.errors import CheckpointError, ImageError
from seg_core.label_merge import merge_labels
from seg_core.label_sets import load_labels
from seg_core.samples import SamplePair

#: What shapes no weights, or is known by what is in it instead of where it lies.
_PLACES = {"workers", "cache", "train", "val"}
_NO_PART = {"output": True, "device": True, "log_every": True, "save_every": True, "tensorboard": True}
_COMPILING = {"compile", "compile_options"}
_FILES: dict[str, Any] = {
    "data": _PLACES | {"labels", "merge", "swap_left_right"},
    "model": {"weights": True, "options": {"pretrained"}},
    "distill": {"teacher"},
}

#: Where weights come from before the first step: by the text of the configuration, and by what was in the file.
Start = tuple[str, str | None]


@dataclass(frozen=True)
class Images:
    """How many images a data set has, and a hash of them."""

    count: int
    digest: str


@dataclass(frozen=True)
class Fingerprint:
    """A hash of the configuration, and what else makes a run the one it is.

    `data` has the images by their use ("training", "validation"), `inputs` hashes of what other keys of the
    configuration name, `starts` where weights come from before the first step. `before` is the hash of the
    configuration that states had when paths counted. `world_size` is how many processes make a step; hashes hold it.
    """

    config: str
    data: Mapping[str, Images]
    inputs: Mapping[str, str]
    starts: Mapping[str, Start]
    before: str
    world_size: int = 1

    def to_state(self) -> dict[str, Any]:
        """Return what a state keeps of it."""
        data = {use: [images.count, images.digest] for use, images in self.data.items()}
        starts = {key: list(start) for key, start in self.starts.items()}
        return {"fingerprint": self.config, "data": data, "inputs": dict(self.inputs), "starts": starts}

    def check_state(self, path: Path, state: Mapping[str, Any]) -> None:
        """Raise CheckpointError when the `state` read from `path` is that of another run.

        States from before images were recorded have none to compare, and so with what other keys name.
        """
        if state.get("fingerprint") != (self.config if "inputs" in state else self.before):
            raise CheckpointError(
                f"{path}: belongs to a run with another configuration or number of processes; use another `output` or "
                "pass --restart to discard it"
            )
        changed = [key for key, digest in state.get("inputs", {}).items() if self.inputs.get(key) != digest]
        changed += [key for key, start in state.get("starts", {}).items() if not self._begins_with(key, start)]
        if changed:
            raise _other_run(path, f"for which {changed[0]} held something else", "bring that back")
        for use, (count, digest) in state.get("data", {}).items():
            now = self.data[use]
            if now != Images(count, digest):
                change = f"{count} then, {now.count} now" if count != now.count else "as many, but not the same files"
                raise _other_run(path, f"with other {use} images ({change})", "bring them back")

    def _begins_with(self, key: str, start: Sequence[str | None]) -> bool:
        """Whether the first weights are said to be in the same place, or are the same in another.

        A stopped run needs them no more: the file may be gone, or be that of a run which has gone on since.
        """
        text, content = self.starts.get(key, ("", None))
        return text == start[0] or (content is not None and content == start[1])


def _other_run(path: Path, difference: str, remedy: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: belongs to a run {difference}, so that going on would be neither the old run nor a new one; {remedy}"
        ", pass --restart to discard it, or begin from its weights with another `output` and "
        f"model.weights={path.with_name('last.pth')}"
    )


def take_fingerprint(config: TrainConfig, train_set: object, val_set: object, world_size: int = 1) -> Fingerprint:
    """Return the fingerprint of a run.

    Raises ImageError naming the first picture that is not there, ConfigError or CheckpointError for a file of classes
    or a teacher that cannot be read.
    """
    data = {"training": describe_images(train_set), "validation": describe_images(val_set)}
    starts = {
        "model.weights": _describe_start(config.model.weights),
        "model.options.pretrained": _describe_start(config.model.options.get("pretrained")),
    }
    inputs = _describe_inputs(config, getattr(train_set, "swapped", frozenset()))
    before = _hash(config, world_size, {"data": _PLACES})
    return Fingerprint(hash_config(config, world_size), data, inputs, starts, before, world_size)


def hash_config(config: TrainConfig, world_size: int = 1) -> str:
    """Return a hash of all in the configuration that shapes the weights, or which of them are kept as the best.

    So `eval_every` counts, but no other interval, no path, nor how steps are compiled. What is in the files that it
    names is `inputs` of a Fingerprint. Of how many processes there are the size of a step depends. The format of
    their exchange counts where it changes something: states from before it could be chosen go on.
    """
    return _hash(config, world_size, _FILES)


def _hash(config: TrainConfig, world_size: int, files: Mapping[str, Any]) -> str:
    unchanged = world_size == 1 or config.solver.exchange == "fp32"
    solver = _COMPILING | {"exchange"} if unchanged else _COMPILING
    kept = config.model_dump_json(exclude={**_NO_PART, **files, "solver": solver})
    processes = f" {world_size} processes" if world_size > 1 else ""
    return hashlib.sha256(f"{kept}{processes}".encode()).hexdigest()


def _describe_inputs(config: TrainConfig, swapped: frozenset[str]) -> dict[str, str]:
    """Return a hash of what each key means that names a file: the classes, say, and not how the file spells them.

    Colours of classes are for people, and do not count. Stems in `swapped` are those whose sides were exchanged.
    """
    stored = load_labels(config.data.labels)
    merged: object = None
    if config.data.merge is not None:
        labels, table = merge_labels(stored, config.data.merge)
        merged = labels.names, table.tolist()
    return {
        "data.labels": _digest((stored.names, stored.ignore_index, sorted(map(sorted, stored.flip_pairs)))),
        "data.merge": _digest(merged),
        "data.swap_left_right": _digest(sorted(swapped)),
        "distill.teacher": _digest([_hash_file(path) for path in config.distill.teacher]),
    }


def _describe_start(value: object) -> Start:
    path = Path(str(value)) if value else None
    return _digest(str(value or "")), _hash_file(path) if path is not None and path.is_file() else None


def _digest(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()


def _hash_file(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); check its path and its rights") from None


def describe_images(dataset: Any) -> Images:
    """Return the images of a data set: names and sizes of their files and masks, in their order.

    Folders may have moved, so that they do not count; nor does what is in a file, which would have to be read. A data
    set that has no `pairs` is known by its length alone.
    """
    pairs: Sequence[SamplePair] = getattr(dataset, "pairs", ())
    digest = hashlib.sha256()
    for pair in pairs:
        mask = (pair.mask.name, pair.parts) if pair.kind == "parts" else (pair.mask.name, _size_of(pair.mask))
        digest.update(repr((pair.image.name, _size_of(pair.image), mask)).encode())
    return Images(len(dataset), digest.hexdigest())


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror})") from None
