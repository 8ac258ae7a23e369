"""Accuracy of the network being trained, at the network's own size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch
from torch.utils.data import DataLoader, Sampler

from seg_core.labels import LabelSet
from seg_core.metrics import ConfusionMatrix
from seg_core.models import SegmentationModel
from seg_core.spec import PreprocessSpec
from seg_train.checked_items import CheckedItems, collate, received
from seg_train.events import Sample
from seg_train.graph import Normalise
from seg_train.parallel import Workers
from seg_train.pictures import displayed


class EvaluationSet(Protocol):
    """What evaluation needs of a data set: items by index, image uint8 (h, w, C) and target uint8 (h, w)."""

    labels: LabelSet

    def __len__(self) -> int: ...

    def __getitem__(self, draw: int) -> tuple[torch.Tensor, torch.Tensor]: ...


class _Share(Sampler[int]):
    """Every `world_size`-th index from `rank` on."""

    def __init__(self, length: int, workers: Workers) -> None:
        self.indices = range(workers.rank, length, workers.world_size)

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)


@torch.inference_mode()
def evaluate(
    model: SegmentationModel,
    dataset: EvaluationSet,
    preprocess: PreprocessSpec,
    workers: Workers,
    batch_size: int = 8,
    samples: int = 0,
) -> tuple[ConfusionMatrix, list[Sample]]:
    """Return the confusion matrix of the main head in float32 over `dataset`, and the first few answers to look at.

    The model is left in its own mode. Predictions and masks are compared at the network's input size, logits of a
    smaller size enlarged bilinearly first; this is what `seg-eval --at network` measures. Processes share the work,
    and each gets the whole matrix. Raises ImageError for a pair that cannot be read.
    """
    matrix = ConfusionMatrix(dataset.labels.num_classes, dataset.labels.ignore_index)
    normalise = Normalise(preprocess).to(workers.device)
    shown: list[Sample] = []
    training = model.training
    model.eval()
    share = _Share(len(dataset), workers)
    loader = DataLoader(CheckedItems(dataset), batch_size=batch_size, sampler=share, collate_fn=collate)
    for images, targets in received(loader):
        logits = model(normalise(images.to(workers.device, non_blocking=True))).float()
        if logits.shape[-2:] != targets.shape[-2:]:
            logits = torch.nn.functional.interpolate(logits, targets.shape[-2:], mode="bilinear", align_corners=False)
        predicted = logits.argmax(dim=1).to(torch.uint8).cpu().numpy()
        matrix.update(predicted, targets.numpy())
        for index in range(min(samples - len(shown), len(predicted))):
            image_bgr = displayed(images[index].numpy(), preprocess)
            shown.append(Sample(image_bgr, targets[index].numpy(), predicted[index]))
    model.train(training)
    return workers.sum_matrix(matrix), shown
