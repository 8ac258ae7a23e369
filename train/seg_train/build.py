"""The one place where a training configuration becomes objects."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from seg_core.config.schema import ModelSection, PreprocessSection, SolverSection, TrainConfig
from seg_core.errors import ConfigError, ImageError
from seg_core.label_sets import load_labels
from seg_core.labels import LabelSet
from seg_core.mask_reading import MaskReading
from seg_core.models import SegmentationModel, build_model
from seg_core.prior import even_values
from seg_core.spec import ModelSpec, PreprocessSpec
from seg_core.spec.preprocess import PRIOR_MEAN, PRIOR_STD
from seg_train.augment import Augmenter
from seg_train.data import PairDataset
from seg_train.distill import Distiller
from seg_train.evaluate import EvaluationSet
from seg_train.loader import TrainingSet
from seg_train.optim import build_average, build_optimizer, build_schedule
from seg_train.pair_source import Places, check_stems, open_source, read_stems, shared_paths
from seg_train.parallel import Workers
from seg_train.pasting import build_paster
from seg_train.priors import PriorMaker
from seg_train.reading_bar import reading_bar
from seg_train.repeats import look_at_masks, repeat_rare
from seg_train.state import RunState
from seg_train.warm_start import WarmStart, load_matching_weights


def build_labels(name: str, merge: str | None = None) -> LabelSet:
    """Return the label set of that name or file, its classes merged where `merge` names groups of them."""
    return MaskReading(load_labels(name), merge).labels


def build_specs(config: TrainConfig, labels: LabelSet) -> tuple[ModelSpec, PreprocessSpec]:
    """Return the contracts that the run's checkpoints will carry."""
    model = ModelSpec(config.model.name, labels.num_classes, config.model.in_channels, dict(config.model.options))
    return model, build_preprocess(config.preprocess, labels)


def build_preprocess(section: PreprocessSection, labels: LabelSet) -> PreprocessSpec:
    """Return the contract of a section; one with a prior gets a value a class, and its mean and std if they lack."""
    fields = section.model_dump()
    if section.prior != "none":
        fields["prior_values"] = even_values(labels.num_classes)
        colors = 1 if section.color == "gray" else 3
        if len(section.mean) == len(section.std) == colors:
            fields["mean"], fields["std"] = (*section.mean, PRIOR_MEAN), (*section.std, PRIOR_STD)
    return PreprocessSpec(**fields)


def stored_spec(spec: ModelSpec) -> ModelSpec:
    """Return `spec` as checkpoints carry it: without `pretrained`, which only matters before the first step."""
    return replace(spec, options={name: value for name, value in spec.options.items() if name != "pretrained"})


def training_spec(spec: ModelSpec) -> ModelSpec:
    """Return `spec` as it is trained: the losses enlarge the logits themselves, which is cheaper than in the network.

    Enlarging has no weights. Point refinement reads the enlarged logits and keeps them.
    """
    if not spec.options.get("upsample") or spec.options.get("point_rend"):
        return spec
    return replace(spec, options={**spec.options, "upsample": False})


def load_weights(network: SegmentationModel, section: ModelSection) -> WarmStart | None:
    """Take over into `network` what fits of the checkpoint that the configuration names; None where it names none."""
    if section.weights is None:
        return None
    return load_matching_weights(network, section.weights)


def build_network(spec: ModelSpec, preprocess: PreprocessSpec, device: torch.device) -> SegmentationModel:
    """Return the freshly initialised network on `device`; raises ConfigError when the contract does not fit it."""
    if spec.in_channels != preprocess.channels:
        raise ConfigError(
            f"model.in_channels: {spec.in_channels}, but preprocess.color {preprocess.source} has {preprocess.channels}"
        )
    network = build_model(spec)
    _check_size(network, preprocess.size_hw, "preprocess.size_hw (INPUT.SIZE)")
    if device.type == "cuda":  # NHWC kernels are the faster ones on tensor cores
        return network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
    return network.to(device)


