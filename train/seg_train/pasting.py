"""Lay things of one picture over another: copy-paste (Ghiasi et al., CVPR 2021, https://arxiv.org/abs/2012.07177).

Both pictures go through the same move, so a thing stays where it was in its own: in data whose pictures are framed
alike, as aligned faces are, a hat lands on a head. Pixels are cut along the labels and not blended, which that paper
found to make no difference (section 4.2).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from seg_core.config.schema import AugmentSection
from seg_core.errors import ImageError
from seg_core.labels import find_classes
from seg_train.pair_source import PairSource
from seg_train.repeats import find_presence


class Paster:
    """Draws what is laid over a picture: a class, each of the listed ones as often, and a picture that shows it."""

    def __init__(self, probability: float, classes: Sequence[int], donors: Sequence[npt.NDArray[np.int64]]) -> None:
        """Keep `donors[n]`, the indices of the pictures that show `classes[n]`, at least one each."""
        self.probability = probability
        self.classes = tuple(classes)
        self.donors = tuple(donors)

    def draw(self, rng: np.random.Generator) -> tuple[int, int] | None:
        """Return (class, index of the pair that shows it), or None where nothing is pasted this time."""
        if rng.random() >= self.probability:
            return None
        which = int(rng.integers(len(self.classes)))
        return self.classes[which], int(rng.choice(self.donors[which]))


def build_paster(options: AugmentSection, source: PairSource) -> Paster | None:
    """Return what `options` asks for, None for a probability of 0.

    Looks at the masks as `look_at_masks` does. Raises ConfigError naming the class that the data set has not, and
    ImageError naming the one that no picture shows, or the pair that cannot be read.
    """
    if options.paste == 0:
        return None
    classes = find_classes(options.paste_classes, source.reading.labels, "augment.paste_classes")
    presence = find_presence(source)
    donors = [np.flatnonzero(presence[:, index]) for index in classes]
    for name, found in zip(options.paste_classes, donors, strict=True):
        if len(found) == 0:
            raise ImageError(f"augment.paste_classes: no training picture shows {name}; leave it out")
    return Paster(options.paste, classes, donors)
