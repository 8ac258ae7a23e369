"""Batches of a data set, the same ones whenever a step is done again."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from seg_train.data import Draw, PairDataset


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
