"""The older engine's transforms, on OpenCV: random changes to a `Sample`, aware of its labels.

Each is called with a sample and a numpy Generator and returns a new sample; with no generator it draws a fresh one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from seg_core.errors import ConfigError
from seg_core.labels import LabelSet
from seg_core.mask_reading import swap_table

UInt8 = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Sample:
    """A picture BGR uint8 (h, w, 3) with its mask uint8 (h, w), and what the mask's values mean."""

    image_bgr: UInt8
    mask: UInt8
    labels: LabelSet


#: What a transform is: it may change both, and never touches the arrays it was given.
Transform = Callable[[Sample, np.random.Generator], Sample]


class Compose:
    """Apply transforms one after another."""

    def __init__(self, transforms: Sequence[Transform]) -> None:
        """Remember the `transforms` in their order."""
        self.transforms = tuple(transforms)

    def __call__(self, sample: Sample, rng: np.random.Generator | None = None) -> Sample:
        """Return the changed sample."""
        rng = np.random.default_rng() if rng is None else rng
        for transform in self.transforms:
            sample = transform(sample, rng)
        return sample


class ColorJitter:
    """Multiply brightness, contrast (about the picture's mean) and saturation (about its grey) by random factors.

    Each factor is drawn from `1 - x` to `1 + x` and never below 0; 0 leaves that property alone.
    """

    def __init__(self, brightness: float = 0.0, contrast: float = 0.0, saturation: float = 0.0) -> None:
        """Take the largest relative changes; raises ConfigError when one is negative."""
        for name, value in (("brightness", brightness), ("contrast", contrast), ("saturation", saturation)):
            if value < 0:
                raise ConfigError(f"ColorJitter: {name}: expected at least 0, found {value}")
        self.brightness, self.contrast, self.saturation = brightness, contrast, saturation

    def __call__(self, sample: Sample, rng: np.random.Generator | None = None) -> Sample:
        """Return the sample with other colours; its mask is the same array."""
        rng = np.random.default_rng() if rng is None else rng
        brightness, contrast, saturation = (
            rng.uniform(max(0.0, 1 - most), 1 + most) for most in (self.brightness, self.contrast, self.saturation)
        )
        image = sample.image_bgr
        if self.brightness or self.contrast:
            mean = brightness * float(np.dot(cv2.mean(image)[:3], (0.114, 0.587, 0.299)))
            levels = np.clip(np.arange(256, dtype=np.float32) * brightness, 0, 255)
            table = np.clip((levels - mean) * contrast + mean, 0, 255).round().astype(np.uint8)
            image = np.asarray(cv2.LUT(image, table), np.uint8)
        if self.saturation:
            grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
            image = np.asarray(cv2.addWeighted(image, saturation, grey, 1 - saturation, 0), np.uint8)
        return replace(sample, image_bgr=image)


class HorizontalFlip:
    """Mirror picture and mask with probability `p`; left and right classes change places."""

    def __init__(self, p: float = 0.5) -> None:
        """Take the probability."""
        self.p = p

    def __call__(self, sample: Sample, rng: np.random.Generator | None = None) -> Sample:
        """Return the sample or its mirror image."""
        rng = np.random.default_rng() if rng is None else rng
        if rng.random() >= self.p:
            return sample
        mask = swap_table(sample.labels)[np.asarray(cv2.flip(sample.mask, 1), np.uint8)]
        return replace(sample, image_bgr=np.asarray(cv2.flip(sample.image_bgr, 1), np.uint8), mask=mask)


class RandomScale:
    """Resize by one of the given factors: pictures linearly, masks to the nearest label."""

    def __init__(self, scales: Sequence[float]) -> None:
        """Take the factors; raises ConfigError when there is none or one is not positive."""
        self.scales = tuple(scales)
        if not self.scales or min(self.scales) <= 0:
            raise ConfigError(f"RandomScale: expected positive factors such as (0.75, 1.0, 1.5), found {scales}")

    def __call__(self, sample: Sample, rng: np.random.Generator | None = None) -> Sample:
        """Return the resized sample."""
        rng = np.random.default_rng() if rng is None else rng
        factor = self.scales[int(rng.integers(len(self.scales)))]
        if factor == 1:
            return sample
        height, width = (max(1, round(side * factor)) for side in sample.mask.shape)
        image = cv2.resize(sample.image_bgr, (width, height), interpolation=cv2.INTER_LINEAR)
        mask = cv2.resize(sample.mask, (width, height), interpolation=cv2.INTER_NEAREST)
        return replace(sample, image_bgr=np.asarray(image, np.uint8), mask=np.asarray(mask, np.uint8))


class RandomCrop:
    """Cut out a piece of `size_hw` at a random place; what is missing is grey and ignored."""

    def __init__(self, size_hw: tuple[int, int], pad_value: int = 114) -> None:
        """Take the size (height, width); raises ConfigError when it is not two positive numbers."""
        if len(size_hw) != 2 or min(size_hw) < 1:
            raise ConfigError(f"RandomCrop: expected (height, width), found {size_hw}")
        self.size_hw = (int(size_hw[0]), int(size_hw[1]))
        self.pad_value = pad_value

    def __call__(self, sample: Sample, rng: np.random.Generator | None = None) -> Sample:
        """Return the piece; a smaller sample lies at a random place in it."""
        rng = np.random.default_rng() if rng is None else rng
        spare = [have - want for have, want in zip(sample.mask.shape, self.size_hw, strict=True)]
        top, left = (int(rng.integers(0, abs(room) + 1)) * (1 if room >= 0 else -1) for room in spare)
        height, width = self.size_hw
        image, mask = (
            np.ascontiguousarray(pixels[max(0, top) : max(0, top) + height, max(0, left) : max(0, left) + width])
            for pixels in (sample.image_bgr, sample.mask)
        )
        if mask.shape != self.size_hw:
            image, mask = self._pad(image, mask, max(0, -top), max(0, -left), sample.labels.ignore_index)
        return replace(sample, image_bgr=image, mask=mask)

    def _pad(self, image: UInt8, mask: UInt8, top: int, left: int, ignore_index: int) -> tuple[UInt8, UInt8]:
        place = slice(top, top + mask.shape[0]), slice(left, left + mask.shape[1])
        canvas = np.full((*self.size_hw, 3), self.pad_value, np.uint8)
        target = np.full(self.size_hw, ignore_index, np.uint8)
        canvas[place], target[place] = image, mask
        return canvas, target
