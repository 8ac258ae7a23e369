"""The one place where a training configuration becomes objects."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import torch

from seg_core.config.schema import TrainConfig
from seg_core.errors import ConfigError, SpecError
from seg_core.labels import LABEL_SETS, LabelSet
from seg_core.models import SegmentationModel, build_model
from seg_core.spec import ModelSpec, PreprocessSpec, from_json
from seg_train.augment import Augmenter
from seg_train.data import PairDataset, read_stems
from seg_train.optim import build_average, build_optimizer, build_schedule
from seg_train.state import RunState


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
    return model, PreprocessSpec(**config.preprocess.model_dump())


def stored_spec(spec: ModelSpec) -> ModelSpec:
    """Return `spec` as checkpoints carry it: without `pretrained`, which only matters before the first step."""
    return replace(spec, options={name: value for name, value in spec.options.items() if name != "pretrained"})


def build_network(spec: ModelSpec, preprocess: PreprocessSpec, device: torch.device) -> SegmentationModel:
    """Return the freshly initialised network on `device`; raises ConfigError when the contract does not fit it."""
    if spec.in_channels != preprocess.channels:
        raise ConfigError(
            f"model.in_channels: {spec.in_channels}, but preprocess.color {preprocess.color} has {preprocess.channels}"
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
    )
    return train, PairDataset(data.val, preprocess, labels, cache=data.cache)


def build_state(network: SegmentationModel, config: TrainConfig, device: torch.device) -> RunState:
    """Return a run at step 0."""
    optimizer = build_optimizer(network, config.solver, fused=device.type == "cuda")
    return RunState(
        model=network,
        average=build_average(network, config.solver.ema_decay),
        optimizer=optimizer,
        schedule=build_schedule(optimizer, config.solver),
        scaler=torch.amp.GradScaler(device.type, enabled=config.solver.precision == "fp16"),
    )


def build_device(name: str) -> torch.device:
    """Return the device of that name, the GPU for "auto" where there is one; raises ConfigError without CUDA."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device: 'cuda' was asked for but torch sees no CUDA device; use device=cpu or device=auto")
    return torch.device(name)
