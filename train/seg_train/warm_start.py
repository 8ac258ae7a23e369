"""Start a network from another one's weights: whatever fits by name and shape, and what can be made to fit.

The one thing that is made to fit is a first convolution that reads one channel more, the prior of a video network
(docs/adr/0007): its kernel goes on with zeros there. It then answers as the network that it came from, and learns from
the first step on what the prior is good for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from seg_core.errors import CheckpointError, ConfigError
from seg_core.models.checkpoint import load_checkpoint
from seg_core.models.foreign_state import open_state
from seg_core.models.weights_file import read_weights_file

#: Channels of what a first convolution may have read before it was widened: grey or colour.
_PICTURES = (1, 3)


@dataclass(frozen=True)
class WarmStart:
    """Names of the network's tensors by what became of them, and those of the file that no tensor took.

    `adapted` were widened by the prior channel; `missing` kept their initial values, for want of the name or because
    of another shape.
    """

    loaded: tuple[str, ...]
    adapted: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        parts = [f"{len(self.loaded)} tensors taken over"]
        for names, words in ((self.adapted, "widened by the prior"), (self.missing, "left at their initial values")):
            if names:
                more = f" and {len(names) - 1} more" if len(names) > 1 else ""
                parts.append(f"{len(names)} {words} ({names[0]}{more})")
        return ", ".join(parts)


@torch.no_grad()
def load_matching_weights(network: nn.Module, path: str | Path) -> WarmStart:
    """Copy into `network` what fits of the weights in `path`, in place, and say what did.

    `path` is a checkpoint, ours or a foreign one of a known architecture, or a bare dictionary of tensors. Raises
    CheckpointError when it cannot be read and ConfigError when it holds nothing for this network.
    """
    path = Path(path)
    found = _read_state(path)
    loaded: list[str] = []
    adapted: list[str] = []
    missing: list[str] = []
    for name, wanted in network.state_dict().items():
        value = found.get(name)
        if value is not None and value.shape == wanted.shape:
            wanted.copy_(value)
            loaded.append(name)
        elif value is not None and _lacks_the_prior(value, wanted):
            wanted.zero_()
            wanted[:, : value.shape[1]].copy_(value)
            adapted.append(name)
        else:
            missing.append(name)
    if not loaded:
        raise ConfigError(
            f"model.weights: nothing in {path} has the name and shape of a weight of this network; "
            "take a checkpoint of the same architecture"
        )
    taken = {*loaded, *adapted}
    return WarmStart(tuple(loaded), tuple(adapted), tuple(missing), tuple(name for name in found if name not in taken))


def _lacks_the_prior(value: Tensor, wanted: Tensor) -> bool:
    """Whether `value` is the kernel (out, in, h, w) of a first convolution that `wanted` continues by one channel."""
    return (
        value.ndim == wanted.ndim == 4
        and value.shape[1] in _PICTURES
        and wanted.shape[1] == value.shape[1] + 1
        and (value.shape[0], *value.shape[2:]) == (wanted.shape[0], *wanted.shape[2:])
    )


def _read_state(path: Path) -> Mapping[str, Tensor]:
    try:
        return load_checkpoint(path).state_dict
    except CheckpointError:
        content: Any = read_weights_file(path)
        if isinstance(content, Mapping) and "format" in content:
            raise
        # An encoder alone, say, is no checkpoint of a whole network; its tensors may still have their places here.
        try:
            return open_state(content).state
        except CheckpointError as error:
            raise CheckpointError(f"{path}: {error}") from None
