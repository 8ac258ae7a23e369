"""Batches of a data set, the same ones whenever a step is done again, on the device before they are needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from seg_core.labels import LabelSet
from seg_train.allocation import keep_freed_memory
from seg_train.checked_items import Batch, CheckedItems, CollateInPlace, Failure, collate, received
from seg_train.data import Draw

#: Batches that each loading process has under way at most.
_PREFETCHED = 4


class TrainingSet(Protocol):
    """What training needs of a data set: items by Draw, image uint8 (h, w, C) and target uint8 (h, w)."""

    labels: LabelSet
    seed: int

    def __len__(self) -> int: ...

    def __getitem__(self, draw: Draw | int) -> tuple[Tensor, Tensor]: ...


class StreamSampler(Sampler[Draw]):
    """Shuffled passes over the data, one after another, entered at any position.

    The order of pass n depends on (seed, n) alone, so a resumed run sees what the unbroken one would have. Of
    every `batch_size * world_size` positions each of `world_size` processes takes its own `batch_size`.
    """

    def __init__(
        self,
        num_samples: int,
        total: int,
        start: int = 0,
        seed: int = 0,
        batch_size: int = 1,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """Yield the draws of `rank` from position `start` up to `total`, both whole batches of all processes."""
        self.num_samples = num_samples
        self.total = total
        self.start = start
        self.seed = seed
        self.batch_size = batch_size
        self.rank = rank
        self.world_size = world_size

    def __len__(self) -> int:
        return max(0, self.total - self.start) // self.world_size

    def __iter__(self) -> Iterator[Draw]:
        current, order = -1, np.empty(0, dtype=np.int64)
        for position in range(self.start, self.total):
            if position // self.batch_size % self.world_size != self.rank:
                continue
            epoch, offset = divmod(position, self.num_samples)
            if epoch != current:
                current, order = epoch, np.random.default_rng((self.seed, epoch)).permutation(self.num_samples)
            yield position, int(order[offset])


def build_train_loader(
    dataset: TrainingSet,
    batch_size: int,
    batches: int,
    start_batch: int = 0,
    workers: int = 0,
    pin_memory: bool = False,
    rank: int = 0,
    world_size: int = 1,
) -> DataLoader[Batch | Failure]:
    """Return this process's batches from `start_batch` up to `batches`, for `prefetch`."""
    share = batch_size * world_size
    sampler = StreamSampler(
        len(dataset), batches * share, start_batch * share, dataset.seed, batch_size, rank, world_size
    )
    return DataLoader(
        CheckedItems(dataset),
        batch_size=batch_size,
        sampler=sampler,
        collate_fn=CollateInPlace(_PREFETCHED + 2) if pin_memory and workers > 0 else collate,
        num_workers=workers,
        pin_memory=pin_memory,
        persistent_workers=workers > 0,
        prefetch_factor=_PREFETCHED if workers > 0 else None,
        worker_init_fn=_one_thread if workers > 0 else None,
    )


def prefetch(batches: Iterable[Batch | Failure], device: torch.device) -> Iterator[Batch]:
    """Yield `batches` on `device`; on a GPU each is copied, beside the computation, while the one before is used.

    Raises SegError for an item that could not be read, or when a loading process has died.
    """
    if device.type != "cuda":
        for image, target in received(batches):
            yield image.to(device), target.to(device)
        return
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    ready: Batch | None = None
    for image, target in received(batches):
        with torch.cuda.stream(stream):
            coming = image.to(device, non_blocking=True), target.to(device, non_blocking=True)
        if ready is not None:
            yield ready
        torch.cuda.current_stream(device).wait_stream(stream)
        for tensor in coming:
            tensor.record_stream(torch.cuda.current_stream(device))
        ready = coming
    if ready is not None:
        yield ready


def _one_thread(_worker: int) -> None:
    """Stop OpenCV's own threads, since one process a core is already parallel, and reuse memory."""
    import cv2

    cv2.setNumThreads(0)
    keep_freed_memory()
