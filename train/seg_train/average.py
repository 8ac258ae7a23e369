"""The moving average of a network's weights, which is what gets evaluated and saved."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel


class MovingAverage(AveragedModel):
    """The exponential moving average of `model`, BatchNorm statistics included.

    The decay grows from 0 as (1 + n) / (10 + n) up to `decay`, so that a short run is not judged by its initial
    weights. How often it was updated is counted on the CPU, wherever the weights are: asking the GPU for it would make
    every step wait. Counters among the buffers are copied.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        """Begin with a copy of `model`."""
        super().__init__(model, use_buffers=True)
        self.decay = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Take one step towards `model`; the first copies it."""
        count = int(self.n_averaged)
        pairs = list(zip(_tensors(self.module), _tensors(model), strict=True))
        counters = [(mine, theirs) for mine, theirs in pairs if count == 0 or not mine.is_floating_point()]
        if counters:
            torch._foreach_copy_([mine for mine, _ in counters], [theirs for _, theirs in counters])
        averaged = [(mine, theirs) for mine, theirs in pairs if count and mine.is_floating_point()]
        if averaged:
            weight = 1 - min(self.decay, (1 + count) / (10 + count))
            torch._foreach_lerp_([mine for mine, _ in averaged], [theirs for _, theirs in averaged], weight)
        self.n_averaged += 1

    def _apply(self, fn: Any, recurse: bool = True) -> MovingAverage:
        """Move what `to`, `cuda` and the like move, but for the counter."""
        count = self.n_averaged
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.n_averaged = count
        return self


def build_average(model: nn.Module, decay: float) -> MovingAverage:
    """Return the moving average of `model`, which is a copy of it at first."""
    return MovingAverage(model, decay)


def _tensors(module: nn.Module) -> list[torch.Tensor]:
    return [*module.parameters(), *module.buffers()]