def check_crop(network: SegmentationModel, config: TrainConfig) -> None:
    """Raise ConfigError when `network` cannot take what training shows it."""
    if config.augment.crop_hw is not None:
        _check_size(network, config.augment.crop_hw, "augment.crop_hw (INPUT.CROP)")


def _check_size(network: SegmentationModel, size_hw: tuple[int, int], key: str) -> None:
    try:
        network.check_size(size_hw)
    except ConfigError as error:
        raise ConfigError(f"{key}: {error}") from None


def synchronised(network: SegmentationModel, options: SolverSection, workers: Workers) -> SegmentationModel:
    """Return `network`, with `sync_bn` its BatchNorm over the batches of all processes; the weights stay the same."""
    if not (options.sync_bn and workers.is_parallel):
        return network
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
    assert isinstance(converted, SegmentationModel)
    return converted


def build_datasets(
    config: TrainConfig, preprocess: PreprocessSpec, labels: LabelSet
) -> tuple[PairDataset, PairDataset]:
    """Return the training set with its augmentation and the validation set without."""
    data = config.data
    for key, paths in (("data.train (DATASET.TRAIN_PATH)", data.train), ("data.val (DATASET.TEST_PATH)", data.val)):
        for path in paths:
            if not path.exists():
                raise ImageError(f"{key}: no such file or directory: {path}; expected a data set")
    stored = load_labels(data.labels)
    shared = shared_paths(data.train, data.val)
    train = Places(data.train, data.layout, "train", shared, data.on_bad)
    val = Places(data.val, data.layout, "val", shared, data.on_bad)
    swapped = read_stems(data.swap_left_right)
    train_reading = MaskReading(stored, data.merge, swapped)
    with reading_bar("reading the training set") as advance:
        train_source = open_source(train, train_reading, data.cache, advance)
    check_stems(data.swap_left_right, swapped, train_source.pairs)
    if data.repeat_rare is not None or config.augment.paste > 0:
        with reading_bar("looking for classes") as advance:
            train_source = look_at_masks(train_source, advance)
    if data.repeat_rare is not None:
        train_source = repeat_rare(train_source, data.repeat_rare)
    with reading_bar("reading the validation set") as advance:
        val_source = open_source(val, MaskReading(stored, data.merge), data.cache, advance)
    train_set = PairDataset(
        train_source,
        preprocess,
        Augmenter(config.augment, labels, preprocess.pad_value),
        config.solver.seed,
        PriorMaker(config.prior, labels) if preprocess.has_prior else None,
        reduced=data.decode == "reduced",
        paster=build_paster(config.augment, train_source),
    )
    return train_set, PairDataset(val_source, preprocess)


def check_classes(labels: LabelSet, *datasets: TrainingSet | EvaluationSet) -> None:
    """Raise ConfigError when a data set that was brought along is empty or has other classes than the configuration."""
    for dataset in datasets:
        if len(dataset) == 0:
            raise ConfigError(f"{type(dataset).__name__}: is empty; training and validation need a picture at least")
        if dataset.labels.names != labels.names or dataset.labels.ignore_index != labels.ignore_index:
            raise ConfigError(
                f"{type(dataset).__name__}: its classes are {', '.join(dataset.labels.names)}, but data.labels and "
                f"data.merge make {', '.join(labels.names)}; set those two so that they agree"
            )


def build_state(
    network: SegmentationModel,
    config: TrainConfig,
    device: torch.device,
    steps: int,
    distiller: Distiller | None = None,
) -> RunState:
    """Return a run of `steps` at step 0; of a distiller the projections learn beside the network."""
    extra = distiller if distiller is not None and distiller.trainable_parameters() else None
    learning = extra.trainable_parameters() if extra is not None else ()
    optimizer = build_optimizer(network, config.solver, fused=device.type == "cuda", extra=learning)
    return RunState(
        model=network,
        average=build_average(network, config.solver.ema_decay),
        optimizer=optimizer,
        schedule=build_schedule(optimizer, config.solver, steps),
        scaler=torch.amp.GradScaler(device.type, enabled=config.solver.precision == "fp16"),
        extra=extra,
    )
