"""From image and mask folders to what a step takes."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from seg_core.errors import ConfigError
from seg_core.geometry import plan_geometry
from seg_core.labels import LabelSet
from seg_core.preprocessing import Preprocessor
from seg_core.samples import SamplePair, list_pairs, load_pair
from seg_core.spec import PreprocessSpec
from seg_train.augment import Augmenter, Image, swap_table
from seg_train.priors import PriorMaker

#: A place in the endless stream of training samples, and the pair that is shown there.
Draw = tuple[int, int]


class PairDataset(Dataset[tuple[Tensor, Tensor]]):
    """Image and mask pairs as network tensors.

    With an `augmenter` items are keyed by `Draw` and depend on (seed, position) alone, whichever worker
    makes them; without one they are what evaluation sees. Images are uint8 (h, w, C) in the contract's channel
    order, not yet normalised (a quarter of the bytes to move; the training graph does it where it runs); targets
    are uint8 (h, w) with `labels.ignore_index` where nothing is known.
    """

    def __init__(
        self,
        data_dirs: Sequence[Path],
        spec: PreprocessSpec,
        labels: LabelSet,
        augmenter: Augmenter | None = None,
        swapped: frozenset[str] = frozenset(),
        cache: bool = False,
        seed: int = 0,
        priors: PriorMaker | None = None,
    ) -> None:
        """List the pairs of `data_dirs` and, with `cache`, decode them all now (ImageError names a bad one)."""
        self.pairs = [pair for data_dir in data_dirs for pair in list_pairs(data_dir)]
        self.labels = labels
        self.seed = seed
        self._preprocess = Preprocessor(spec)
        crop_hw = augmenter.options.crop_hw if augmenter is not None else None
        self._shown = self._preprocess if crop_hw is None else Preprocessor(replace(spec, size_hw=crop_hw))
        self._augmenter = augmenter
        self._priors = priors
        self._swapped = swapped
        self._swap = swap_table(labels)
        self._decoded: list[tuple[Image, Image]] | None = None
        if cache:
            with ThreadPoolExecutor() as pool:
                self._decoded = list(pool.map(self._read, self.pairs))

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, draw: Draw | int) -> tuple[Tensor, Tensor]:
        position, index = draw if isinstance(draw, tuple) else (0, draw)
        prior = None  # a single picture has no frame before it, and that is what evaluation sees
        image_bgr, mask = self._decoded[index] if self._decoded is not None else self._read(self.pairs[index])
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

    def _read(self, pair: SamplePair) -> tuple[Image, Image]:
        image_bgr, mask = load_pair(pair, self.labels)
        if pair.image.stem in self._swapped:
            mask = self._swap[mask]
        return image_bgr, mask


def read_stems(path: Path | None) -> frozenset[str]:
    """Return the stems listed one a line in `path`, nothing for None; raises ConfigError when it cannot be read."""
    if path is None:
        return frozenset()
    try:
        lines = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: data.swap_left_right cannot be read ({error})") from None
    return frozenset(Path(line).stem for line in lines)
