"""A rehearsal of a run: everything its configuration names is built and one batch goes through, before hours do."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from seg_core.config.schema import TrainConfig
from seg_core.errors import SegError
from seg_core.images import save_image
from seg_core.labels import LabelSet
from seg_core.spec import PreprocessSpec
from seg_train import build
from seg_train.distill import build_distiller
from seg_train.graph import TrainingGraph
from seg_train.losses import SegmentationLoss
from seg_train.memory import peak_memory_mb
from seg_train.optim import build_optimizer
from seg_train.overlap import describe_overlap
from seg_train.parallel import Workers, build_device
from seg_train.pictures import displayed, draw_batch
from seg_train.stepper import check_options
from seg_train.tensorboard_log import require_tensorboard

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
Batch = tuple[Tensor, Tensor]

#: Pictures of a batch that are drawn at most.
MOST_SHOWN = 32


@dataclass
class Rehearsal:
    """What was built and what one step did.

    `heads` are shapes of logits by head, `losses` those of the last step, `stage_ms` the time of each stage of that
    step; teachers count with the loss. `memory_mb` is the peak of the GPU's memory in MiB, or of the whole process
    where there is none. `train_images` and `val_images` are None for drawn pictures. `notes` say what is assumed of
    teachers, and whether validation shows training images.
    """

    device: str
    model: str
    classes: tuple[str, ...]
    parameters: int
    batch_shape: tuple[int, ...] = ()
    train_images: int | None = None
    val_images: int | None = None
    weights: str | None = None
    notes: tuple[str, ...] = ()
    heads: dict[str, tuple[int, ...]] = field(default_factory=dict)
    losses: dict[str, float] = field(default_factory=dict)
    stage_ms: dict[str, float] = field(default_factory=dict)
    memory_mb: float = 0.0


def rehearse(config: TrainConfig, synthetic: bool = False, steps: int = 1, show: Path | None = None) -> Rehearsal:
    """Build the run of `config`, take `steps` steps and look at one picture as evaluation does.

    With `synthetic` pictures and labels are drawn and no data set is opened. Nothing is written but `show`, a picture
    of the batch. Raises SegError in one line, the same one that training of one process would end with.
    """
    if config.tensorboard:
        require_tensorboard()
    device = build_device(config.device)
    watch = _Watch(device)
    torch.manual_seed(config.solver.seed)
    labels = build.build_labels(config.data.labels, config.data.merge)
    spec, preprocess = build.build_specs(config, labels)
    network = build.build_network(build.training_spec(spec), preprocess, device)
    build.check_crop(network, config)
    result = Rehearsal(
        device.type, spec.name, labels.names, sum(parameter.numel() for parameter in network.parameters())
    )
    start = build.load_weights(network, config.model)
    result.weights = str(start) if start else None
    loss = SegmentationLoss(config.loss, labels.ignore_index, labels.num_classes)
    distiller = build_distiller(config.distill, network, labels, preprocess, config.data.merge)
    result.notes = distiller.notes if distiller is not None else ()
    graph = TrainingGraph(network, loss, preprocess, distiller).to(device)
    watch.stop("build")
    if synthetic:
        batch = _draw_batch(config, preprocess, labels)
        watch.stop("draw batch")
    else:
        batch = _read_batch(config, preprocess, labels, watch, result)
    result.batch_shape = tuple(batch[0].shape)
    if show is not None:
        _show(show, batch, preprocess, labels)
        watch.restart()
    _take_steps(graph, config, batch, steps, watch, result)
    with torch.inference_mode():
        graph.eval()
        network(torch.zeros((1, preprocess.channels, *preprocess.size_hw), device=device))
    watch.stop("evaluate one")
    result.stage_ms = watch.stage_ms
    result.memory_mb = peak_memory_mb(device)
    return result


def _take_steps(
    graph: TrainingGraph, config: TrainConfig, batch: Batch, steps: int, watch: _Watch, result: Rehearsal
) -> None:
    device = torch.device(result.device)
    extra = graph.distiller.trainable_parameters() if graph.distiller else []
    optimizer = build_optimizer(graph.network, config.solver, device.type == "cuda", extra)
    check_options(config.solver, Workers(0, 1, device), optimizer)

    def before_loss(_module: torch.nn.Module, inputs: tuple[dict[str, Tensor], Tensor]) -> None:
        watch.stop("forward")
        result.heads = {name: tuple(logits.shape) for name, logits in inputs[0].items()}

    hook = graph.loss.register_forward_pre_hook(before_loss)
    graph.train()
    precision = config.solver.precision
    for _ in range(steps):
        watch.restart()
        image, target = batch[0].to(device), batch[1].to(device)
        watch.stop("to device")
        with torch.autocast(device.type, _DTYPES[precision], enabled=precision != "fp32"):
            losses: dict[str, Tensor] = graph(image, target)
        watch.stop("loss")
        torch.autograd.backward(losses["loss"])
        watch.stop("backward")
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        watch.stop("optimizer")
        result.losses = {name: float(value.detach()) for name, value in losses.items()}
        watch.restart()
    hook.remove()
    if not all(value - value == 0 for value in result.losses.values()):
        raise SegError(
            f"the loss of one batch is not a number ({result.losses}); lower solver.lr or use precision fp32"
        )


def _draw_batch(config: TrainConfig, preprocess: PreprocessSpec, labels: LabelSet) -> Batch:
    """Return noise with stripes of every class: uint8 (N, h, w, C) and (N, h, w)."""
    height, width = config.augment.crop_hw or preprocess.size_hw
    generator = torch.Generator().manual_seed(config.solver.seed)
    shape = (config.solver.batch_size, height, width)
    image = torch.randint(0, 256, (*shape, preprocess.channels), generator=generator, dtype=torch.uint8)
    rows = torch.arange(height) * labels.num_classes // height
    target = rows.to(torch.uint8)[None, :, None].expand(shape).contiguous()
    return image, target


def _read_batch(
    config: TrainConfig, preprocess: PreprocessSpec, labels: LabelSet, watch: _Watch, result: Rehearsal
) -> Batch:
    train_set, val_set = build.build_datasets(config, preprocess, labels)
    watch.stop("open data")
    result.train_images, result.val_images = len(train_set), len(val_set)
    if overlap := describe_overlap(train_set, val_set):
        result.notes = (*result.notes, overlap)
    items = [train_set[(place, place % len(train_set))] for place in range(config.solver.batch_size)]
    batch = torch.stack([image for image, _ in items]), torch.stack([target for _, target in items])
    watch.stop("read batch")
    _ = val_set[0]  # reading one tells whether it can be read
    return batch


def _show(path: Path, batch: Batch, preprocess: PreprocessSpec, labels: LabelSet) -> None:
    shown = slice(0, MOST_SHOWN)
    images = [displayed(image.numpy(), preprocess) for image in batch[0][shown]]
    save_image(path, draw_batch(images, [target.numpy() for target in batch[1][shown]], labels))


class _Watch:
    """Times of stages in ms, each from the end of the one before; a GPU's queue is emptied at every end."""

    def __init__(self, device: torch.device) -> None:
        self.stage_ms: dict[str, float] = {}
        self._device = device
        self._began = time.perf_counter()

    def restart(self) -> None:
        self._wait()
        self._began = time.perf_counter()

    def stop(self, stage: str) -> None:
        self._wait()
        now = time.perf_counter()
        self.stage_ms[stage] = 1e3 * (now - self._began)
        self._began = now

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
