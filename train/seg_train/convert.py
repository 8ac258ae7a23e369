"""Turn a checkpoint into a TorchScript program: the trace alone, as the older engine's tool made it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch

from seg_core.atomic import replacing
from seg_core.errors import ArtifactError, ConfigError
from seg_core.manifest import METADATA_KEY, ArtifactInfo, Manifest, manifest_path
from seg_core.models.checkpoint import build_network, load_checkpoint
from seg_core.preprocessing import Preprocessor
from seg_core.runners import RUNNERS, pytorch, torchscript
from seg_core.spec import PreprocessSpec

#: Largest allowed difference between the reopened program and the network, as a share of the largest logit. The
#: same kernels run: all registered networks measure 0 on the CPU. Another build of torch may round otherwise.
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Conversion:
    """What was written: the manifest inside it, and how far its logits lie from the network's.

    `max_abs_relative` is the largest difference as a share of the largest logit.
    """

    path: Path
    manifest: Manifest
    max_abs_relative: float


def convert_checkpoint(source: Path, destination: Path) -> Conversion:
    """Trace the main head of the checkpoint `source` at its contract's size into `destination`, a `.pt` file.

    The contract and labels travel inside, so that `seg-predict` runs the file. It is reopened and compared with the
    network on a drawn picture before it takes the place of an older file. Raises CheckpointError when `source` cannot
    be used, ConfigError when `destination` cannot take the result or the network is not known to survive tracing, and
    ArtifactError when the program cannot be made, written or does not agree.
    """
    _check_destination(source, destination)
    checkpoint = load_checkpoint(source)
    network = build_network(checkpoint).main_only()
    network.check_target("torchscript")
    manifest = replace(
        pytorch.describe_checkpoint(checkpoint, destination.name),
        artifact=ArtifactInfo(file=destination.name, target="torchscript", precision="fp32"),
    )
    tensor = Preprocessor(checkpoint.preprocess)(_draw_picture(checkpoint.preprocess)).tensor
    try:
        with replacing(destination) as draft:
            _trace(network, torch.from_numpy(tensor), draft, manifest)
            difference = _compare(network, tensor, draft, manifest)
            if not difference <= TOLERANCE:
                raise ArtifactError(
                    f"{source}: the traced program's logits differ by {difference:.1e} x max|logit| from those of the "
                    f"network, more than {TOLERANCE:.0e}; nothing was written"
                )
    except OSError as error:
        raise ArtifactError(f"{destination}: cannot be written ({error.strerror}); choose another place") from None
    return Conversion(destination, manifest, difference)


def _check_destination(source: Path, destination: Path) -> None:
    suffix = RUNNERS.get("torchscript").suffix
    if destination.suffix != suffix:
        raise ConfigError(f"{destination}: a TorchScript program is named *{suffix}; choose another name")
    if destination.exists() and source.exists() and destination.samefile(source):
        raise ConfigError(f"{destination}: is the source itself; choose another destination")
    beside = manifest_path(destination)
    if beside.exists():
        raise ConfigError(
            f"{destination}: {beside.name} lies beside it and describes an earlier export; remove both or choose "
            "another name"
        )


def _trace(network: torch.nn.Module, image: torch.Tensor, path: Path, manifest: Manifest) -> None:
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # TorchScript is what the user asked for
            traced = torch.jit.trace(network, image, check_trace=False)  # type: ignore[no-untyped-call]
            torch.jit.save(traced, str(path), _extra_files={METADATA_KEY: manifest.to_json()})
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0][:120]
        raise ArtifactError(f"{manifest.artifact.file}: the network cannot be traced and saved ({reason})") from None


def _compare(network: torch.nn.Module, tensor: npt.NDArray[np.float32], path: Path, manifest: Manifest) -> float:
    with torch.no_grad():
        expected = network(torch.from_numpy(tensor)).numpy()
    runner = torchscript.open_runner(path, manifest, None)
    try:
        [found] = runner.run({manifest.inputs[0].name: tensor}).values()
    finally:
        runner.close()
    largest = float(np.abs(expected).max())
    return float(np.abs(found - expected).max()) / (largest or 1.0)


def _draw_picture(spec: PreprocessSpec) -> npt.NDArray[np.uint8]:
    """Return a BGR picture with the areas, edges and noise of a photograph, the same every time."""
    height, width = spec.size_hw
    rng = np.random.default_rng(0)
    coarse = rng.integers(40, 216, (6, 6, 3), dtype=np.uint8)
    picture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    axes = (max(1, width // 4), max(1, height // 3))
    cv2.ellipse(picture, (width // 2, height // 2), axes, 0, 0, 360, (120, 160, 220), cv2.FILLED)
    noise = rng.integers(-8, 9, picture.shape)
    return np.clip(picture.astype(np.int64) + noise, 0, 255).astype(np.uint8)
