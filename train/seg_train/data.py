"""From pairs of image and mask to what a step takes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from seg_core.geometry import plan_geometry
from seg_core.mask_reading import Decoded
from seg_core.preprocessing import Preprocessor
from seg_core.samples import Reduction
from seg_core.spec import PreprocessSpec
from seg_train.augment import Augmenter, Move, allowed_reduction, contract_matrix
from seg_train.pair_source import PairSource
from seg_train.pasting import Paster
from seg_train.priors import PriorMaker

#: A place in the endless stream of training samples, and the pair that is shown there.
Draw = tuple[int, int]


class PairDataset(Dataset[tuple[Tensor, Tensor]]):
    """Image and mask pairs as network tensors.

    With an `augmenter` items are keyed by `Draw` and depend on (seed, position) alone, whichever worker
    makes them; without one they are what evaluation sees. Images are uint8 (h, w, C) in the contract's channel
    order, not yet normalised (a quarter of the bytes to move; the training graph does it where it runs); targets
    are uint8 (h, w) with `labels.ignore_index` where nothing is known. `skipped` counts the files that were left out,
    `problems` says why; `swapped` are the stems of images whose masks have left and right exchanged on reading.
    """

    def __init__(
        self,
        source: PairSource,
        spec: PreprocessSpec,
        augmenter: Augmenter | None = None,
        seed: int = 0,
        priors: PriorMaker | None = None,
        reduced: bool = False,
        paster: Paster | None = None,
    ) -> None:
        """Show the pairs of `source` as `spec` asks for; `reduced` decodes JPEGs as small as the zoom allows.

        What `paster` draws of other pictures is laid over each before its colours are changed.
        """
        self.pairs = source.pairs
        self.problems = source.problems
        self.skipped = len(source.problems)
        self.labels = source.reading.labels
        self.swapped = source.reading.swapped
        self.seed = seed
        self._source = source
        self._preprocess = Preprocessor(spec)
        crop_hw = augmenter.options.crop_hw if augmenter is not None else None
        self._shown = self._preprocess if crop_hw is None else Preprocessor(replace(spec, size_hw=crop_hw))
        self._augmenter = augmenter
        self._priors = priors
        self._reduced = reduced
        self._paster = paster

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, draw: Draw | int) -> tuple[Tensor, Tensor]:
        position, index = draw if isinstance(draw, tuple) else (0, draw)
        if self._augmenter is None:
            image_bgr, mask = self._decoded(index)
            canvas, geometry = self._preprocess.to_canvas(image_bgr)
            target = self._preprocess.resize_mask(mask, geometry, self.labels.ignore_index)
            prior = None  # a single picture has no frame before it, and that is what evaluation sees
        else:
            rng = np.random.default_rng((self.seed, position))
            canvas, target = self._augmented(self._augmenter, index, rng)
            prior = self._priors(target, rng) if self._priors is not None else None
        pixels = self._shown.to_pixels(canvas, prior)
        return torch.from_numpy(np.ascontiguousarray(pixels)), torch.from_numpy(np.ascontiguousarray(target))

    def _augmented(self, augmenter: Augmenter, index: int, rng: np.random.Generator) -> Decoded:
        move = augmenter.draw_move(self._preprocess.spec.size_hw, rng)
        canvas, target = self._placed(augmenter, index, move)
        drawn = self._paster.draw(rng) if self._paster is not None else None
        if drawn is not None:
            label, donor = drawn
            other, other_target = self._placed(augmenter, donor, move)
            # Mirrored, what was a left ear has become a right one, with its label.
            there = other_target == augmenter.label_after(label, move)
            canvas[there], target[there] = other[there], other_target[there]
        return augmenter.vary(canvas, rng), target

    def _placed(self, augmenter: Augmenter, index: int, move: Move) -> Decoded:
        """Return what `move` makes of a pair, its colours as they are; both arrays are the caller's own."""
        spec = self._preprocess.spec

        def reduction(source_hw: tuple[int, int]) -> int:
            return allowed_reduction(move.matrix @ contract_matrix(plan_geometry(source_hw, spec)))

        image_bgr, mask = self._decoded(index, reduction if self._reduced else None)
        source_hw = (mask.shape[0], mask.shape[1])
        reduce = 1 if image_bgr.shape[:2] == source_hw else reduction(source_hw)
        framing = contract_matrix(plan_geometry(source_hw, spec))
        return augmenter.place(image_bgr, mask, framing, move, reduce)

    def _decoded(self, index: int, reduction: Reduction | None = None) -> Decoded:
        source = self._source
        if source.decoded is not None:
            return source.decoded[index]
        known_mask = source.masks[index] if source.masks is not None else None
        return source.reading.read(self.pairs[index], reduction, known_mask)
