"""From masks on disk to the classes that are asked for: sides put right, classes merged."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from seg_core.label_merge import merge_labels
from seg_core.labels import LabelSet
from seg_core.samples import Reduction, SamplePair, load_pair, load_pair_mask

UInt8 = npt.NDArray[np.uint8]
Decoded = tuple[UInt8, UInt8]


class MaskReading:
    """How masks on disk become the ones asked for: `stored` classes, sides exchanged in `swapped` stems, then merged.

    `labels` is the label set that results.
    """

    def __init__(self, stored: LabelSet, merge: str | None = None, swapped: frozenset[str] = frozenset()) -> None:
        """Prepare the tables; raises ConfigError when `merge` does not fit `stored`."""
        self.stored = stored
        self.swapped = swapped
        self.labels = stored
        straight: UInt8 | None = None
        if merge is not None:
            self.labels, straight = merge_labels(stored, merge)
        swap = swap_table(stored)
        self._tables = straight, swap if straight is None else straight[swap]

    def read(self, pair: SamplePair, reduction: Reduction | None = None, known_mask: UInt8 | None = None) -> Decoded:
        """Return (image_bgr uint8 (H, W, 3), mask uint8 (H, W) of `labels`) as `load_pair` does.

        A `known_mask` is one that this has returned before.
        """
        if known_mask is not None:
            return load_pair(pair, None, reduction, known_mask)
        image_bgr, mask = load_pair(pair, self.stored, reduction)
        return image_bgr, self._translated(mask, pair)

    def read_mask(self, pair: SamplePair) -> UInt8:
        """Return the mask alone, uint8 (H, W) of `labels`, as `load_pair_mask` does."""
        return self._translated(load_pair_mask(pair, self.stored), pair)

    def _translated(self, mask: UInt8, pair: SamplePair) -> UInt8:
        table = self._tables[pair.image.stem in self.swapped]
        return mask if table is None else np.asarray(cv2.LUT(mask, table), np.uint8)


def swap_table(labels: LabelSet) -> UInt8:
    """Return the 256-entry table that exchanges the flip pairs of `labels` in a uint8 mask."""
    table = np.arange(256, dtype=np.uint8)
    for first, second in labels.flip_pairs:
        table[[first, second]] = second, first
    return table
