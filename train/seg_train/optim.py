"""Optimiser, learning-rate schedule and moving average, from torch itself."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from seg_core.config.schema import SolverSection

Tensors = tuple[torch.Tensor, ...] | list[torch.Tensor]


def build_optimizer(model: nn.Module, options: SolverSection, fused: bool) -> torch.optim.Optimizer:
    """Return AdamW (Loshchilov and Hutter 2019) with weight decay on matrices and kernels alone.

    Biases and normalisation parameters (one axis) do not decay. `fused` asks for the one-kernel step of CUDA.
    """
    decayed = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    plain = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": options.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=options.lr, fused=fused)


def build_schedule(optimizer: torch.optim.Optimizer, options: SolverSection) -> torch.optim.lr_scheduler.LambdaLR:
    """Return linear warm-up to the full rate, then half a cosine to 0 at the last step."""
    warmup = min(options.warmup_steps, options.steps // 2)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        progress = (step - warmup) / max(1, options.steps - warmup)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def build_average(model: nn.Module, decay: float) -> AveragedModel:
    """Return the exponential moving average of `model`, BatchNorm statistics included.

    The decay grows from 0 as (1 + n) / (10 + n) up to `decay`, so that a short run is not judged by its
    initial weights.
    """

    @torch.no_grad()
    def average(averaged: Tensors, current: Tensors, count: torch.Tensor | int) -> None:
        steps = int(count)
        weight = 1 - min(decay, (1 + steps) / (10 + steps))
        if averaged[0].is_floating_point():  # torch calls once a device and dtype
            torch._foreach_lerp_(averaged, current, weight)
            return
        for target, source in zip(averaged, current, strict=True):
            target.copy_(source)

    return AveragedModel(model, multi_avg_fn=average, use_buffers=True)
