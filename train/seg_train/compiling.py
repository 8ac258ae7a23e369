"""How a training step is compiled: what `torch.compile` is told, and what a user may tell it beside."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from seg_core.config.schema import SolverSection
from seg_core.errors import ConfigError

#: What the compiler is told where `solver.compile_options` says nothing else. Sums over fewer elements than this become
#: plain arithmetic. Otherwise a softmax over 19 classes, whose scores lie far apart in memory, is read 8 pixels at a
#: time, which took 0.8 of 7.1 ms of a step of DDRNet-23-slim (docs/training-recipes.md).
COMPILE_OPTIONS: dict[str, Any] = {"unroll_reductions_threshold": 32}


def choose_options(options: SolverSection) -> dict[str, Any]:
    """Return the options of `torch.compile`; raises ConfigError naming the nearest where it does not know one."""
    known = torch._inductor.list_options()
    for name in options.compile_options:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "torch._inductor.list_options() names them"
            raise ConfigError(f"solver.compile_options.{name}: torch.compile knows no such option; {hint}")
    return COMPILE_OPTIONS | options.compile_options


def compile_graph(graph: nn.Module, options: SolverSection) -> Callable[..., dict[str, Tensor]]:
    """Return what `graph` computes, compiled at its first call; raises ConfigError as `choose_options` does."""
    # Products in float32 are few here, and exact where somebody asked for float32: no advice to round them.
    warnings.filterwarnings("ignore", message="TensorFloat32 tensor cores for float32")
    return torch.compile(graph, dynamic=False, options=choose_options(options))
