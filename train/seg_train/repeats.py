"""Show pictures with rare classes more often: repeat factors (Gupta et al., LVIS, CVPR 2019, section 5.1)."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from seg_core.sample_check import in_threads
from seg_core.samples import SamplePair
from seg_train.pair_source import PairSource

T = TypeVar("T")


def repeat_factors(presence: npt.NDArray[np.bool_], threshold: float) -> npt.NDArray[np.int64]:
    """Return how often each picture is shown in a pass, int64 (pictures,), at least once.

    `presence` is bool (pictures, classes). A class that is in the share f of the pictures asks for
    max(1, sqrt(threshold / f)) showings of each of them; the most demanding class of a picture decides, rounded.
    Classes that are nowhere ask for nothing.
    """
    share = presence.mean(axis=0)
    wanted = np.ones(len(share))
    seen = share > 0
    wanted[seen] = np.maximum(1.0, np.sqrt(threshold / share[seen]))
    return np.asarray(np.rint((presence * wanted).max(axis=1, initial=1.0)), np.int64)


def repeat_rare(source: PairSource, threshold: float) -> PairSource:
    """Return `source` with the pairs of rare classes repeated; what is kept in memory is shared, not copied.

    Reads all masks unless they are in memory; raises ImageError naming the pair that cannot be read.
    """
    times = repeat_factors(find_presence(source), threshold)

    def repeated(values: list[T]) -> list[T]:
        return [value for value, count in zip(values, times, strict=True) for _ in range(count)]

    return replace(
        source,
        pairs=repeated(source.pairs),
        decoded=None if source.decoded is None else repeated(source.decoded),
        masks=None if source.masks is None else repeated(source.masks),
    )


def find_presence(source: PairSource) -> npt.NDArray[np.bool_]:
    """Return which classes each pair's mask holds, bool (pairs, classes); reads the masks that are not in memory."""

    def read(pair: SamplePair) -> npt.NDArray[np.bool_]:
        return _values(source.reading.read(pair)[1])

    if source.decoded is not None:
        rows = [_values(mask) for _, mask in source.decoded]
    elif source.masks is not None:
        rows = [_values(mask) for mask in source.masks]
    else:
        rows = list(in_threads(read, source.pairs))
    return np.stack(rows)[:, : source.reading.labels.num_classes]


def _values(mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    return np.bincount(mask.ravel(), minlength=256) > 0
