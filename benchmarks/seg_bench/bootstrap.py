"""How far scores would move with other pictures, or clips, of the same kind: the bootstrap.

Scores here come from counts summed over a data set, so no formula gives their spread. The bootstrap (Efron, Annals of
Statistics 1979) draws data sets of the same size from the pieces at hand, with replacement, and scores each. It tells
of the choice of pieces and nothing of another training run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

#: Data sets drawn, and the seed of the drawing: the same pieces give the same intervals.
RESAMPLES = 1000
SEED = 0


def without_nan(scores: Mapping[str, float]) -> dict[str, float | None]:
    """Return `scores` with None for NaN, which JSON has not."""
    return {name: None if np.isnan(value) else value for name, value in scores.items()}


def intervals_95(score: Callable[[Sequence[int]], Mapping[str, float]], pieces: int) -> dict[str, list[float]]:
    """Return [low, high] of what `score` names, as "<name>_95": the middle 95 % over the data sets drawn.

    `score` is told the indices of the pieces that make up a data set, where one may stand several times. Nothing is
    returned for fewer than two pieces, nor for a score that is NaN on any data set drawn.
    """
    if pieces < 2:
        return {}
    draws = np.random.default_rng(SEED).integers(0, pieces, (RESAMPLES, pieces)).tolist()
    scored = [score(draw) for draw in draws]
    columns = {name: [scores[name] for scores in scored] for name in scored[0]}
    return {
        f"{name}_95": np.quantile(values, (0.025, 0.975)).tolist()
        for name, values in columns.items()
        if not np.isnan(values).any()
    }
