"""The moving average of a network's weights, which is what gets evaluated and saved."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

#: The average's tensors and the model's, in the same order.
Pairs = tuple[list[Tensor], list[Tensor]]


class TensorPairs(NamedTuple):
    """What an average has of a model: its weights, BatchNorm's statistics, and counters, which are copied."""

    weights: Pairs
    statistics: Pairs
    counters: Pairs


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
        self._pairs: tuple[nn.Module, TensorPairs] | None = None

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Take one step towards `model`; the first copies it."""
        weights, statistics, counters = self.tensor_pairs(model)
        (mine, theirs), (my_statistics, their_statistics) = weights, statistics
        torch._foreach_lerp_([*mine, *my_statistics], [*theirs, *their_statistics], self.next_weight())
        copy_counters(counters)
        self.n_averaged += 1

    def next_weight(self) -> float:
        """Return how far the next step goes towards the model: 1 at first, `1 - decay` in the end."""
        count = int(self.n_averaged)
        return 1 - min(self.decay, (1 + count) / (10 + count)) if count else 1.0

    def tensor_pairs(self, model: nn.Module) -> TensorPairs:
        """Return our tensors beside the model's.

        They are found once: walking through hundreds of modules takes as long as a training step's kernels.
        """
        if self._pairs is None or self._pairs[0] is not model:
            buffers = list(zip(self.module.buffers(), model.buffers(), strict=True))
            found = TensorPairs(
                _split(list(zip(self.module.parameters(), model.parameters(), strict=True))),
                _split([pair for pair in buffers if pair[0].is_floating_point()]),
                _split([pair for pair in buffers if not pair[0].is_floating_point()]),
            )
            self._pairs = model, found
        return self._pairs[1]

    def _apply(self, fn: Any, recurse: bool = True) -> MovingAverage:
        """Move what `to`, `cuda` and the like move, but for the counter."""
        count = self.n_averaged
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.n_averaged = count
        self._pairs = None
        return self


def build_average(model: nn.Module, decay: float) -> MovingAverage:
    """Return the moving average of `model`, which is a copy of it at first."""
    return MovingAverage(model, decay)


def copy_counters(counters: Pairs) -> None:
    """Make the average's counters those of the model."""
    if counters[0]:
        torch._foreach_copy_(*counters)


def _split(pairs: list[tuple[Tensor, Tensor]]) -> Pairs:
    return [mine for mine, _ in pairs], [theirs for _, theirs in pairs]
