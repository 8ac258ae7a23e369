"""Items of a data set on their way from a loading process: checked, and failures told as the one line they are.

An exception that leaves a DataLoader's process arrives as that process's whole traceback. So failures travel as
values, and are raised where the batches are used.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from seg_core.errors import ImageError, SegError
from seg_core.labels import LabelSet

Batch = tuple[Tensor, Tensor]


class Items(Protocol):
    """What a data set has to have: items by a key of its own, image uint8 (h, w, C) and target uint8 (h, w)."""

    labels: LabelSet

    def __len__(self) -> int: ...

    def __getitem__(self, key: Any) -> tuple[Tensor, Tensor]: ...


@dataclass(frozen=True)
class Failure:
    """What was raised instead of an item."""

    message: str
    is_image: bool

    def error(self) -> SegError:
        """Return it as the error that it was."""
        return ImageError(self.message) if self.is_image else SegError(self.message)


class CheckedItems(Dataset["Batch | Failure"]):
    """The items of `items`, or a Failure where one cannot be read or has labels that are none."""

    def __init__(self, items: Items) -> None:
        self._items = items

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, key: Any) -> Batch | Failure:
        try:
            image, target = self._items[key]
        except SegError as error:
            return Failure(str(error), isinstance(error, ImageError))
        labels = self._items.labels
        # Nearly always so, and found in a tenth of the time; numpy is quicker than torch on something so small.
        if int(target.numpy().max(initial=0)) < labels.num_classes:
            return image, target
        strange = target[(target >= labels.num_classes) & (target != labels.ignore_index)]
        if strange.numel():
            index = key[-1] if isinstance(key, tuple) else key
            return Failure(
                f"item {index} of {type(self._items).__name__}: the mask holds {int(strange[0])}, but labels are "
                f"0 to {labels.num_classes - 1}, and {labels.ignore_index} where nothing is known; correct the mask",
                is_image=True,
            )
        return image, target


def collate(items: Sequence[Batch | Failure]) -> Batch | Failure:
    """Stack items into a batch; the first Failure among them stands for all."""
    found = _matching(items)
    if isinstance(found, Failure):
        return found
    image, target = default_collate(found)
    return image, target


class CollateInPlace:
    """Stack items as `collate` does, in a loading process, into shared memory that is used again and again.

    Fresh shared memory is faulted in page by page for every batch, which takes several times as long as the copying.
    Each process has `slots` batches in turn: who receives them has to have copied one before that process gives
    `slots` more, as a DataLoader's pinning thread has when there are more slots than batches under way.
    """

    def __init__(self, slots: int) -> None:
        self._kept: list[Batch | None] = [None] * slots
        self._turn = 0

    def __call__(self, items: Sequence[Batch | Failure]) -> Batch | Failure:
        """Return the batch, or the first Failure of its items; see `collate`."""
        found = _matching(items)
        if isinstance(found, Failure):
            return found
        images, targets = zip(*found, strict=True)
        kept = self._kept[self._turn]
        if kept is None or not (_fits(kept[0], images) and _fits(kept[1], targets)):
            kept = _shared_like(images), _shared_like(targets)
            self._kept[self._turn] = kept
        self._turn = (self._turn + 1) % len(self._kept)
        return torch.stack(images, out=kept[0]), torch.stack(targets, out=kept[1])


def _shared_like(tensors: Sequence[Tensor]) -> Tensor:
    empty = torch.empty((len(tensors), *tensors[0].shape), dtype=tensors[0].dtype)
    empty.untyped_storage().share_memory_()
    return empty


def _fits(batch: Tensor, tensors: Sequence[Tensor]) -> bool:
    return batch.shape == (len(tensors), *tensors[0].shape) and batch.dtype == tensors[0].dtype


def _matching(items: Sequence[Batch | Failure]) -> list[Batch] | Failure:
    """Return the items when all are there and of one size, else the first Failure, or one that tells of the sizes."""
    taken: list[Batch] = []
    for item in items:
        if isinstance(item, Failure):
            return item
        taken.append(item)
    for image, target in taken:
        # Normalised pictures, float32 (C, h, w), are what a data set of one's own may give, too.
        size_hw = image.shape[:2] if image.dtype == torch.uint8 else image.shape[-2:]
        if image.shape != taken[0][0].shape or target.shape != size_hw:
            return Failure(
                f"items of a batch differ in size: image {tuple(image.shape)} with mask {tuple(target.shape)} beside "
                f"an image {tuple(taken[0][0].shape)}; the data set has to give all of them at one size",
                is_image=True,
            )
    return taken


def received(batches: Iterable[Batch | Failure]) -> Iterator[Batch]:
    """Yield the batches; raises the SegError that stands in the place of one, or that a loading process has died."""
    iterator = iter(batches)
    while True:
        try:
            batch = next(iterator, None)
        except RuntimeError as error:
            explained = explain_loading(error)
            if explained is None:
                raise
            raise explained from None
        if batch is None:
            return
        if isinstance(batch, Failure):
            raise batch.error()
        yield batch


def explain_loading(error: RuntimeError) -> SegError | None:
    """Return what `error` means when it is that of a loading process which has died, None when it is not.

    Torch raises it from the handler of a signal: wherever the main process happens to be, not just in `received`.
    """
    if "DataLoader worker" not in str(error):
        return None
    return SegError(
        "data.workers: a process that loads pictures has died, as happens when memory or shared memory "
        "(/dev/shm) is full; use fewer workers or data.cache=false"
    )
