"""A whole training step as one CUDA graph: recorded once, replayed with new pixels.

A step of a small network is hundreds of kernels of a few microseconds each; launching them one by one from Python
takes longer than running them. Everything that a step does is on the recording: forward, losses, backward, the
average over processes, clipping, the optimiser and the moving average. What changes from step to step (pixels,
labels, learning rates, the average's weight) lies in tensors that are filled before each replay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from seg_train.average import MovingAverage, Pairs, copy_counters
from seg_train.checked_items import Batch
from seg_train.state import RunState

#: Steps that are taken as they come before the recording: kernels get chosen and memory allocated in them.
STEPS_BEFORE = 3

Losses = dict[str, Tensor]


class Recording:
    """Take steps by replaying the first one after `STEPS_BEFORE`."""

    def __init__(self, state: RunState, step: Callable[[Sequence[Batch], Tensor], Losses]) -> None:
        """Record `step`, which does everything that happens on the device for its batches and the average's weight."""
        self._state = state
        self._step = step
        self._taken = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._batches: list[Batch] = []
        self._losses: Losses = {}
        self._weight = torch.zeros(())

    def __call__(self, batches: Sequence[Batch], weight: float) -> Losses:
        """Take one step; the losses are overwritten by the next one."""
        if self._taken == 0:
            self._prepare(batches[0][0].device)
        self._weight.fill_(weight)
        self._taken += 1
        if self._taken <= STEPS_BEFORE:
            return self._beside(batches)
        if self._graph is None:
            self._record(batches)
        for (image, target), (image_kept, target_kept) in zip(batches, self._batches, strict=True):
            image_kept.copy_(image, non_blocking=True)
            target_kept.copy_(target, non_blocking=True)
        assert self._graph is not None
        self._graph.replay()
        return self._losses

    def release(self) -> None:
        """Free the recording; NCCL waits for ever to leave a group that a recording still speaks to."""
        if self._graph is not None:
            torch.cuda.synchronize()
            self._graph.reset()
        self._graph, self._batches, self._losses = None, [], {}
        self._taken = 0

    def _prepare(self, device: torch.device) -> None:
        """Put what a recording would otherwise freeze as numbers into tensors."""
        self._weight = torch.zeros((), device=device)
        for group in self._state.optimizer.param_groups:
            group["lr"] = torch.tensor(float(group["lr"]), device=device)
            if "capturable" in group:
                group["capturable"] = True

    def _beside(self, batches: Sequence[Batch]) -> Losses:
        """Take a step on a stream of its own, as recordings want their first steps."""
        losses: Losses = {}
        with beside(self._weight.device, lambda: losses.update(self._step(batches, self._weight))):
            pass
        return losses

    def _record(self, batches: Sequence[Batch]) -> None:
        self._batches = [(torch.empty_like(image), torch.empty_like(target)) for image, target in batches]
        self._state.optimizer.zero_grad(set_to_none=True)
        self._graph = torch.cuda.CUDAGraph()
        # Other threads (loading, NCCL's watch) go on talking to the device meanwhile, and may.
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._losses = self._step(self._batches, self._weight)


@contextmanager
def beside(device: torch.device, work: Callable[[], None]) -> Iterator[None]:
    """Let the device do `work` while it does what is asked of it inside; both are done before what follows."""
    if device.type != "cuda":
        work()
        yield
        return
    current, stream = torch.cuda.current_stream(device), torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    stream.wait_stream(current)
    with torch.cuda.stream(stream):
        work()
    yield
    current.wait_stream(stream)


def lerp_average(average: MovingAverage, model: nn.Module, weight: Tensor) -> None:
    """Move `average` towards `model` by `weight`, a scalar tensor, without counting the step."""
    lerp_weights(average, model, weight)
    lerp_buffers(average, model, weight)


@torch.no_grad()
def lerp_weights(average: MovingAverage, model: nn.Module, weight: Tensor) -> None:
    """Do that part of `lerp_average` which concerns parameters, and takes its time."""
    _lerp(average.tensor_pairs(model).weights, weight)


@torch.no_grad()
def lerp_buffers(average: MovingAverage, model: nn.Module, weight: Tensor) -> None:
    """Do the part of `lerp_average` that concerns buffers."""
    pairs = average.tensor_pairs(model)
    _lerp(pairs.statistics, weight)
    copy_counters(pairs.counters)


def _lerp(pairs: Pairs, weight: Tensor) -> None:
    mine, theirs = pairs
    if mine:
        difference = torch._foreach_sub(theirs, mine)
        torch._foreach_mul_(difference, weight)
        torch._foreach_add_(mine, difference)
