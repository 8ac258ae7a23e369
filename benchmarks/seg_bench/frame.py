"""The frame that a benchmark runs again and again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from seg_core.images import list_images, load_image

_DRAWN_HW = (720, 1280)


def load_frame(images: str | Path | None) -> tuple[npt.NDArray[np.uint8], str]:
    """Return a frame, BGR uint8 (H, W, 3), and what it is.

    It is the picture `images`, or the first of the directory `images`, or without either a drawn frame that is
    always the same. Raises ImageError naming the file.
    """
    if images is None:
        return _drawn_frame(), f"a drawn {_DRAWN_HW[0]}×{_DRAWN_HW[1]} frame"
    path = list_images(images)[0]
    image_bgr = load_image(path)
    return image_bgr, f"{path.name} ({image_bgr.shape[0]}×{image_bgr.shape[1]})"


def _drawn_frame() -> npt.NDArray[np.uint8]:
    # Gradients with grain, as a camera gives: a constant or pure noise would suit caches too well.
    height, width = _DRAWN_HW
    rows, columns = np.mgrid[0:height, 0:width]
    waves = np.stack([np.sin(columns / 97.0), np.cos(rows / 61.0), np.sin((rows + columns) / 131.0)], axis=-1)
    grain = np.random.default_rng(0).normal(0.0, 6.0, waves.shape)
    return np.clip(127.5 + 90.0 * waves + grain, 0, 255).astype(np.uint8)
