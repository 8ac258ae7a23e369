"""How the learning rate moves over a run, as factors of the configured rate."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from seg_core.config.schema import SolverSection

#: The one-cycle policy's share of rising steps and its depths below the full rate, as torch's OneCycleLR has them.
ONE_CYCLE_RISE = 0.3
ONE_CYCLE_START = 1 / 25
ONE_CYCLE_END = 1e-4


def build_schedule(
    optimizer: torch.optim.Optimizer, options: SolverSection, steps: int
) -> torch.optim.lr_scheduler.LambdaLR:
    """Return the schedule of a run of `steps` steps of `optimizer`; call its `step` once after each.

    Every group keeps its own share of the rate. What has to be saved is the number of steps alone, so that a resumed
    run goes on with the same rates.
    """
    return torch.optim.lr_scheduler.LambdaLR(optimizer, build_factor(options, steps))


def build_factor(options: SolverSection, steps: int) -> Callable[[int], float]:
    """Return the function from the step, counted from 0, to the factor of the full rate."""
    if options.schedule == "one_cycle":
        return _one_cycle(steps, options.warmup_lr / options.lr or ONE_CYCLE_START)
    warmup = min(options.warmup_steps, steps // 2)
    # Without a rate to begin at, the first of even stairs: a step at a rate of 0 would be wasted.
    start = options.warmup_lr / options.lr or 1 / max(1, warmup)

    def fall(progress: float) -> float:
        if options.schedule == "cosine":
            return 0.5 * (1 + math.cos(math.pi * progress))
        if options.schedule == "poly":
            return float((1 - progress) ** options.poly_power)
        return 1.0

    def factor(step: int) -> float:
        if step < warmup:
            return start + (1 - start) * step / max(1, warmup - 1)
        return fall(min(1.0, (step - warmup) / max(1, steps - warmup)))

    return factor


def _one_cycle(steps: int, start: float) -> Callable[[int], float]:
    """Return the policy of Smith and Topin (2018, https://arxiv.org/abs/1708.07120), its halves cosines.

    The momentum stays as it is, which their policy moves the other way.
    """
    top, last = ONE_CYCLE_RISE * steps - 1, steps - 1
    end = start * ONE_CYCLE_END

    def factor(step: int) -> float:
        if step <= top:
            return _cosine(start, 1.0, step / top if top > 0 else 1.0)
        return _cosine(1.0, end, min(1.0, (step - top) / max(1.0, last - top)))

    return factor


def _cosine(begin: float, end: float, progress: float) -> float:
    return end + (begin - end) * 0.5 * (1 + math.cos(math.pi * progress))
