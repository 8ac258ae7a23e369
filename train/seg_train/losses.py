"""What training minimises, over every head of the network."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seg_core.config.schema import LossSection


class SegmentationLoss(nn.Module):
    """Weighted cross-entropy and soft Dice on the main head, and on the others `aux` times.

    Cross-entropy averages over the pixels that are not `ignore_index`; Dice (Milletari et al., V-Net, 3DV
    2016, with squared terms left out) averages over the classes present in the batch. Logits of a smaller
    size than the target are enlarged bilinearly first.
    """

    def __init__(self, options: LossSection, ignore_index: int) -> None:
        """Keep the weights; `ignore_index` marks the pixels that teach nothing."""
        super().__init__()
        self.options = options
        self.ignore_index = ignore_index

    def forward(self, heads: dict[str, Tensor], target: Tensor) -> dict[str, Tensor]:
        """Return {"loss": the sum to minimise, "<head>": each head's own}, scalars.

        `heads` holds logits (N, C, h, w), "main" among them; `target` is int64 (N, H, W).
        """
        losses = {name: self._head(logits.float(), target) for name, logits in heads.items()}
        total = losses["main"] + self.options.aux * sum(
            (loss for name, loss in losses.items() if name != "main"), torch.zeros_like(losses["main"])
        )
        return {"loss": total, **losses}

    def _head(self, logits: Tensor, target: Tensor) -> Tensor:
        if logits.shape[-2:] != target.shape[-2:]:
            logits = F.interpolate(logits, target.shape[-2:], mode="bilinear", align_corners=False)
        loss = logits.new_zeros(())
        if self.options.cross_entropy:
            smoothing = self.options.label_smoothing
            entropy = F.cross_entropy(
                logits, target, ignore_index=self.ignore_index, label_smoothing=smoothing, reduction="sum"
            )
            counted = (
                (target != self.ignore_index).sum().clamp(min=1)
            )  # a batch of nothing but void is worth 0, not NaN
            loss = loss + self.options.cross_entropy * entropy / counted
        if self.options.dice:
            loss = loss + self.options.dice * soft_dice_loss(logits, target, self.ignore_index)
        return loss


def soft_dice_loss(logits: Tensor, target: Tensor, ignore_index: int, smooth: float = 1.0) -> Tensor:
    """Return 1 - mean soft Dice over the classes present; logits (N, C, H, W), target int64 (N, H, W)."""
    counted = target != ignore_index
    one_hot = F.one_hot(target.where(counted, 0), logits.shape[1]).permute(0, 3, 1, 2).to(logits.dtype)
    one_hot = one_hot * counted[:, None]
    probability = logits.softmax(dim=1) * counted[:, None]
    axes = (0, 2, 3)
    overlap, truth = (probability * one_hot).sum(axes), one_hot.sum(axes)
    dice = (2 * overlap + smooth) / (probability.sum(axes) + truth + smooth)
    present = (truth > 0).to(dice.dtype)
    return ((1 - dice) * present).sum() / present.sum().clamp(min=1)
