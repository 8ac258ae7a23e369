"""How far a score on a data set would move with other pictures of the same kind: the bootstrap over pictures.

A mean IoU is computed from areas summed over a data set, so no formula gives its spread. The bootstrap (Efron, Annals
of Statistics 1979) draws data sets of the same size from the pictures at hand, with replacement, and scores each.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from seg_core.errors import SegError

Areas = npt.NDArray[np.int64]

#: Data sets drawn; the ends of a 95 % interval then rest on 50 of them each.
RESAMPLES = 2000


class Interval(NamedTuple):
    """The range that holds a score in the share `level` of the data sets drawn."""

    low: float
    high: float
    level: float


def miou_interval(intersections: Areas, unions: Areas, level: float = 0.95, seed: int = 0) -> Interval | None:
    """Return the percentile interval of the mean IoU, None for fewer than two pictures or without any score.

    Both are int64 (images, num_classes), pixels of each picture as `ConfusionMatrix` counts them; a class to be left
    out has unions of 0. A drawn data set is scored as a whole one is: classes that are in none of its pictures stay
    out of its mean. The same `seed` gives the same interval. It tells of the choice of pictures and nothing of another
    training run. Raises SegError when the shapes are others or `level` is not between 0 and 1.
    """
    if intersections.ndim != 2 or intersections.shape != unions.shape:
        raise SegError(
            f"bootstrap: expected two arrays (images, classes), found {intersections.shape} and {unions.shape}"
        )
    if not 0 < level < 1:
        raise SegError(f"bootstrap: expected a level between 0 and 1, found {level}")
    images = len(unions)
    if images < 2 or not unions.any():
        return None
    times = np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), size=RESAMPLES)
    # Floats are exact up to 2**53 pixels, and multiplied by BLAS.
    whole, shared = (times.astype(np.float64) @ areas.astype(np.float64) for areas in (unions, intersections))
    present = whole > 0
    iou = np.divide(shared, whole, out=np.zeros_like(whole), where=present)
    scored = present.any(axis=1)
    means = iou[scored].sum(axis=1) / present[scored].sum(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), level)
