"""Average the weights of checkpoints that began alike: a model soup (Wortsman et al., ICML 2022).

Networks trained on from the same weights tend to lie in one valley of the loss, and the middle of several is often
better than each. It costs nothing at inference. Networks that began from different random weights do not average.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from seg_core.errors import CheckpointError, ConfigError
from seg_core.models.checkpoint import Checkpoint, load_checkpoint


def average_checkpoints(paths: Sequence[Path], weights: Sequence[float] | None = None) -> Checkpoint:
    """Return the checkpoint whose weights are the mean of those in `paths`, BatchNorm statistics included.

    `weights` has one positive factor a checkpoint, of which only the ratios count; all are equal by default. Contracts,
    labels and counters are those of the first. Its metrics are empty: nobody has measured it yet. Raises ConfigError
    when there are fewer than two or the factors do not fit, CheckpointError naming the file that is another network
    or has another contract.
    """
    factors = _normalised(len(paths), weights)
    checkpoints = [load_checkpoint(path) for path in paths]
    first = checkpoints[0]
    for path, other in zip(paths[1:], checkpoints[1:], strict=True):
        for part in ("model", "preprocess", "labels"):
            if getattr(other, part) != getattr(first, part):
                raise CheckpointError(f"{path}: its {part} differs from that of {paths[0]}; only equals are averaged")
    state = {name: _mean([c.state_dict[name] for c in checkpoints], factors) for name in first.state_dict}
    return replace(first, state_dict=state, metrics={}, provenance=_provenance(paths, factors, checkpoints))


def _normalised(count: int, weights: Sequence[float] | None) -> list[float]:
    if count < 2:
        raise ConfigError(f"an average needs at least two checkpoints, found {count}")
    given = list(weights) if weights else [1.0] * count
    if len(given) != count or not all(weight > 0 for weight in given) or not math.isfinite(sum(given)):
        raise ConfigError(f"weights: expected {count} positive numbers, one a checkpoint, found {given}")
    return [weight / sum(given) for weight in given]


def _mean(tensors: Sequence[Tensor], factors: Sequence[float]) -> Tensor:
    if not tensors[0].is_floating_point():  # counters of batches
        return tensors[0]
    total = torch.zeros_like(tensors[0], dtype=torch.float64)
    for tensor, factor in zip(tensors, factors, strict=True):
        total += factor * tensor.double()
    return total.to(tensors[0].dtype)


def _provenance(
    paths: Sequence[Path], factors: Sequence[float], checkpoints: Sequence[Checkpoint]
) -> dict[str, object]:
    parts = [
        {"file": path.name, "weight": round(factor, 6), "provenance": dict(checkpoint.provenance)}
        for path, factor, checkpoint in zip(paths, factors, checkpoints, strict=True)
    ]
    return {"made_by": "seg-data average", "average_of": parts}
