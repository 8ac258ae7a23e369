"""Find the weights in a foreign file: take off wrappers, prefixes of training frameworks, and what is no weight."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from seg_core.errors import CheckpointError

#: Where trainers put the state dict; averaged weights first, since those are the ones they evaluate.
WRAPPERS = (
    "ema", "ema_state_dict", "model_ema", "state_dict_ema", "params_ema", "state_dict", "model_state_dict",
    "model_state", "model", "net", "network", "params", "weights", "state",
)  # fmt: skip

#: Wrappers inside wrappers; a file may hold a dictionary that contains itself.
_DEEPEST = 4

#: Entries of the loss, and the counter of torch.optim.swa_utils.AveragedModel.
_NO_WEIGHTS = re.compile(r"(loss|criteri)\w*\.|n_averaged$")


@dataclass(frozen=True)
class ForeignState:
    """The weights of a foreign file under the bare keys of its network, and what was taken off."""

    state: dict[str, Tensor]
    read_from: str = "top level"
    prefix: str = ""
    dropped: list[str] = field(default_factory=list)


def open_state(content: Any) -> ForeignState:
    """Return the state dict in `content`, without wrappers, prefixes, entries of the loss and other than tensors.

    Raises CheckpointError when there is none.
    """
    wrappers = _find_state(content)
    if wrappers is None:
        raise CheckpointError("holds no state dict (a dictionary of tensors by name); save model.state_dict() to it")
    for name in wrappers:
        content = content[name]
    state = {str(key): value for key, value in content.items()}
    dropped = [key for key, value in state.items() if not isinstance(value, Tensor)]
    state = {key: value for key, value in state.items() if isinstance(value, Tensor)}
    prefix = ""
    while True:
        useless = [key for key in state if _NO_WEIGHTS.match(key)]
        dropped += [prefix + key for key in useless]
        state = {key: value for key, value in state.items() if key not in useless}
        shared = _shared_prefix(state)
        if not shared:
            return ForeignState(state, "/".join(wrappers) or "top level", prefix, dropped)
        prefix += shared
        state = {key.removeprefix(shared): value for key, value in state.items()}


def _find_state(content: Any, depth: int = 0) -> list[str] | None:
    """Return the keys that lead to the first state dict inside `content`; None where there is none."""
    if not isinstance(content, Mapping) or depth > _DEEPEST:
        return None
    for name in WRAPPERS:
        below = _find_state(content.get(name), depth + 1)
        if below is not None:
            return [name, *below]
    return [] if any(isinstance(value, Tensor) for value in content.values()) else None


def _shared_prefix(state: Mapping[str, Tensor]) -> str:
    """Return the module that all keys are inside of, with its dot; "" where there is none.

    No network here has all its weights in one module, so what is shared was put around it: module., model., net.,
    _orig_mod. and the like.
    """
    first = {key.partition(".")[0] for key in state}
    if len(state) < 2 or len(first) != 1 or not all("." in key for key in state):
        return ""
    return f"{first.pop()}."
