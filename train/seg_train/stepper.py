"""One step of the optimiser: forward, backward, clipping, update, average; recorded and replayed where asked."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from seg_core.config.schema import SolverSection
from seg_core.errors import ConfigError, SegError
from seg_train.average import MovingAverage
from seg_train.checked_items import Batch
from seg_train.compiling import choose_options, compile_graph
from seg_train.graph import TrainingGraph
from seg_train.parallel import Workers
from seg_train.recording import (
    STEPS_BEFORE,
    Losses,
    Recording,
    beside,
    lerp_average,
    lerp_buffers,
    lerp_weights,
)
from seg_train.state import RunState

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}

#: Optimisers of torch's own whose step is all on the device, so that it can be recorded.
_RECORDABLE = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)

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


def _records(options: SolverSection, device: torch.device) -> bool:
    return options.compile == "cuda_graphs" and device.type == "cuda"


def check_options(options: SolverSection, workers: Workers, optimizer: torch.optim.Optimizer) -> None:
    """Raise ConfigError where what is asked for together does not go together on the device of `workers`."""
    if options.compile_options:  # also where nothing gets compiled: a run is often tried on a CPU first
        choose_options(options)
    if _records(options, workers.device):
        if options.precision == "fp16":
            raise ConfigError(
                "solver.precision: fp16 adapts its scale after every step, which cannot be recorded; use bf16"
            )
        if options.on_nan == "skip":
            raise ConfigError("solver.on_nan: a recorded step cannot be left out; use solver.compile=default")
        if not isinstance(optimizer, _RECORDABLE):
            name = type(optimizer).__name__
            raise ConfigError(
                f"solver.compile: {name} cannot be recorded; use adamw, adam or sgd, or solver.compile=default"
            )
    if options.sync_bn and workers.is_parallel:
        if options.compile != "off":
            raise ConfigError("solver.sync_bn: its exchange cannot be compiled; set solver.compile=off")
        if workers.device.type != "cuda":
            raise ConfigError("solver.sync_bn: BatchNorm is synchronised on GPUs alone; set it to false on CPUs")


class Stepper:
    """Take steps with the parts of a RunState; `losses` of a step are left on the device."""

    def __init__(self, graph: TrainingGraph, state: RunState, options: SolverSection, workers: Workers) -> None:
        """Compile `graph` as `options` say; `workers` exchange the gradients of its parameters.

        Raises ConfigError where what is asked for together does not go together.
        """
        self.state = state
        self.options = options
        self.device = workers.device
        self.skipped = 0
        self.left_out = False
        self._skipped_in_a_row = 0
        self._owed = 0.0
        self._workers = workers
        self.compiles = options.compile != "off" and self.device.type == "cuda"
        self._records = _records(options, self.device)
        check_options(options, workers, state.optimizer)
        self._parameters = [p for p in graph.parameters() if p.requires_grad]
        self._module: Callable[..., Losses] = compile_graph(graph, options) if self.compiles else graph
        self._recording = Recording(state, self._on_device) if self._records else None
        # A first step that is left out, or that fp16 overflows in, leaves the optimiser unmoved: torch warns of that.
        warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")

    def step(self, batches: Iterator[Batch]) -> Losses:
        """Take one step over the next `accumulate` batches; return the losses, averaged over them, and "grad_norm".

        What is returned may be overwritten by the next step. With `on_nan` "skip" `left_out` tells whether this step
        moved nothing, and `skipped` counts such steps. Raises StopIteration when the batches end, TrainingError after
        too many steps without a finite loss.
        """
        options, state = self.options, self.state
        taken = [next(batches) for _ in range(options.accumulate)]
        # A resumed run draws what the unbroken one would have, without any state to keep. Not before the batches are
        # there: the first one of a loader draws a number, too.
        if options.deterministic:
            torch.manual_seed(hash((options.seed, state.step, self._workers.rank)) % 2**63)
        assert isinstance(state.average, MovingAverage)
        if self._recording is not None:
            losses = self._recording(taken, self._owed)
            self._owed = state.average.next_weight()
            state.average.n_averaged += 1
        else:
            losses = self._eagerly(taken)
        state.schedule.step()
        state.step += 1
        return losses

    def catch_up(self) -> None:
        """Give the moving average what the last recorded step owes it; call it before looking at the average."""
        if self._owed:
            assert isinstance(self.state.average, MovingAverage)
            lerp_average(self.state.average, self.state.model, torch.tensor(self._owed, device=self.device))
            self._owed = 0.0

    @property
    def steps_to_settle(self) -> int:
        """How many first steps take longer than all others: loaders start, code is compiled, a step is recorded."""
        return STEPS_BEFORE + 1 if self._records else 1

    def close(self) -> None:
        """Free what the device holds for the steps; call it before the processes part."""
        if self._recording is not None:
            self._recording.release()

    def _on_device(self, batches: Sequence[Batch], owed: Tensor) -> Losses:
        """Do everything of a step without asking the device for any value, so that it can be recorded.

        The moving average takes the weights of the step before, by `owed`. They lie still until the optimiser moves
        them, so that this is done beside what leaves memory idle: the exchange or, where there is none, the kernels of
        the network. BatchNorm's statistics do not lie still.
        """
        state = self.state
        assert isinstance(state.average, MovingAverage)
        lerp_buffers(state.average, state.model, owed)
        late = beside(self.device, partial(lerp_weights, state.average, state.model, owed))
        if self._workers.is_parallel:
            losses = self._gradients(batches)
            with late:
                self._exchange()
        else:
            with late:
                losses = self._gradients(batches)
        self._clip(losses)
        state.optimizer.step()
        state.optimizer.zero_grad(set_to_none=True)
        return losses

    def _eagerly(self, batches: Sequence[Batch]) -> Losses:
        state = self.state
        skips = self.options.on_nan == "skip"
        kept = [buffer.clone() for buffer in state.model.buffers()] if skips else []
        losses = self._gradients(batches)
        self._exchange()
        if self.options.grad_clip is not None or skips:
            state.scaler.unscale_(state.optimizer)
        self._clip(losses)
        self.left_out = skips and not self._workers.agree(self._is_finite(losses))
        if self.left_out:
            self._leave_out(kept)
        else:
            self._skipped_in_a_row = 0
            state.scaler.step(state.optimizer)
            state.scaler.update()
            assert isinstance(state.average, MovingAverage)
            state.average.update_parameters(state.model)
        state.optimizer.zero_grad(set_to_none=True)
        return losses

    def _gradients(self, batches: Sequence[Batch]) -> Losses:
        """Add up the gradients of the batches of this process; return their mean losses."""
        options = self.options
        summed: Losses = {}
        for image, target in batches:
            with torch.autocast(self.device.type, _DTYPES[options.precision], enabled=options.precision != "fp32"):
                losses = self._module(image, target)
            torch.autograd.backward(self.state.scaler.scale(losses["loss"] / len(batches)))
            for name, value in losses.items():
                share = value.detach() / len(batches)
                summed[name] = summed[name] + share if name in summed else share
        return summed

    def _exchange(self) -> None:
        """Replace the gradients by their means over all processes.

        They are exchanged once a step and all together, after the last backward pass: small networks have too little
        of it to hide an exchange behind, and one that is apart from it can be recorded and accumulated.
        """
        moved = [p for p in self._parameters if p.grad is not None]
        gradients = [p.grad for p in moved if p.grad is not None]
        means = self._workers.means(gradients, like=moved, dtype=_DTYPES[self.options.exchange])
        for parameter, mean in zip(moved, means, strict=True):
            parameter.grad = mean

    def _clip(self, losses: Losses) -> None:
        limit = self.options.grad_clip
        if limit is not None:
            losses["grad_norm"] = nn.utils.clip_grad_norm_(self._parameters, limit, foreach=True).detach()
        elif self.options.on_nan == "skip":  # a finite loss may have gradients that are not
            gradients = [p.grad for p in self._parameters if p.grad is not None]
            losses["grad_norm"] = nn.utils.get_total_norm(gradients, foreach=True).detach()

    def _is_finite(self, losses: Losses) -> bool:
        # Under fp16 the scaler meets overflowing gradients as a matter of course: the loss alone decides there.
        names = ["loss"] if self.state.scaler.is_enabled() else [n for n in ("loss", "grad_norm") if n in losses]
        return bool(torch.stack([losses[name].float() for name in names]).isfinite().all())

    def _leave_out(self, kept: Sequence[Tensor]) -> None:
        """Undo what the forward pass did to BatchNorm's statistics, and count; nothing else has moved yet."""
        if self.state.scaler.is_enabled():
            self.state.scaler.update()  # as after any step whose gradients overflowed
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
