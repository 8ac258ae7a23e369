"""One step of the optimiser: forward, backward, clipping, update, average; recorded and replayed where asked."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from seg_core.config.schema import SolverSection
from seg_core.errors import ConfigError, SegError
from seg_train.average import MovingAverage
from seg_train.graph import TrainingGraph
from seg_train.loader import Batch
from seg_train.parallel import Workers
from seg_train.state import RunState

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}

#: After so many steps in a row without a finite loss, leaving them out helps no more.
MOST_SKIPPED = 20


class TrainingError(SegError):
    """Training cannot go on, such as after a loss that is not a number."""


def set_determinism(options: SolverSection) -> None:
    """Choose between the fastest kernels and those that give the same bits every time, for the whole process."""
    if options.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(options.deterministic)
    torch.backends.cudnn.benchmark = not options.deterministic


class Stepper:
    """Take steps with the parts of a RunState; `losses` of a step are left on the device."""

    def __init__(self, graph: TrainingGraph, state: RunState, options: SolverSection, workers: Workers) -> None:
        """Wrap `graph` for several processes and for the compiler as `options` say.

        Raises ConfigError where `sync_bn` and recorded graphs are asked for together.
        """
        self.state = state
        self.options = options
        self.device = workers.device
        self.skipped = 0
        self._skipped_in_a_row = 0
        self._rank = workers.rank
        self._records = options.compile == "cuda_graphs" and self.device.type == "cuda"
        self._keeps_gradients = self._records and options.accumulate > 1
        self._parameters = [p for p in graph.parameters() if p.requires_grad]
        self._module = self._wrap(graph, workers)

    def step(self, batches: Iterator[Batch]) -> dict[str, Tensor]:
        """Take one step over the next `accumulate` batches; return the losses, averaged over them, and "grad_norm".

        Raises StopIteration when the batches end, TrainingError after too many steps without a finite loss.
        """
        options, state = self.options, self.state
        if options.deterministic:  # a resumed run draws what the unbroken one would have, without any state to keep
            torch.manual_seed(hash((options.seed, state.step, self._rank)) % 2**63)
        kept = self._keep_statistics() if options.on_nan == "skip" else None
        summed: dict[str, Tensor] = {}
        for index in range(options.accumulate):
            losses = self._backward(*next(batches), last=index == options.accumulate - 1)
            for name, value in losses.items():
                summed[name] = summed[name] + value if name in summed else value.detach().clone()
        losses = {name: value / options.accumulate for name, value in summed.items()}
        self._update(losses, kept)
        state.schedule.step()
        state.step += 1
        return losses

    def _backward(self, image: Tensor, target: Tensor, last: bool) -> dict[str, Tensor]:
        """Add the gradients of one batch; gradients of several processes are averaged at the last one."""
        options = self.options
        if self._records:
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        if isinstance(self._module, DistributedDataParallel):
            self._module.require_backward_grad_sync = last
        with torch.autocast(self.device.type, _DTYPES[options.precision], enabled=options.precision != "fp32"):
            losses: dict[str, Tensor] = self._module(image, target)
        torch.autograd.backward(self.state.scaler.scale(losses["loss"] / options.accumulate))
        return losses

    def _update(self, losses: dict[str, Tensor], kept: Sequence[Tensor] | None) -> None:
        options, state = self.options, self.state
        if options.grad_clip is not None:
            state.scaler.unscale_(state.optimizer)
            losses["grad_norm"] = torch.nn.utils.clip_grad_norm_(self._parameters, options.grad_clip, foreach=True)
        if kept is not None and not self._is_finite(losses):
            self._leave_out(kept)
        else:
            self._skipped_in_a_row = 0
            state.scaler.step(state.optimizer)
            state.scaler.update()
            assert isinstance(state.average, MovingAverage)
            state.average.update_parameters(state.model)
        state.optimizer.zero_grad(set_to_none=not self._keeps_gradients)

    def _is_finite(self, losses: dict[str, Tensor]) -> bool:
        # Under fp16 the scaler meets overflowing gradients as a matter of course: the loss alone decides there.
        names = ["loss"] if self.state.scaler.is_enabled() else [n for n in ("loss", "grad_norm") if n in losses]
        return bool(torch.stack([losses[name].float() for name in names]).isfinite().all())

    def _keep_statistics(self) -> list[Tensor]:
        return [buffer.clone() for buffer in self.state.model.buffers()]

    def _leave_out(self, kept: Sequence[Tensor]) -> None:
        """Undo what the forward pass did to BatchNorm's statistics, and count."""
        with torch.no_grad():
            for buffer, value in zip(self.state.model.buffers(), kept, strict=True):
                buffer.copy_(value)
        self.skipped += 1
        self._skipped_in_a_row += 1
        if self._skipped_in_a_row >= MOST_SKIPPED:
            raise TrainingError(
                f"step {self.state.step + 1}: {MOST_SKIPPED} steps in a row without a finite loss; lower solver.lr, "
                "set solver.grad_clip or use solver.precision=bf16"
            )

    def _wrap(self, graph: TrainingGraph, workers: Workers) -> nn.Module:
        options, module = self.options, graph
        if options.sync_bn and workers.is_parallel:
            if options.compile != "off":
                raise ConfigError("solver.sync_bn: its exchange cannot be compiled; set solver.compile=off")
            if self.device.type != "cuda":
                raise ConfigError("solver.sync_bn: BatchNorm is synchronised on GPUs alone; set it to false on CPUs")
        if self._keeps_gradients:  # recorded graphs write gradients into memory of their own: sums need another place
            for parameter in self._parameters:
                parameter.grad = torch.zeros_like(parameter)
        compiled: nn.Module = module
        if options.compile != "off" and self.device.type == "cuda":
            mode = "reduce-overhead" if self._records else "default"
            compiled = torch.compile(module, mode=mode, dynamic=False)  # type: ignore[assignment]
        if not workers.is_parallel:
            return compiled
        return DistributedDataParallel(
            compiled,
            device_ids=[self.device] if self.device.type == "cuda" else None,
            broadcast_buffers=False,
            gradient_as_bucket_view=True,
            find_unused_parameters=False,
        )
