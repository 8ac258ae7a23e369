"""Run checkpoints in eager PyTorch, float32 on the CPU: the reference that artifacts are compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seg_core.errors import ArtifactError, ConfigError, MissingDependencyError
from seg_core.manifest import ArtifactInfo, GraphSpec, Manifest
from seg_core.runners.base import Array, check_feeds
from seg_core.spec import TensorSpec

if TYPE_CHECKING:
    from torch import Tensor

    from seg_core.convention import StatedConvention
    from seg_core.models.checkpoint import Checkpoint


class TorchRunner:
    """A torch callable on numpy arrays; `target` is "pytorch" or "torchscript".

    With `threads`, torch's number of threads is set for the length of each run and then restored. That number
    belongs to the process, so runs that ask for different ones must not overlap.
    """

    def __init__(
        self, target: str, path: Path, network: Callable[..., Any], manifest: Manifest, threads: int | None
    ) -> None:
        """Wrap `network`, which takes the manifest's inputs in order and returns its outputs in order."""
        if threads is not None and threads < 1:
            raise ConfigError(f"threads: expected at least 1, found {threads}")
        self.target = target
        self.inputs = manifest.inputs
        self.outputs = manifest.outputs
        self._path = path
        self._network: Callable[..., Any] | None = network
        self._threads = threads

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Return every output for one batch; raises ArtifactError when a feed or an output is not as stated."""
        import torch

        if self._network is None:
            raise ArtifactError(f"{self._path}: this runner was closed; open it again")
        check_feeds(self.inputs, feeds, self._path)
        tensors = [_to_tensor(feeds[spec.name]) for spec in self.inputs]
        with torch.inference_mode(), _limit_threads(self._threads):
            try:
                results = self._network(*tensors)
            except RuntimeError as error:
                reason = str(error).strip().splitlines()[-1]
                raise ArtifactError(f"{self._path}: the network failed while running ({reason})") from error
        results = results if isinstance(results, (tuple, list)) else (results,)
        if len(results) != len(self.outputs):
            raise ArtifactError(
                f"{self._path}: gives {len(results)} outputs, its manifest states {len(self.outputs)}; export it again"
            )
        return {spec.name: self._checked(spec, result) for spec, result in zip(self.outputs, results, strict=True)}

    def close(self) -> None:
        """Release the network."""
        self._network = None

    def _checked(self, spec: TensorSpec, result: Tensor) -> Array:
        array: Array = result.numpy()
        if array.shape != spec.shape or array.dtype != np.dtype(spec.dtype):
            raise ArtifactError(
                f"{self._path}: output {spec.name!r} is {array.dtype} {array.shape}, its manifest states "
                f"{spec.dtype} {spec.shape}; export it again"
            )
        return array


def open_runner(path: Path, manifest: Manifest, threads: int | None) -> TorchRunner:
    """Open the checkpoint at `path` for the sizes that `manifest` states, without its auxiliary heads.

    Raises CheckpointError when it cannot be used, ConfigError when the network cannot take that size.
    """
    require_torch("running a checkpoint")
    from seg_core.models.checkpoint import build_network, load_checkpoint

    network = build_network(load_checkpoint(path)).main_only()
    network.check_size(manifest.inputs[0].size_hw)
    return TorchRunner("pytorch", path, network, manifest, threads)


def read_manifest(path: Path, stated: StatedConvention | None = None) -> str:
    """Return the JSON text of the manifest that the checkpoint at `path` amounts to, given what is `stated` of it."""
    require_torch("reading a checkpoint")
    from seg_core.models.checkpoint import load_checkpoint

    return describe_checkpoint(load_checkpoint(path, stated), path.name).to_json()


def describe_checkpoint(checkpoint: Checkpoint, file_name: str) -> Manifest:
    """Return the manifest of a checkpoint: one input `image`, one output `logits`, nothing folded into the graph."""
    from seg_core.models import build_placeholder

    preprocess, model = checkpoint.preprocess, checkpoint.model
    stride = build_placeholder(model).output_stride
    height, width = preprocess.size_hw
    logits_shape = (1, model.num_classes, height // stride, width // stride)
    return Manifest(
        artifact=ArtifactInfo(file=file_name, target="pytorch", precision="fp32"),
        model=model,
        preprocess=preprocess,
        postprocess=checkpoint.postprocess,
        labels=checkpoint.labels,
        graph=GraphSpec(),
        inputs=(TensorSpec("image", "image", preprocess.tensor_shape, "float32", "nchw"),),
        outputs=(TensorSpec("logits", "logits", logits_shape, "float32", "nchw"),),
        provenance=checkpoint.provenance,
    )


def require_torch(feature: str) -> None:
    """Raise MissingDependencyError naming `feature` where torch is not installed."""
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError:
        raise MissingDependencyError("torch", feature, "segproof[torch]") from None


def _to_tensor(array: Array) -> Tensor:
    import torch

    contiguous = np.ascontiguousarray(array)
    return torch.from_numpy(contiguous if contiguous.flags.writeable else contiguous.copy())


@contextmanager
def _limit_threads(threads: int | None) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    if threads is None or threads == before:
        yield
        return
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
