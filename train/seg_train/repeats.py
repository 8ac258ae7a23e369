"""Show pictures with rare classes more often: repeat factors (Gupta et al., LVIS, CVPR 2019, section 5.1)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from seg_core.sample_check import Progress, in_threads
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

    Looks at the masks as `look_at_masks` does.
    """
    presence = find_presence(source)
    times = repeat_factors(presence, threshold)

    def repeated(values: list[T]) -> list[T]:
        return [value for value, count in zip(values, times, strict=True) for _ in range(count)]

    return replace(
        source,
        pairs=repeated(source.pairs),
        decoded=None if source.decoded is None else repeated(source.decoded),
        masks=None if source.masks is None else repeated(source.masks),
        presence=np.repeat(presence, times, axis=0),
    )


def find_presence(source: PairSource) -> npt.NDArray[np.bool_]:
    """Return which classes each pair's mask holds, bool (pairs, classes), looking where nobody has yet."""
    presence = look_at_masks(source).presence
    assert presence is not None
    return presence


def look_at_masks(source: PairSource, progress: Progress | None = None) -> PairSource:
    """Return `source` with its `presence`; the masks that are not in memory are read, without their pictures.

    A source that has it comes back as it is. Raises ImageError naming the mask that cannot be read.
    """
    if source.presence is not None:
        return source
    rows = []
    for done, row in enumerate(_look(source), start=1):
        rows.append(row)
        if progress is not None:
            progress(done, len(source.pairs))
    return replace(source, presence=np.stack(rows)[:, : source.reading.labels.num_classes])


def _look(source: PairSource) -> Iterable[npt.NDArray[np.bool_]]:
    if source.decoded is not None:
        return (_values(mask) for _, mask in source.decoded)
    if source.masks is not None:
        return map(_values, source.masks)
    return in_threads(lambda pair: _values(source.reading.read_mask(pair)), source.pairs)


def _values(mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    return np.bincount(mask.ravel(), minlength=256) > 0
