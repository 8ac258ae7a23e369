"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from seg_core.config.schema import TrainConfig
from seg_core.errors import SegError
from seg_core.labels import LabelSet
from seg_core.metrics import ConfusionMatrix
from seg_core.models import SegmentationModel
from seg_train import build, run_errors
from seg_train.checked_items import Batch, explain_loading
from seg_train.distill import build_distiller
from seg_train.evaluate import EvaluationSet, evaluate
from seg_train.events import EndEvent, EvaluationEvent, Event, Listener, StartEvent, StepEvent
from seg_train.fingerprint import take_fingerprint
from seg_train.graph import TrainingGraph
from seg_train.loader import TrainingSet, build_train_loader, prefetch
from seg_train.losses import SegmentationLoss
from seg_train.overlap import describe_overlap
from seg_train.parallel import Workers, build_device
from seg_train.run_files import RunFiles, find_state
from seg_train.state import RunState
from seg_train.step_clock import StepClock
from seg_train.stepper import Stepper, TrainingError, set_determinism

__all__ = ["TrainResult", "Trainer", "TrainingError"]

#: How many validation images listeners are shown with every evaluation.
SHOWN_SAMPLES = 4


@dataclass(frozen=True)
class TrainResult:
    """Where the best checkpoint lies and the validation mIoU it reached."""

    best: Path
    best_miou: float
    steps: int


