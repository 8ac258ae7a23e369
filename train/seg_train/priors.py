"""What training shows a video network as the previous frame's mask: the truth, made worse in every way that counts.

At work that mask is the network's own last answer: a little elsewhere because things moved, ragged, with a class lost
or taken for another, now and then of another scene, and absent in a first frame. A network that only ever saw the
truth would copy its prior and never let go of a mistake. All changes are on labels (nearest neighbour, on OpenCV).

That single pictures and deformed masks are enough was shown by MaskTrack (Perazzi et al., "Learning Video Object
Segmentation from Static Images", CVPR 2017); for faces on phones by Tkachenka et al. ("Real-time Hair Segmentation and
Recoloring on Mobile GPUs", 2019), who drop and move the previous mask as well.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from seg_core.config.schema import PriorSection
from seg_core.labels import LabelSet
from seg_core.prior import UNKNOWN

UInt8 = npt.NDArray[np.uint8]

#: How many classes of a mask grow or shrink at once, at most.
_MORPHED_CLASSES = 3


class PriorMaker:
    """Draw the previous label map of a training pair as a PriorSection says."""

    def __init__(self, options: PriorSection, labels: LabelSet) -> None:
        """Remember what may happen; pixels that `labels` ignores are unknown in every prior."""
        self.options = options
        self._known = np.arange(256, dtype=np.uint8)
        self._known[labels.num_classes :] = UNKNOWN
        self._known[labels.ignore_index] = UNKNOWN

    def __call__(self, target: UInt8, rng: np.random.Generator) -> UInt8 | None:
        """Return the previous label map of `target` uint8 (h, w) with UNKNOWN where it says nothing, None for none.

        Equal states of `rng` give equal maps; `target` stays as it is.
        """
        options = self.options
        if rng.random() < options.drop:
            return None
        prior = np.asarray(cv2.LUT(np.ascontiguousarray(target), self._known), np.uint8)
        if rng.random() < options.wrong:
            return _another_scene(prior, rng)
        if rng.random() >= options.perturb:
            return prior
        prior = self._move(prior, rng)
        for chance, change in (
            (options.morph, self._morph),
            (options.coarse, _coarsen),
            (options.confuse, _confuse),
            (options.occlude, _occlude),
        ):
            if rng.random() < chance:
                prior = change(prior, rng)
        return prior

    def _move(self, prior: UInt8, rng: np.random.Generator) -> UInt8:
        """Shift, turn and zoom about the centre; frames follow closely, so small moves are drawn far more often."""
        options = self.options
        height, width = prior.shape
        strength = float(rng.random()) ** 2
        shift_x, shift_y, turn, grow = (strength * rng.uniform(-1.0, 1.0, 4)).tolist()
        zoom = math.exp(grow * math.log(options.zoom))
        angle = math.radians(turn * options.rotate_deg)
        cos, sin = zoom * math.cos(angle), zoom * math.sin(angle)
        x, y = (width - 1) / 2, (height - 1) / 2
        matrix = np.array(
            [
                [cos, -sin, x - cos * x + sin * y + shift_x * options.shift * width],
                [sin, cos, y - sin * x - cos * y + shift_y * options.shift * height],
            ]
        )
        moved = cv2.warpAffine(prior, matrix, (width, height), flags=cv2.INTER_NEAREST, borderValue=(UNKNOWN,))
        return np.asarray(moved, np.uint8)

    def _morph(self, prior: UInt8, rng: np.random.Generator) -> UInt8:
        """Let some classes grow over their neighbours, and others shrink in favour of theirs."""
        present = _present(prior)
        if not present.size:
            return prior
        prior = prior.copy()
        for label in rng.choice(present, min(_MORPHED_CLASSES, present.size), replace=False):
            radius = max(1, round(self.options.morph_px * float(rng.random()) ** 2))
            grows = rng.random() < 0.5
            inside = (prior == label).view(np.uint8)
            left, top, width, height = cv2.boundingRect(inside)
            # Most classes are small: all of this happens in and around their box alone.
            near = (
                slice(max(0, top - radius), top + height + radius),
                slice(max(0, left - radius), left + width + radius),
            )
            kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
            (_grow if grows else _shrink)(prior[near], inside[near], int(label), kernel)
        return prior


def _present(prior: UInt8) -> npt.NDArray[np.int64]:
    # Every other row and column is enough to find what is worth changing.
    return np.flatnonzero(np.bincount(prior[::2, ::2].ravel(), minlength=256)[:UNKNOWN])


def _grow(prior: UInt8, inside: npt.NDArray[Any], label: int, kernel: npt.NDArray[Any]) -> None:
    """Let the pixels `inside` (1, others 0) of `prior` take their surroundings, in place."""
    prior[cv2.dilate(inside, kernel) != 0] = label


def _shrink(prior: UInt8, inside: npt.NDArray[Any], _label: int, kernel: npt.NDArray[Any]) -> None:
    """Give the rim of `inside` to the greatest of the labels around it, or to UNKNOWN where there is no other."""
    rim = cv2.erode(inside, kernel) != inside
    # One higher, so that 0 means nothing: UNKNOWN wraps round to it and back.
    others = np.asarray(cv2.dilate(np.where(inside != 0, np.uint8(0), prior + np.uint8(1)), kernel), np.uint8)
    prior[rim] = others[rim] - np.uint8(1)


def _coarsen(prior: UInt8, rng: np.random.Generator) -> UInt8:
    """Keep what a mask of a lower resolution would."""
    height, width = prior.shape
    factor = int(rng.integers(2, 9))
    small = cv2.resize(
        prior, (max(1, width // factor), max(1, height // factor)), interpolation=cv2.INTER_NEAREST_EXACT
    )
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)


def _confuse(prior: UInt8, rng: np.random.Generator) -> UInt8:
    """Take one class for another one that is there, or forget it."""
    present = _present(prior)
    if not present.size:
        return prior
    table = np.arange(256, dtype=np.uint8)
    table[rng.choice(present)] = rng.choice(np.append(present, UNKNOWN))
    return np.asarray(cv2.LUT(prior, table), np.uint8)


def _occlude(prior: UInt8, rng: np.random.Generator) -> UInt8:
    """Lay an ellipse of one class, or of nothing known, over the mask."""
    height, width = prior.shape
    centre = (int(rng.integers(0, width)), int(rng.integers(0, height)))
    axes = (max(1, int(width * rng.uniform(0.03, 0.2))), max(1, int(height * rng.uniform(0.03, 0.2))))
    label = int(rng.choice(np.append(_present(prior), UNKNOWN)))
    return np.asarray(
        cv2.ellipse(prior.copy(), centre, axes, float(rng.uniform(0, 180)), 0, 360, (label,), -1), np.uint8
    )


def _another_scene(prior: UInt8, rng: np.random.Generator) -> UInt8:
    """Return what may be left of a scene before a cut: the same classes in other places."""
    height, width = prior.shape
    rolled = np.roll(prior, (int(rng.integers(height // 4, height // 2 + 1)), int(rng.integers(0, width))), (0, 1))
    return np.ascontiguousarray(rolled[::-1] if rng.random() < 0.5 else rolled)
