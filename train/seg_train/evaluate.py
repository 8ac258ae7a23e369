"""Accuracy of the network being trained, at the network's own size."""

from __future__ import annotations

import numpy as np
import torch
from torch.utils.data import DataLoader

from seg_core.metrics import ConfusionMatrix
from seg_core.models import SegmentationModel
from seg_train.data import PairDataset


@torch.inference_mode()
def evaluate(
    model: SegmentationModel, dataset: PairDataset, device: torch.device, batch_size: int = 8
) -> ConfusionMatrix:
    """Return the confusion matrix of the main head in float32 over `dataset`, the model left in its own mode.

    Predictions and masks are compared at the network's input size, logits of a smaller size enlarged
    bilinearly first; this is what `seg-eval --at network` measures.
    """
    matrix = ConfusionMatrix(dataset.labels.num_classes, dataset.labels.ignore_index)
    training = model.training
    model.eval()
    for images, targets in DataLoader(dataset, batch_size=batch_size):
        logits = model(images.to(device, non_blocking=True)).float()
        if logits.shape[-2:] != targets.shape[-2:]:
            logits = torch.nn.functional.interpolate(logits, targets.shape[-2:], mode="bilinear", align_corners=False)
        predicted = logits.argmax(dim=1).to(torch.uint8).cpu().numpy()
        matrix.update(predicted, targets.numpy().astype(np.uint8))
    model.train(training)
    return matrix
