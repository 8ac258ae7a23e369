"""The one place where a training configuration becomes objects."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import torch

from seg_core.config.schema import ModelSection, PreprocessSection, TrainConfig
from seg_core.errors import ConfigError, SpecError
from seg_core.labels import LABEL_SETS, LabelSet
from seg_core.models import SegmentationModel, build_model
from seg_core.prior import even_values
from seg_core.spec import ModelSpec, PreprocessSpec, from_json
from seg_core.spec.preprocess import PRIOR_MEAN, PRIOR_STD
from seg_train.augment import Augmenter
from seg_train.data import PairDataset, read_stems
from seg_train.distill import Distiller
from seg_train.optim import build_average, build_optimizer, build_schedule
from seg_train.priors import PriorMaker
from seg_train.state import RunState
from seg_train.warm_start import WarmStart, load_matching_weights


def build_labels(name: str) -> LabelSet:
    """Return the built-in label set of that name, or the one in the JSON file at that path."""
    if name in LABEL_SETS:
        return LABEL_SETS[name]
    path = Path(name)
    if path.suffix != ".json":
        raise ConfigError(
            f"data.labels: unknown label set {name!r} (built in: {', '.join(LABEL_SETS)}; or a .json file)"
        )
    try:
        return from_json(LabelSet, json.loads(path.read_text(encoding="utf-8")), "labels")
    except (OSError, ValueError, SpecError) as error:
        raise ConfigError(f"data.labels: {path} cannot be used ({error})") from None


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
    network.check_size(preprocess.size_hw)
    if device.type == "cuda":  # NHWC kernels are the faster ones on tensor cores
        return network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
    return network.to(device)


def build_datasets(
    config: TrainConfig, preprocess: PreprocessSpec, labels: LabelSet
) -> tuple[PairDataset, PairDataset]:
    """Return the training set with its augmentation and the validation set without."""
    data = config.data
    train = PairDataset(
        data.train,
        preprocess,
        labels,
        Augmenter(config.augment, labels, preprocess.pad_value),
        read_stems(data.swap_left_right),
        data.cache,
        config.solver.seed,
        PriorMaker(config.prior, labels) if preprocess.has_prior else None,
    )
    return train, PairDataset(data.val, preprocess, labels, cache=data.cache)


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
