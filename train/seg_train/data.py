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
from seg_core.samples import SamplePair
from seg_core.spec import PreprocessSpec
from seg_train.augment import Augmenter
from seg_train.pair_source import PairSource
from seg_train.priors import PriorMaker

#: A place in the endless stream of training samples, and the pair that is shown there.
Draw = tuple[int, int]


class PairDataset(Dataset[tuple[Tensor, Tensor]]):
    """Image and mask pairs as network tensors.

    With an `augmenter` items are keyed by `Draw` and depend on (seed, position) alone, whichever worker
    makes them; without one they are what evaluation sees. Images are uint8 (h, w, C) in the contract's channel
    order, not yet normalised (a quarter of the bytes to move; the training graph does it where it runs); targets
    are uint8 (h, w) with `labels.ignore_index` where nothing is known. `skipped` counts the files that were left out,
    `problems` says why.
    """

    def __init__(
        self,
        source: PairSource,
        spec: PreprocessSpec,
        augmenter: Augmenter | None = None,
        seed: int = 0,
        priors: PriorMaker | None = None,
    ) -> None:
        """Show the pairs of `source` as `spec` asks for."""
        self.pairs = source.pairs
        self.problems = source.problems
        self.skipped = len(source.problems)
        self.labels = source.reading.labels
        self.seed = seed
        self._source = source
        self._preprocess = Preprocessor(spec)
        crop_hw = augmenter.options.crop_hw if augmenter is not None else None
        self._shown = self._preprocess if crop_hw is None else Preprocessor(replace(spec, size_hw=crop_hw))
        self._augmenter = augmenter
        self._priors = priors

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, draw: Draw | int) -> tuple[Tensor, Tensor]:
        position, index = draw if isinstance(draw, tuple) else (0, draw)
        prior = None  # a single picture has no frame before it, and that is what evaluation sees
        decoded = self._source.decoded
        image_bgr, mask = decoded[index] if decoded is not None else self._read(self.pairs[index])
        if self._augmenter is None:
            canvas, geometry = self._preprocess.to_canvas(image_bgr)
            target = self._preprocess.resize_mask(mask, geometry, self.labels.ignore_index)
        else:
            geometry = plan_geometry((image_bgr.shape[0], image_bgr.shape[1]), self._preprocess.spec)
            rng = np.random.default_rng((self.seed, position))
            canvas, target = self._augmenter(image_bgr, mask, geometry, rng)
            prior = self._priors(target, rng) if self._priors is not None else None
        pixels = self._shown.to_pixels(canvas, prior)
        return torch.from_numpy(np.ascontiguousarray(pixels)), torch.from_numpy(np.ascontiguousarray(target))

    def _read(self, pair: SamplePair) -> Decoded:
        return self._source.reading.read(pair)
