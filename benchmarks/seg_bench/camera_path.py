"""Clips with a known truth: a camera that pans, zooms, turns and shakes over a labelled picture.

Every frame is one affine view of the picture and of its mask, so the truth of each is known, and what changes from
frame to frame is what a camera changes: the view, the light, the sensor's noise and the codec's blocks. Nothing in the
scene moves by itself; of that only real videos tell.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

UInt8 = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class CameraPath:
    """What the camera does in a clip of `frames` of `size_hw`.

    `pan` and `zoom` are fractions of the view, `rotate_deg` degrees either way, `shake_px` the standard deviation of
    the hand's tremor in pixels of a frame; `brightness` is the largest relative drift of the light, `noise` the
    standard deviation of the sensor's noise in grey levels of 0..255, `jpeg_quality` the range the codec varies in.
    """

    frames: int = 24
    size_hw: tuple[int, int] = (384, 384)
    pan: float = 0.05
    zoom: float = 0.12
    rotate_deg: float = 6.0
    shake_px: float = 0.7
    brightness: float = 0.1
    noise: float = 5.0
    jpeg_quality: tuple[int, int] = (55, 85)

    def film(self, image_bgr: UInt8, mask: UInt8, seed: int, outside_label: int = 255) -> Iterator[tuple[UInt8, UInt8]]:
        """Yield (frame_bgr uint8 (h, w, 3), truth uint8 (h, w)); equal seeds give equal clips.

        Where a view reaches beyond the picture its edge is repeated and the truth is `outside_label`.
        """
        rng = np.random.default_rng(seed)
        pan_x, pan_y, zoom, turn, light = (_drift(self.frames, rng) for _ in range(5))
        for index in range(self.frames):
            grow = (1.0 + self.zoom) * (1.0 + self.zoom * float(zoom[index]))
            shift = np.array([pan_x[index], pan_y[index]]) * self.pan * np.array(self.size_hw[::-1])
            matrix = _view(
                (image_bgr.shape[0], image_bgr.shape[1]), self.size_hw, grow, float(turn[index]) * self.rotate_deg,
                shift + rng.normal(0.0, self.shake_px, 2),
            )  # fmt: skip
            size = self.size_hw[::-1]
            frame = cv2.warpAffine(image_bgr, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            truth = cv2.warpAffine(mask, matrix, size, flags=cv2.INTER_NEAREST, borderValue=(outside_label,))
            factor = 1.0 + self.brightness * float(light[index])
            yield self._expose(np.asarray(frame, np.uint8), factor, rng), np.asarray(truth, np.uint8)

    def _expose(self, frame: UInt8, factor: float, rng: np.random.Generator) -> UInt8:
        """Return the frame as a sensor and a codec hand it over."""
        noisy = frame * np.float32(factor) + rng.normal(0.0, self.noise, frame.shape).astype(np.float32)
        low, high = self.jpeg_quality
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(low, high + 1))]
        _, data = cv2.imencode(".jpg", np.clip(np.rint(noisy), 0, 255).astype(np.uint8), quality)
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def _drift(frames: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return a smooth path (frames,) within -1..1: two sines of random phase, up to two periods in 48 frames."""
    time = np.arange(frames) / 48.0
    phases, rates = rng.uniform(0, 2 * np.pi, 2), rng.uniform(0.5, 2.0, 2)
    weight = rng.uniform(0.4, 0.8)
    first, second = (np.sin(phase + 2 * np.pi * rate * time) for phase, rate in zip(phases, rates, strict=True))
    return np.asarray(weight * first + (1 - weight) * second)


def _view(
    source_hw: tuple[int, int], size_hw: tuple[int, int], zoom: float, angle_deg: float, shift: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the (2, 3) map from picture to frame: all of the picture fills it at a zoom of 1, angle 0 and no shift."""
    scale = zoom * max(size_hw[0] / source_hw[0], size_hw[1] / source_hw[1])
    angle = np.radians(angle_deg)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    from_centre = (np.array(source_hw[::-1]) - 1) / 2
    to_centre = (np.array(size_hw[::-1]) - 1) / 2 + shift
    return np.hstack([turn, (to_centre - turn @ from_centre)[:, None]])
