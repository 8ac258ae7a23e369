"""How fast training steps are: variants of one configuration measured in turns, in one process a GPU.

What is timed is the engine's own step: forward, losses, backward, clipping, optimiser, schedule and moving average.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch

from seg_core.config.schema import SolverSection, TrainConfig
from seg_train import build
from seg_train.checked_items import Batch
from seg_train.distill import build_distiller
from seg_train.graph import TrainingGraph
from seg_train.loader import TrainingSet, build_train_loader, prefetch
from seg_train.losses import SegmentationLoss
from seg_train.parallel import Workers
from seg_train.stepper import Stepper, set_determinism

#: Variants by name, as changes to the solver; the first is what the others are compared with.
VARIANTS: dict[str, dict[str, Any]] = {
    "eager fp32": {"precision": "fp32", "compile": "off"},
    "eager bf16": {"precision": "bf16", "compile": "off"},
    "compiled bf16": {"precision": "bf16", "compile": "default"},
    "compiled bf16, CUDA graphs": {"precision": "bf16", "compile": "cuda_graphs"},
    "compiled bf16, CUDA graphs, combined kernels": {
        "precision": "bf16",
        "compile": "cuda_graphs",
        "compile_options": {"combo_kernels": True},
    },
}

#: Steps that a loader feeds before it is measured: its processes start and fill their queues, which no long run sees.
WARM_STEPS = 40

LOADER = "loader alone"


@dataclass(frozen=True)
class Speed:
    """Times of one variant: the median over rounds of the mean step, the rounds, and images a second on all GPUs."""

    name: str
    step_ms: float
    rounds_ms: tuple[float, ...]
    images_per_s: float
    max_memory_mb: float
    warmup_s: float

    def to_json(self) -> dict[str, object]:
        """Return the fields as JSON."""
        return asdict(self)


class _Lane:
    """One variant, built and warmed up."""

    def __init__(self, name: str, config: TrainConfig, solver: SolverSection, workers: Workers) -> None:
        self.name = name
        torch.manual_seed(solver.seed)
        labels = build.build_labels(config.data.labels, config.data.merge)
        spec, preprocess = build.build_specs(config, labels)
        network = build.build_network(build.training_spec(spec), preprocess, workers.device).train()
        network = build.synchronised(network, solver, workers)
        loss = SegmentationLoss(config.loss, labels.ignore_index, labels.num_classes)
        distiller = build_distiller(config.distill, network, labels, preprocess, config.data.merge)
        state = build.build_state(
            network, config.model_copy(update={"solver": solver}), workers.device, solver.steps, distiller
        )
        graph = TrainingGraph(network, loss, preprocess, distiller).to(workers.device)
        self.stepper = Stepper(graph, state, solver, workers)
        self.rounds_ms: list[float] = []

    def measure(self, batches: Iterator[Batch], steps: int, workers: Workers) -> float:
        """Take `steps` steps and return the mean time of one in ms."""
        _synchronise(workers)
        workers.barrier()
        began = time.perf_counter()
        for _ in range(steps):
            self.stepper.step(batches)
        _synchronise(workers)
        return 1e3 * (time.perf_counter() - began) / steps


def measure_steps(
    config: TrainConfig, workers: Workers, names: list[str], rounds: int = 5, steps: int = 50, warmup: int = 12
) -> list[Speed]:
    """Measure the variants `names` on drawn batches that lie on the device, in turns.

    Images are as large as training sees them (`augment.crop_hw`, or the contract's size).
    """
    set_determinism(config.solver)
    batch = _drawn_batch(config, workers)
    lanes, speeds = [], []
    empty = _reset_memory(workers)
    for name in names:
        solver = config.solver.model_copy(update=VARIANTS[name])
        held_by_others = _reset_memory(workers) - empty
        lane = _Lane(name, config, solver, workers)
        began = time.perf_counter()
        lane.measure(_endless(batch), warmup, workers)
        lanes.append((lane, time.perf_counter() - began, _memory_mb(workers) - held_by_others))
    for _ in range(rounds):
        for lane, _, _ in lanes:
            lane.rounds_ms.append(lane.measure(_endless(batch), steps, workers))
    for lane, warmup_s, memory_mb in lanes:
        lane.stepper.close()
        step_ms = statistics.median(lane.rounds_ms)
        speeds.append(_speed(lane.name, step_ms, lane.rounds_ms, config, workers, memory_mb, warmup_s))
    return speeds


def measure_loading(
    config: TrainConfig, workers: Workers, name: str, dataset: TrainingSet, rounds: int = 3, steps: int = 100
) -> list[Speed]:
    """Measure the variant `name` fed from `dataset`, in turns with drawn batches, and the loader by itself.

    Returns the speeds "drawn batches", "from files" and "loader alone".
    """
    set_determinism(config.solver)
    solver = config.solver.model_copy(update=VARIANTS[name])
    lane = _Lane(name, config, solver, workers)
    drawn = _drawn_batch(config, workers)
    lane.measure(_endless(drawn), 12, workers)
    found: dict[str, list[float]] = {"drawn batches": [], "from files": [], LOADER: []}
    for _ in range(rounds):
        found["drawn batches"].append(lane.measure(_endless(drawn), steps, workers))
        for kind, take in (("from files", lane.measure), (LOADER, _draining(config))):
            found[kind].append(_once_warm(take, config, dataset, workers, steps))
    memory_mb = _memory_mb(workers)
    lane.stepper.close()
    return [
        _speed(kind, statistics.median(times), times, config, workers, memory_mb, 0.0) for kind, times in found.items()
    ]


def measure_loader(
    config: TrainConfig, workers: Workers, dataset: TrainingSet, rounds: int = 3, steps: int = 100
) -> Speed:
    """Measure how fast batches of `dataset` arrive on the device when nothing else is done."""
    times = [_once_warm(_draining(config), config, dataset, workers, steps) for _ in range(rounds)]
    return _speed(LOADER, statistics.median(times), times, config, workers, 0.0, 0.0)


def _once_warm(
    take: Callable[[Iterator[Batch], int, Workers], float],
    config: TrainConfig,
    dataset: TrainingSet,
    workers: Workers,
    steps: int,
) -> float:
    """Return what `take` measures over `steps` steps fed by a loader whose processes have started and filled queues."""
    batches = _loaded(config, dataset, workers, WARM_STEPS + steps)
    take(batches, WARM_STEPS, workers)
    return take(batches, steps, workers)


def _loaded(config: TrainConfig, dataset: TrainingSet, workers: Workers, steps: int) -> Iterator[Batch]:
    loader = build_train_loader(
        dataset,
        config.solver.batch_size,
        steps * config.solver.accumulate,
        workers=config.data.workers,
        pin_memory=workers.device.type == "cuda",
        rank=workers.rank,
        world_size=workers.world_size,
    )
    return prefetch(loader, workers.device)


def _draining(config: TrainConfig) -> Callable[[Iterator[Batch], int, Workers], float]:
    """Return what takes the batches of steps without taking the steps, and gives the mean time of one step's in ms."""

    def drain(batches: Iterator[Batch], steps: int, workers: Workers) -> float:
        began = time.perf_counter()
        for _ in range(steps * config.solver.accumulate):
            next(batches)
        _synchronise(workers)
        return 1e3 * (time.perf_counter() - began) / steps

    return drain


def _drawn_batch(config: TrainConfig, workers: Workers) -> Batch:
    """Return noise in patches of 8 by 8 pixels, labels alike: gradients of every class, at no cost of loading."""
    labels = build.build_labels(config.data.labels, config.data.merge)
    _, preprocess = build.build_specs(config, labels)
    height, width = config.augment.crop_hw or preprocess.size_hw
    generator = torch.Generator().manual_seed(config.solver.seed + workers.rank)
    count, cells = config.solver.batch_size, (-(-height // 8), -(-width // 8))
    image = torch.randint(0, 256, (count, height, width, preprocess.channels), dtype=torch.uint8, generator=generator)
    target = torch.randint(0, labels.num_classes, (count, *cells), dtype=torch.uint8, generator=generator)
    target = target.repeat_interleave(8, dim=1).repeat_interleave(8, dim=2)[:, :height, :width].contiguous()
    return image.to(workers.device), target.to(workers.device)


def _endless(batch: Batch) -> Iterator[Batch]:
    while True:
        yield batch


def _speed(
    name: str,
    step_ms: float,
    rounds_ms: list[float],
    config: TrainConfig,
    workers: Workers,
    memory_mb: float,
    warmup_s: float,
) -> Speed:
    images = config.solver.batch_size * config.solver.accumulate * workers.world_size
    rounded = tuple(round(value, 3) for value in rounds_ms)
    return Speed(
        name, round(step_ms, 3), rounded, round(1e3 * images / step_ms, 1), round(memory_mb), round(warmup_s, 1)
    )


def _synchronise(workers: Workers) -> None:
    if workers.device.type == "cuda":
        torch.cuda.synchronize(workers.device)


def _reset_memory(workers: Workers) -> float:
    """Let the peak begin anew; return how much is held now, in MiB."""
    if workers.device.type != "cuda":
        return 0.0
    torch.cuda.reset_peak_memory_stats(workers.device)
    return torch.cuda.memory_allocated(workers.device) / 2**20


def _memory_mb(workers: Workers) -> float:
    return torch.cuda.max_memory_allocated(workers.device) / 2**20 if workers.device.type == "cuda" else 0.0
