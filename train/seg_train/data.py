"""From image and mask folders to batches, the same ones whenever a step is done again."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from seg_core.errors import ConfigError
from seg_core.geometry import plan_geometry
from seg_core.labels import LabelSet
from seg_core.preprocessing import Preprocessor
from seg_core.samples import SamplePair, list_pairs, load_pair
from seg_core.spec import PreprocessSpec
from seg_train.augment import Augmenter, Image, swap_table

#: A place in the endless stream of training samples, and the pair that is shown there.
Draw = tuple[int, int]


class PairDataset(Dataset[tuple[Tensor, Tensor]]):
    """Image and mask pairs as network tensors.

    With an `augmenter` items are keyed by `Draw` and depend on (seed, position) alone, whichever worker
    makes them; without one they are what evaluation sees. Images are float32 of the contract's shape without
    the batch axis; targets are int64 (h, w) with `labels.ignore_index` where nothing is known.
    """

    def __init__(
        self,
        data_dir: Path,
        spec: PreprocessSpec,
        labels: LabelSet,
        augmenter: Augmenter | None = None,
        swapped: frozenset[str] = frozenset(),
        cache: bool = False,
        seed: int = 0,
    ) -> None:
        """List the pairs of `data_dir` and, with `cache`, decode them all now (ImageError names a bad one)."""
        self.pairs = list_pairs(data_dir)
        self.labels = labels
        self.seed = seed
        self._preprocess = Preprocessor(spec)
        self._augmenter = augmenter
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
        image_bgr, mask = self._decoded[index] if self._decoded is not None else self._read(self.pairs[index])
        if self._augmenter is None:
            canvas, geometry = self._preprocess.to_canvas(image_bgr)
            target = self._preprocess.resize_mask(mask, geometry, self.labels.ignore_index)
        else:
            geometry = plan_geometry((image_bgr.shape[0], image_bgr.shape[1]), self._preprocess.spec)
            rng = np.random.default_rng((self.seed, position))
            canvas, target = self._augmenter(image_bgr, mask, geometry, rng)
        tensor = self._preprocess.to_tensor(canvas)[0]
        return torch.from_numpy(tensor), torch.from_numpy(target.astype(np.int64))

    def _read(self, pair: SamplePair) -> tuple[Image, Image]:
        image_bgr, mask = load_pair(pair, self.labels)
        if pair.image.stem in self._swapped:
            mask = self._swap[mask]
        return image_bgr, mask


class StreamSampler(Sampler[Draw]):
    """Shuffled passes over the data, one after another, entered at any position.

    The order of pass n depends on (seed, n) alone, so a resumed run sees what the unbroken one would have.
    """

    def __init__(self, num_samples: int, total: int, start: int = 0, seed: int = 0) -> None:
        """Yield the draws from position `start` up to `total` over `num_samples` pairs."""
        self.num_samples = num_samples
        self.total = total
        self.start = start
        self.seed = seed

    def __len__(self) -> int:
        return max(0, self.total - self.start)

    def __iter__(self) -> Iterator[Draw]:
        current, order = -1, np.empty(0, dtype=np.int64)
        for position in range(self.start, self.total):
            epoch, offset = divmod(position, self.num_samples)
            if epoch != current:
                current, order = epoch, np.random.default_rng((self.seed, epoch)).permutation(self.num_samples)
            yield position, int(order[offset])


def build_train_loader(
    dataset: PairDataset, batch_size: int, steps: int, start_step: int, workers: int, pin_memory: bool
) -> DataLoader[tuple[Tensor, Tensor]]:
    """Return batches for the steps from `start_step` up to `steps`."""
    sampler = StreamSampler(len(dataset), steps * batch_size, start_step * batch_size, dataset.seed)
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=workers,
        pin_memory=pin_memory,
        persistent_workers=workers > 0,
        prefetch_factor=4 if workers > 0 else None,
        worker_init_fn=_one_thread if workers > 0 else None,
    )


def _one_thread(_worker: int) -> None:
    """Stop OpenCV's own threads: one process a core is already parallel."""
    import cv2

    cv2.setNumThreads(0)


def read_stems(path: Path | None) -> frozenset[str]:
    """Return the stems listed one a line in `path`, nothing for None; raises ConfigError when it cannot be read."""
    if path is None:
        return frozenset()
    try:
        lines = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: data.swap_left_right cannot be read ({error})") from None
    return frozenset(Path(line).stem for line in lines)
