"""The images that parity is measured on."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from seg_core.errors import ImageError
from seg_core.geometry import Roi
from seg_core.images import list_images, load_image

#: A file beside the images that says which region of each the network shall see.
ROIS_FILE = "rois.json"

_SYNTHETIC_HW = (360, 300)

#: How far the content of a made-up video moves from frame to frame, as a fraction of its size.
_MOTION = 0.02


@dataclass(frozen=True)
class Sample:
    """One image, BGR uint8 (H, W, 3), under a name that is unique in its set, and the region that counts."""

    name: str
    image_bgr: npt.NDArray[np.uint8]
    roi: Roi | None = None
    synthetic: bool = False


def load_samples(path: str | Path) -> list[Sample]:
    """Read one image, or all images of a directory sorted by name.

    A `rois.json` beside them, {"file name": [top, left, height, width]}, gives regions of interest. Raises
    ImageError when there is no image, one cannot be read, or the file of regions is malformed, names a file that is
    not there or a region that reaches beyond its image.
    """
    files = list_images(path)
    rois = files[0].parent / ROIS_FILE
    regions = _load_rois(rois)
    samples = [Sample(file.name, load_image(file), regions.get(file.name)) for file in files]
    for sample in samples:
        height, width = sample.image_bgr.shape[:2]
        roi = sample.roi
        if roi is not None and (roi.top + roi.height > height or roi.left + roi.width > width):
            raise ImageError(
                f"{rois}: {sample.name}: region {roi} (top,left,height,width) reaches beyond the image of "
                f"{height}x{width} (HxW); correct it"
            )
    return samples


def next_frames(sample: Sample) -> list[Sample]:
    """Return the two frames that follow `sample` in a made-up video: its content moves right and down by 2 % each time.

    Their names are that of the sample with the number of the frame. Regions stay where they are.
    """
    height, width = sample.image_bgr.shape[:2]
    frames = []
    for number in (2, 3):
        share = _MOTION * (number - 1)
        matrix = np.array([[1.0, 0.0, round(share * width)], [0.0, 1.0, round(share * height)]])
        moved = cv2.warpAffine(sample.image_bgr, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
        name = f"{sample.name}.frame{number}"
        frames.append(replace(sample, name=name, image_bgr=np.asarray(moved, np.uint8)))
    return frames


def _load_rois(path: Path) -> dict[str, Roi]:
    if not path.is_file():
        return {}
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise ImageError(f'{path}: expected {{"image.jpg": [top, left, height, width], …}} in pixels')
    beside = {item.name for item in path.parent.iterdir()}
    for name in data:
        if name not in beside:  # left out, its image would be compared as a whole and nobody told
            near = difflib.get_close_matches(name, beside, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "remove its entry"
            raise ImageError(f"{path}: {name!r} is no file beside it; {hint}")
    return {name: _to_roi(path, name, box) for name, box in data.items()}


def _to_roi(path: Path, name: str, box: Any) -> Roi:
    if not isinstance(box, list) or len(box) != 4 or any(type(value) is not int for value in box):
        raise ImageError(f"{path}: {name}: expected [top, left, height, width] in whole pixels, found {box!r:.80}")
    try:
        return Roi(*box)
    except ImageError as error:
        raise ImageError(f"{path}: {name}: {error}") from None


def synthetic_samples(count: int = 3, seed: int = 7) -> list[Sample]:
    """Return seeded images with the spectrum of photographs (1/f noise) and a face-like arrangement of ellipses.

    They stand in where no real image is given; what they prove about a trained network is less.
    """
    generator = np.random.default_rng(seed)
    return [Sample(f"synthetic_{index}", _synthesise(generator), synthetic=True) for index in range(count)]


def _synthesise(generator: np.random.Generator) -> npt.NDArray[np.uint8]:
    height, width = _SYNTHETIC_HW
    frequency = np.hypot(np.fft.fftfreq(height)[:, np.newaxis], np.fft.fftfreq(width)[np.newaxis])
    frequency[0, 0] = 1.0
    spectrum = np.fft.fft2(generator.standard_normal((3, height, width))) / frequency
    noise = np.real(np.fft.ifft2(spectrum)).transpose(1, 2, 0)
    image = np.ascontiguousarray(np.clip(120 + 45 * noise / noise.std(), 0, 255).astype(np.uint8))
    centre = (width // 2 + int(generator.integers(-20, 20)), height // 2 + int(generator.integers(-20, 20)))
    skin_bgr = tuple(int(value) for value in generator.integers((90, 120, 160), (150, 180, 240)))
    cv2.ellipse(image, centre, (95, 125), 0, 0, 360, (30, 40, 60), -1)
    cv2.ellipse(image, (centre[0], centre[1] + 15), (75, 100), 0, 0, 360, skin_bgr, -1)
    for side in (-30, 30):
        cv2.ellipse(image, (centre[0] + side, centre[1] - 10), (14, 7), 0, 0, 360, (40, 30, 30), -1)
    cv2.ellipse(image, (centre[0], centre[1] + 65), (26, 9), 0, 0, 360, (80, 60, 190), -1)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 1.5), np.uint8)
