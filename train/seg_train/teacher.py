"""A frozen network that answers on the student's image, in its own contract and at its own size."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seg_core.errors import ConfigError
from seg_core.labels import LabelSet
from seg_core.models import SegmentationModel
from seg_core.models.checkpoint import Checkpoint, build_network
from seg_core.models.resampling import enlarge
from seg_core.spec import PreprocessSpec
from seg_train.teacher_classes import match_classes, mirrored_classes

#: Gray is this much of red, green and blue: the contract's whole numbers, which it divides by 2^15.
_LUMA = {"r": 9798 / 32768, "g": 19235 / 32768, "b": 3735 / 32768}


class ContractConversion(nn.Module):
    """Turns images normalised for one contract into what another contract makes of the same pixels.

    Each new channel is an affine sum of the old ones: other mean, deviation, scale and colour order alike. A gray image
    becomes three equal channels. The prior of a video, where both contracts have it, is the last channel of both.
    """

    gain: Tensor
    offset: Tensor

    def __init__(self, source: PreprocessSpec, target: PreprocessSpec) -> None:
        """Compute gains and offsets in float64; raises ConfigError when `source` has no prior like that of `target`."""
        super().__init__()
        if target.has_prior and source.prior_values != target.prior_values:
            raise ConfigError("its contract has a prior channel that the student's has not, or codes it otherwise")
        pixels = _pixel_mixture(source, target)
        std, mean = (torch.tensor(values, dtype=torch.float64) for values in (source.std, source.mean))
        new_std, new_mean = (torch.tensor(values, dtype=torch.float64) for values in (target.std, target.mean))
        rescale = target.scale / source.scale
        self.register_buffer("gain", (pixels * std * rescale / new_std[:, None]).float(), persistent=False)
        self.register_buffer("offset", ((pixels @ mean * rescale - new_mean) / new_std).float(), persistent=False)
        alike = ("color", "scale", "mean", "std", "prior")
        self.is_identity = all(getattr(source, name) == getattr(target, name) for name in alike)

    def forward(self, image: Tensor) -> Tensor:
        """Map float32 (N, channels of the source, h, w) to (N, channels of the target, h, w)."""
        if self.is_identity:
            return image
        # Products in float32, unlike a 1x1 convolution's: those are rounded to bf16 under autocast.
        converted = self.offset[:, None, None].expand(image.shape[0], -1, *image.shape[2:])
        for channel in range(self.gain.shape[1]):
            converted = converted + image[:, channel : channel + 1] * self.gain[:, channel, None, None]
        return converted


def _pixel_mixture(source: PreprocessSpec, target: PreprocessSpec) -> Tensor:
    """Return how much of each source pixel value a target's is: float64 (target channels, source channels)."""
    mixture = torch.zeros((target.channels, source.channels), dtype=torch.float64)
    for row in range(target.color_channels):
        for column in range(source.color_channels):
            if source.color == "gray":
                share = 1.0
            elif target.color == "gray":
                share = _LUMA[source.color[column]]
            else:
                share = float(source.color[column] == target.color[row])
            mixture[row, column] = share
    if target.has_prior:
        mixture[-1, -1] = 1.0
    return mixture


class Teacher(nn.Module):
    """One frozen network, always in eval mode, without the heads that served its own training.

    Args:
        checkpoint: Its weights, contract and classes; those must be the student's in any order, or what `merge` makes
            the student's of.
        labels: The student's classes.
        preprocess: The student's contract.
        size_hw: Size at which it looks. When nothing, the student's image is resized by as much as the teacher's
            contract differs from the student's, so that a crop shows things as large as the teacher knows them.
        flip: Whether its answers are those on the image and on the mirrored image.
        merge: How the run merges the classes of its masks (`data.merge`).

    Raises ConfigError when classes differ, the contract cannot be met or the network cannot take that size.
    """

    mirrored: Tensor

    def __init__(
        self,
        checkpoint: Checkpoint,
        labels: LabelSet,
        preprocess: PreprocessSpec,
        size_hw: tuple[int, int] | None = None,
        flip: bool = False,
        merge: str | None = None,
    ) -> None:
        super().__init__()
        if flip and checkpoint.preprocess.has_prior:
            raise ConfigError("flip does not go with a teacher that reads a prior; set distill.flip=false")
        self.classes = match_classes(checkpoint.labels, labels, merge)
        self.network: SegmentationModel = build_network(checkpoint).main_only().requires_grad_(False)
        self.conversion = ContractConversion(preprocess, checkpoint.preprocess)
        self.register_buffer("mirrored", torch.tensor(mirrored_classes(labels)), persistent=False)
        self.flip = flip
        self.size_hw = size_hw
        self.ratio_hw = tuple(
            theirs / ours for theirs, ours in zip(checkpoint.preprocess.size_hw, preprocess.size_hw, strict=True)
        )
        self.network.check_size(self.look_size(preprocess.size_hw))

    def train(self, mode: bool = True) -> Teacher:
        """Stay in eval mode: its BatchNorm statistics are its own."""
        del mode
        return super().train(False)

    def look_size(self, image_hw: tuple[int, int]) -> tuple[int, int]:
        """Return the size (height, width) to which an image of the student's is resized."""
        if self.size_hw is not None:
            return self.size_hw
        step = self.network.size_divisor
        least = math.ceil(max(step, self.network.minimum_side) / step) * step
        height, width = (
            max(least, round(side * ratio / step) * step) for side, ratio in zip(image_hw, self.ratio_hw, strict=True)
        )
        return height, width

    @torch.no_grad()
    def forward(
        self, image: Tensor, size_hw: tuple[int, int], with_feature: bool, stride: int = 1
    ) -> tuple[list[Tensor], Tensor]:
        """Return its logits, one tensor (N, C, *size_hw) a view, and its feature map (empty unless wanted).

        With a `stride` the logits are those at every stride-th pixel of that size, as `enlarge` picks them.
        `image` is in the student's contract, float32 (N, channels, H, W). Classes are in the student's order; views
        are the image and, with `flip`, its mirror image, mirrored back. The feature map is that of the image.
        """
        size = self.look_size((image.shape[-2], image.shape[-1]))
        views = _resize(self.conversion(image), size)
        if self.flip:
            views = torch.cat([views, views.flip(-1)])
        if with_feature:
            heads, feature = self.network.forward_features(views)
            logits, feature = heads["main"], feature[: image.shape[0]]
        else:
            logits, feature = self.network(views), image.new_empty(0)
        # Before they are enlarged: inside a merged class there is no border then.
        logits = self.classes(logits.float())
        answers = [logits]
        if self.flip:
            plain, turned = logits.chunk(2)
            answers = [plain, turned.flip(-1)[:, self.mirrored]]
        # A mere enlarging or sampling: values between two cells, no average over several.
        with torch.autocast(image.device.type, enabled=False):
            return [enlarge(answer, size_hw, stride) for answer in answers], feature.float()


def _resize(image: Tensor, size_hw: tuple[int, int]) -> Tensor:
    if tuple(image.shape[-2:]) == size_hw:
        return image
    smaller = size_hw[0] < image.shape[-2] or size_hw[1] < image.shape[-1]
    return F.interpolate(image, size=size_hw, mode="bilinear", align_corners=False, antialias=smaller)