class Trainer:
    """One run: build everything, go on from where an earlier process stopped, train, evaluate, save."""

    def __init__(
        self,
        config: TrainConfig,
        restart: bool = False,
        workers: Workers | None = None,
        train_set: TrainingSet | None = None,
        val_set: EvaluationSet | None = None,
    ) -> None:
        """Build the run; with `restart` an earlier state in `config.output` is ignored and overwritten.

        `workers` says which of several processes this one is. `train_set` and `val_set` take the place of what
        `config.data` names. Raises SegError, in one line, for whatever of it cannot be built.
        """
        self.config = config
        self.workers = workers or Workers(0, 1, build_device(config.device))
        set_determinism(config.solver)
        torch.manual_seed(config.solver.seed)
        self.labels: LabelSet = build.build_labels(config.data.labels, config.data.merge)
        self.model_spec, self.preprocess = build.build_specs(config, self.labels)
        resumes = find_state(config, restart) is not None  # from weights that replace all others: no file need be left
        spec = build.stored_spec(self.model_spec) if resumes else self.model_spec
        network = build.build_network(build.training_spec(spec), self.preprocess, self.workers.device)
        build.check_crop(network, config)
        self.warm_start = None if resumes else build.load_weights(network, config.model)
        if train_set is None or val_set is None:
            built = build.build_datasets(config, self.preprocess, self.labels)
            train_set = built[0] if train_set is None else train_set  # an empty one is false
            val_set = built[1] if val_set is None else val_set
        build.check_classes(self.labels, train_set, val_set)
        self.train_set, self.val_set = train_set, val_set
        share = config.solver.batch_size * config.solver.accumulate * self.workers.world_size
        self.iterations = max(1, len(train_set) // share)
        self.steps = config.solver.steps if config.solver.epochs is None else config.solver.epochs * self.iterations
        self._build_graph(build.synchronised(network, config.solver, self.workers))
        fingerprint = take_fingerprint(config, train_set, val_set, self.workers.world_size)
        self.files = RunFiles(config, self.model_spec, self.preprocess, self.labels, fingerprint)
        self.files.open(self.state, restart, self.workers.is_main)
        self._listener: Listener | None = None
        self._sums: dict[str, Tensor] = {}
        self._summed = 0

    def _build_graph(self, network: SegmentationModel) -> None:
        config, workers = self.config, self.workers
        loss = SegmentationLoss(config.loss, self.labels.ignore_index, self.labels.num_classes).to(workers.device)
        workers.copy_main(network)
        self._distiller = distiller = build_distiller(
            config.distill, network, self.labels, self.preprocess, config.data.merge
        )
        if distiller is not None:
            workers.copy_main(distiller)
        self.state: RunState = build.build_state(network, config, workers.device, self.steps, distiller)
        graph = TrainingGraph(network, loss, self.preprocess, distiller).to(workers.device)
        self.stepper = Stepper(graph, self.state, config.solver, workers)

    @property
    def network(self) -> SegmentationModel:
        """The network whose weights the optimiser moves."""
        network = self.state.model
        assert isinstance(network, SegmentationModel)
        return network

    def run(self, listener: Listener | None = None) -> TrainResult:
        """Train to the configured step, evaluating and saving on the way, and tell `listener` of the main process.

        Raises TrainingError on a non-finite loss or a lack of GPU memory, SegError for a file that cannot be used.
        """
        self._listener = listener
        began = time.perf_counter()
        self._tell_start()
        try:
            self._train()
        except RuntimeError as error:
            explained = self._explain(error)
            if explained is None:
                raise
            raise explained from None
        self.stepper.close()  # not after an error: the device may wait for a process that is no more
        best = self.state.best_miou
        self._tell(EndEvent(best, self.files.best, time.perf_counter() - began, self.stepper.skipped))
        return TrainResult(self.files.best, best, self.state.step)

    def _explain(self, error: RuntimeError) -> SegError | None:
        """Return what torch's error means where that is no mistake of the program."""
        if isinstance(error, torch.OutOfMemoryError):
            return run_errors.no_memory(self.state.step + 1, error)
        return explain_loading(error) or self.workers.explain(error)

    def _train(self) -> None:
        config, state = self.config, self.state
        eval_every = self.iterations if config.eval_every == "epoch" else config.eval_every
        save_every = self.iterations if config.save_every == "epoch" else config.save_every
        self.network.train()
        batches = self._batches()
        clock = StepClock(state.step)
        settled = state.step + self.stepper.steps_to_settle
        while state.step < self.steps:
            losses = self.stepper.step(clock.timed(batches))
            if not self.stepper.left_out:
                self._add(losses)
            last = state.step == self.steps
            if state.step % config.log_every == 0 or last:
                self._report(losses, clock)
            if state.step == settled:  # the time left is that of steps to come, of which none is compiled
                clock.restart(state.step)
            if state.step % self.iterations == 0:
                self._collect()
                state.averages.reset()
            improved = False
            matrix: ConfusionMatrix | None = None  # scores of an earlier step would be those of other weights
            if state.step % eval_every == 0 or last:
                improved, matrix = self._evaluate()
                clock.restart(state.step)
            # A best checkpoint whose steps are forgotten would be overwritten by a worse one when they are done again.
            if improved or state.step % save_every == 0 or last:
                self._save_last(matrix)
                clock.restart(state.step)

    def _batches(self) -> Iterator[Batch]:
        solver, workers = self.config.solver, self.workers
        loader = build_train_loader(
            self.train_set,
            solver.batch_size,
            self.steps * solver.accumulate,
            self.state.step * solver.accumulate,
            self.config.data.workers,
            pin_memory=workers.device.type == "cuda",
            rank=workers.rank,
            world_size=workers.world_size,
        )
        return prefetch(loader, workers.device)

    def _add(self, losses: dict[str, Tensor]) -> None:
        """Add up the losses on the device: looking at them would make every step wait for the one before."""
        values = list(losses.values())
        if not self._sums:
            self._sums = {name: torch.zeros_like(value) for name, value in losses.items()}
        torch._foreach_add_(list(self._sums.values()), values)
        self._summed += 1

    def _collect(self) -> None:
        """Look at the losses since the last look: their mean over all processes joins the averages of the epoch."""
        if not self._summed:
            return
        sums, steps = torch.stack(list(self._sums.values())), self._summed
        self.workers.average([sums])
        means = dict(zip(self._sums, (sums / steps).tolist(), strict=True))
        self._sums, self._summed = {}, 0
        self._check_finite(means)
        self.state.averages.update(means, steps)

    def _report(self, losses: dict[str, Tensor], clock: StepClock) -> None:
        state, workers = self.state, self.workers
        steps, step_ms, data_ms = clock.lap(state.step)
        self._collect()
        values = {name: float(value) for name, value in losses.items()}
        state.averages.update({"step_ms": step_ms, "data_ms": data_ms}, steps)
        averages = state.averages.values()
        step_ms_average, data_ms_average = averages.pop("step_ms"), averages.pop("data_ms")
        epoch, iteration = divmod(state.step - 1, self.iterations)
        cuda = workers.device.type == "cuda"
        self._tell(
            StepEvent(
                epoch=epoch,
                iteration=iteration + 1,
                iterations=self.iterations,
                step=state.step,
                steps=self.steps,
                lr=float(state.schedule.get_last_lr()[0]),
                losses=values,
                averages=averages,
                step_ms=step_ms,
                step_ms_average=step_ms_average,
                data_ms=data_ms,
                data_ms_average=data_ms_average,
                max_memory_mb=torch.cuda.max_memory_allocated(workers.device) / 2**20 if cuda else 0.0,
                eta_s=1e-3 * step_ms_average * (self.steps - state.step),
                skipped=self.stepper.skipped,
            )
        )

    def _check_finite(self, losses: dict[str, float]) -> None:
        """Refuse to go on after a step whose loss was no number; the sums since the last look remember it."""
        # Under fp16 gradients overflow as a matter of course, and the scaler leaves such a step out.
        told = ("loss",) if self.state.scaler.is_enabled() else ("loss", "grad_norm")
        if all(math.isfinite(losses.get(name, 0.0)) for name in told):
            return
        raise run_errors.no_finite_loss(self.state.step, losses, self.files.directory)

    def _evaluate(self) -> tuple[bool, ConfusionMatrix]:
        """Score the average and keep it when it is the best so far; return whether it is, and its scores."""
        state = self.state
        self._settle()
        average = state.average.module
        assert isinstance(average, SegmentationModel)
        began = time.perf_counter()
        matrix, samples = evaluate(average, self.val_set, self.preprocess, self.workers, samples=SHOWN_SAMPLES)
        miou, before = matrix.mean_iou(), state.best_miou
        if math.isnan(miou):  # never better than anything: there would be no best checkpoint, and no word of why
            raise run_errors.nothing_to_score(len(self.val_set), self.labels.ignore_index)
        improved = miou > before
        if improved:
            state.best_miou = miou
            if self.workers.is_main:
                self.files.save_best(state, matrix)
        epoch, seconds = (state.step - 1) // self.iterations, time.perf_counter() - began
        self._tell(EvaluationEvent(epoch, state.step, self.steps, matrix, before, improved, samples, seconds))
        return improved, matrix

    def _save_last(self, matrix: ConfusionMatrix | None) -> None:
        self._settle()
        if self.workers.is_main:
            self.files.save_last(self.state, matrix)
        self.workers.barrier()

    def _settle(self) -> None:
        """Make the state one that may be kept: known to be good, and the same in all processes.

        BatchNorm's statistics are those of a process's own pictures; their mean is what is evaluated and saved.
        """
        self._collect()
        self.stepper.catch_up()
        modules = (self.state.model, self.state.average)
        self.workers.average([b for module in modules for b in module.buffers() if b.is_floating_point()])
        values = [t for module in modules for t in module.state_dict().values() if t.is_floating_point()]
        if not bool(torch.stack(torch._foreach_norm(values)).isfinite().all()):
            raise run_errors.no_finite_weights(self.state.step, self.files.directory)

    def _tell_start(self) -> None:
        self._tell(
            StartEvent(
                device=self.workers.device.type,
                world_size=self.workers.world_size,
                step=self.state.step,
                steps=self.steps,
                train_images=len(self.train_set),
                val_images=len(self.val_set),
                skipped=getattr(self.train_set, "skipped", 0) + getattr(self.val_set, "skipped", 0),
                parameters=sum(parameter.numel() for parameter in self.network.parameters()),
                notes=self._notes(),
            )
        )

    def _notes(self) -> tuple[str, ...]:
        """Say where the first weights come from, once, what is assumed of teachers, and what scores do not tell."""
        notes = self._distiller.notes if self._distiller is not None else ()
        if self.stepper.compiles:
            notes = (*notes, "solver.compile: the first steps take about a minute, less where torch has kept the code")
        if overlap := describe_overlap(self.train_set, self.val_set):
            notes = (*notes, overlap)
        if self.warm_start is not None:
            notes = (f"model.weights: {self.config.model.weights}: {self.warm_start}", *notes)
        return notes

    def _tell(self, event: Event) -> None:
        if self.workers.is_main:
            self.files.history(event)
            if self._listener is not None:
                self._listener(event)
