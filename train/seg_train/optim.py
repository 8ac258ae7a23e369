"""Optimisers by name, and the groups of parameters they treat differently."""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from seg_core.config.schema import SolverSection
from seg_core.errors import ConfigError
from seg_core.models import SegmentationModel
from seg_core.models.vision_libraries import load_timm
from seg_train.average import build_average
from seg_train.schedules import build_schedule

__all__ = ["build_average", "build_optimizer", "build_schedule", "list_optimizers", "parameter_groups"]

Group = dict[str, Any]

#: Torch's own, which have a fused CUDA step and can be recorded with it. All others are timm's, which builds its
#: "momentum", SGD as well, without one.
_TORCH: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw": torch.optim.AdamW,
    "adam": torch.optim.Adam,
    "sgd": torch.optim.SGD,
    "momentum": torch.optim.SGD,
    "nesterov": lambda groups, **options: torch.optim.SGD(groups, nesterov=True, **options),
}
_WITH_MOMENTUM = ("sgd", "momentum", "nesterov")

#: They draw random numbers of their own, so that a resumed run would not be the unbroken one.
_RANDOM = ("kron", "kronc", "kronw")


def build_optimizer(
    model: nn.Module, options: SolverSection, fused: bool, extra: Sequence[nn.Parameter] = ()
) -> torch.optim.Optimizer:
    """Return the optimiser `options.optimizer` over all parameters of `model` that learn.

    Args:
        model: The network; the rates of its parts differ where it is a SegmentationModel.
        options: `lr` and the factors of its parts, `weight_decay`, `momentum` for those that have one.
        fused: Whether torch's own take their step in one CUDA kernel.
        extra: Parameters outside the model, which learn at the heads' rate.

    Raises ConfigError naming the nearest when the name is unknown, and when the optimiser refuses the `momentum`.
    """
    groups = parameter_groups(model, options, extra)
    name = _plain(options.optimizer)
    try:
        return _create_torch(name, groups, options, fused) if name in _TORCH else _create_timm(name, groups, options)
    except ValueError as error:  # Nesterov's, in many forms, needs a momentum
        raise ConfigError(
            f"solver.optimizer: {name!r} cannot be built ({error}); change it or solver.momentum, which is "
            f"{options.momentum}"
        ) from None


def list_optimizers() -> list[str]:
    """Return the names that `SolverSection.optimizer` may have; case, "_" and "-" do not count there."""
    return [*_TORCH, *(name for name in _timm_names("a list of optimisers") if name not in _TORCH)]


def parameter_groups(model: nn.Module, options: SolverSection, extra: Sequence[nn.Parameter] = ()) -> list[Group]:
    """Return the groups of an optimiser: by rate, and by whether the weights decay.

    Biases and what normalises (one axis or none) do not decay. Parts of the same rate share their groups.
    """
    factors = {"encoder": options.lr_encoder, "decoder": options.lr_decoder, "heads": options.lr_heads}
    parts = model.parameter_groups() if isinstance(model, SegmentationModel) else {"": list(model.parameters())}
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for part, parameters in [*parts.items(), ("heads", extra)]:
        for parameter in parameters:
            if parameter.requires_grad:
                groups.setdefault((factors.get(part, 1.0), parameter.ndim > 1), []).append(parameter)
    return [
        {"params": parameters, "lr": options.lr * factor, "weight_decay": options.weight_decay if decays else 0.0}
        for (factor, decays), parameters in groups.items()
    ]


def _timm_names(feature: str) -> list[str]:
    """Return timm's optimisers that need no further package, no second derivatives and no random numbers."""
    timm_optim = _load_timm_optim(feature)
    infos = {name: timm_optim.get_optimizer_info(name) for name in timm_optim.list_optimizers() if name not in _RANDOM}
    # A class that is named by a string lies in another package, for CUDA alone.
    return [name for name, info in infos.items() if not (info.second_order or isinstance(info.opt_class, str))]


def _create_torch(name: str, groups: list[Group], options: SolverSection, fused: bool) -> torch.optim.Optimizer:
    momentum = {"momentum": options.momentum} if name in _WITH_MOMENTUM else {}
    return _TORCH[name](groups, lr=options.lr, fused=fused, **momentum)


def _create_timm(name: str, groups: list[Group], options: SolverSection) -> torch.optim.Optimizer:
    known = list_optimizers()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "adamw, sgd and adabelief are usual"
        raise ConfigError(f"solver.optimizer: unknown optimiser {options.optimizer!r}; {hint}")
    timm_optim = _load_timm_optim(f"optimiser {name!r}")
    info = timm_optim.get_optimizer_info(name)
    momentum = {"momentum": options.momentum} if info.has_momentum else {}
    return timm_optim.get_optimizer_class(name)(groups, lr=options.lr, **momentum)  # type: ignore[no-any-return]


def _load_timm_optim(feature: str) -> Any:
    load_timm(feature)
    return importlib.import_module("timm.optim")


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).lower()
