"""From pixels and labels to losses: the one module that a training step runs, and that gets compiled."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from seg_core.models import SegmentationModel
from seg_core.spec import PreprocessSpec
from seg_train.distill import Distiller
from seg_train.losses import SegmentationLoss


class Normalise(nn.Module):
    """The contract's arithmetic on the device: `((x * scale) - mean) / std` in float32, operation by operation.

    Run eagerly the result is the preprocessor's to the bit; compiled, the operations may be contracted.
    """

    mean: Tensor
    std: Tensor
    scale: Tensor

    def __init__(self, spec: PreprocessSpec) -> None:
        """Keep scale, mean and std of `spec`, rounded to float32 as the contract says."""
        super().__init__()
        shape = (1, spec.channels, 1, 1)
        self.register_buffer("scale", torch.tensor(spec.scale, dtype=torch.float32), persistent=False)
        self.register_buffer("mean", torch.tensor(spec.mean, dtype=torch.float32).view(shape), persistent=False)
        self.register_buffer("std", torch.tensor(spec.std, dtype=torch.float32).view(shape), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Map uint8 (N, H, W, C) to float32 (N, C, H, W), channels last in memory; a float32 NCHW input passes."""
        if image.dtype == torch.float32:
            return image
        return (image.permute(0, 3, 1, 2).float() * self.scale - self.mean) / self.std


class TrainingGraph(nn.Module):
    """The network, what scores it and, with distillation, its teacher.

    Everything has static shapes and no value is looked at on the way, so that the whole can be recorded once and
    replayed.
    """

    def __init__(
        self,
        network: SegmentationModel,
        loss: SegmentationLoss,
        preprocess: PreprocessSpec,
        distiller: Distiller | None = None,
    ) -> None:
        """Join the parts; none is copied. Raises ConfigError when the loss asks for a head that is not there."""
        super().__init__()
        loss.check_network(network)
        self.normalise = Normalise(preprocess)
        self.network = network
        self.loss = loss
        self.distiller = distiller

    def forward(self, image: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return {"loss": what to minimise, "<part>": its parts}, scalars.

        `image` is uint8 (N, H, W, C) in the contract's channels, or float32 (N, C, H, W) already normalised;
        `target` is uint8 or int64 (N, H, W).
        """
        pixels, target = self.normalise(image), target.long()
        if self.distiller is None:
            losses: dict[str, Tensor] = self.loss(self.network.forward_heads(pixels), target)
            return losses
        if self.distiller.needs_features:
            heads, features = self.network.forward_features(pixels)
        else:
            heads, features = self.network.forward_heads(pixels), None
        losses = self.loss(heads, target)
        learnt = self.distiller(pixels, heads, features, target)
        return {
            "loss": losses["loss"] + sum(learnt.values()),
            **{k: v for k, v in losses.items() if k != "loss"},
            **learnt,
        }
