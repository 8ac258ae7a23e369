"""What every runner is: numpy in, numpy out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from seg_core.errors import ArtifactError
from seg_core.spec import TensorSpec

Array = npt.NDArray[Any]


class Runner(Protocol):
    """Run a saved network on numpy arrays.

    Feeds and results are keyed by tensor name, in the shape, dtype and layout that `inputs` and
    `outputs` state. A runner holds what it loaded until `close`.
    """

    target: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Return every output for one batch; raises ArtifactError when a feed has the wrong shape or dtype."""
        ...

    def close(self) -> None:
        """Release the network; the runner is unusable afterwards."""
        ...


class RunnerModule(Protocol):
    """What a module in this package offers."""

    def open_runner(self, path: Path, manifest: Any, threads: int | None) -> Runner:
        """Open the artifact at `path`; `manifest` states its tensors; `threads` None means the runtime's default."""
        ...

    def read_manifest(self, path: Path) -> str:
        """Return the JSON text of the embedded manifest; raises ArtifactError when there is none."""
        ...


def check_names(path: Path, what: str, stated: Sequence[TensorSpec], found: Collection[str]) -> None:
    """Compare the tensors that a manifest states with the names of those ("inputs" or "outputs") in the artifact.

    Raises ArtifactError naming `path` and both sides.
    """
    wanted = sorted(spec.name for spec in stated)
    if sorted(found) != wanted:
        raise ArtifactError(
            f"{path}: its {what} are {', '.join(sorted(found)) or 'none'}, but the manifest names {', '.join(wanted)}; "
            "export it again"
        )


def first_line(error: Exception | str) -> str:
    """Return the first line of what a runtime has to say, cut where it would fill the screen."""
    return str(error).strip().split("\n")[0][:160]


def check_feeds(inputs: Sequence[TensorSpec], feeds: Mapping[str, Array], where: str | Path) -> None:
    """Compare feeds with the tensors a runner takes, before the runtime can misread them.

    Exactly the named inputs must be there, as numpy arrays of the stated shape and dtype; memory order and
    writability do not matter. Raises ArtifactError naming `where` (the artifact), the tensor and both sides.
    """
    wanted = [spec.name for spec in inputs]
    if sorted(feeds) != sorted(wanted):
        raise ArtifactError(f"{where}: expected the inputs {', '.join(wanted)}; found {', '.join(feeds) or 'none'}")
    for spec in inputs:
        array = feeds[spec.name]
        if not isinstance(array, np.ndarray):
            raise ArtifactError(f"{where}: input {spec.name!r} must be a numpy array, found {type(array).__name__}")
        if array.shape != spec.shape or array.dtype != np.dtype(spec.dtype):
            raise ArtifactError(
                f"{where}: input {spec.name!r} takes {spec.dtype} {spec.shape} ({spec.layout}), found {array.dtype} "
                f"{array.shape}; make it with Preprocessor(manifest.preprocess)"
            )
