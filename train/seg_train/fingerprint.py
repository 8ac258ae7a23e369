"""What must be the same for a stopped run to go on: its configuration and its pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seg_core.config.schema import TrainConfig
from seg_core.errors import CheckpointError, ImageError
from seg_core.samples import SamplePair


@dataclass(frozen=True)
class Images:
    """How many images a data set has, and a hash of them."""

    count: int
    digest: str


@dataclass(frozen=True)
class Fingerprint:
    """A hash of the configuration, and the images by their use ("training", "validation")."""

    config: str
    data: Mapping[str, Images]

    def to_state(self) -> dict[str, Any]:
        """Return what a state keeps of it."""
        data = {use: [images.count, images.digest] for use, images in self.data.items()}
        return {"fingerprint": self.config, "data": data}

    def check_state(self, path: Path, state: Mapping[str, Any]) -> None:
        """Raise CheckpointError when the `state` read from `path` is that of another run.

        States from before images were recorded have none to compare.
        """
        if state["fingerprint"] != self.config:
            raise CheckpointError(
                f"{path}: belongs to a run with another configuration or number of processes; use another `output` or "
                "pass --restart to discard it"
            )
        for use, (count, digest) in state.get("data", {}).items():
            now = self.data[use]
            if now != Images(count, digest):
                change = f"{count} then, {now.count} now" if count != now.count else "as many, but not the same files"
                raise CheckpointError(
                    f"{path}: belongs to a run with other {use} images ({change}), so that going on would be neither "
                    f"the old run nor a new one; bring them back, pass --restart to discard it, or begin from its "
                    f"weights with another `output` and model.weights={path.with_name('last.pth')}"
                )


def take_fingerprint(config: TrainConfig, train_set: object, val_set: object, world_size: int = 1) -> Fingerprint:
    """Return the fingerprint of a run; raises ImageError naming the first file that is not there."""
    data = {"training": describe_images(train_set), "validation": describe_images(val_set)}
    return Fingerprint(hash_config(config, world_size), data)


def hash_config(config: TrainConfig, world_size: int = 1) -> str:
    """Return a hash of all that shapes the weights, without paths and intervals.

    Of how many processes there are the size of a step depends. The format of their exchange counts where it changes
    something: states from before it could be chosen go on.
    """
    unchanged = world_size == 1 or config.solver.exchange == "fp32"
    compiling = {"compile", "compile_options"}
    kept = config.model_dump_json(
        exclude={
            "output": True,
            "device": True,
            "log_every": True,
            "save_every": True,
            "tensorboard": True,
            "data": {"workers", "cache", "train", "val"},
            "solver": compiling | {"exchange"} if unchanged else compiling,
        }
    )
    processes = f" {world_size} processes" if world_size > 1 else ""
    return hashlib.sha256(f"{kept}{processes}".encode()).hexdigest()


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
