"""From a decoded picture to the network's tensor: the one code that training, parity and apps call.

`seg_core.reference` defines the same bits in numpy alone; a test holds the two together.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from seg_core.errors import ImageError, SpecError
from seg_core.geometry import Geometry, Roi, plan_geometry
from seg_core.prior import check_prior, prior_table
from seg_core.spec import PreprocessSpec

UInt8 = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]

_INTERPOLATION = {"linear_exact": cv2.INTER_LINEAR_EXACT, "nearest": cv2.INTER_NEAREST}

# ITU-R BT.601 luma in 15-bit fixed point for B, G, R; they sum to 1 << 15, so grey stays what it is.
GRAY_WEIGHTS_BGR = (3735, 19235, 9798)


class Preprocessed(NamedTuple):
    """The network's input and the way back: `tensor` in `spec.tensor_shape` and dtype, C-contiguous."""

    tensor: npt.NDArray[Any]
    geometry: Geometry


class Preprocessor:
    """Turn BGR uint8 pictures (H, W, 3) into input tensors as a PreprocessSpec says.

    `to_canvas` (crop, reduce, resize, pad) and `to_tensor` (colour order, prior, normalisation, layout) are the two
    halves, so that training can augment in between. `prior` is the label map of a video's previous frame, uint8 (h, w)
    at `spec.size_hw`, None where there is none (`seg_core.prior` tells how it gets there). Instances hold no state but
    tables and may be shared by threads.
    """

    def __init__(self, spec: PreprocessSpec) -> None:
        """Prepare for `spec`."""
        self.spec = spec
        self._tables = normalisation_tables(spec)
        self._prior_table = prior_table(spec)

    def __call__(self, image_bgr: UInt8, roi: Roi | None = None, prior: UInt8 | None = None) -> Preprocessed:
        """Return the input tensor for one picture; raises as `to_canvas` and `to_tensor` do."""
        canvas, geometry = self.to_canvas(image_bgr, roi)
        return Preprocessed(self.to_tensor(canvas, prior), geometry)

    def to_canvas(self, image_bgr: UInt8, roi: Roi | None = None) -> tuple[UInt8, Geometry]:
        """Return BGR uint8 (h, w, 3) at `spec.size_hw`, and how it came about.

        Raises ImageError when the picture is not BGR uint8 (H, W, 3) or `roi` reaches beyond it.
        """
        check_image(image_bgr)
        geometry = plan_geometry((image_bgr.shape[0], image_bgr.shape[1]), self.spec, roi)
        region = image_bgr[geometry.box.slices]
        if self.spec.reduce == "halve":
            region = _halve(region, geometry.resized_hw)
        how = _INTERPOLATION[self.spec.interpolation]
        resized = cv2.resize(np.ascontiguousarray(region), geometry.resized_hw[::-1], interpolation=how)
        if geometry.resized_hw == geometry.size_hw:
            return np.asarray(resized, np.uint8), geometry
        canvas = np.full((*geometry.size_hw, 3), self.spec.pad_value, np.uint8)
        canvas[geometry.content.slices] = resized
        return canvas, geometry

    def to_tensor(self, canvas_bgr: UInt8, prior: UInt8 | None = None) -> npt.NDArray[Any]:
        """Return the tensor of a BGR uint8 canvas (h, w, 3); raises SpecError as `to_pixels` does."""
        pixels = self.to_pixels(canvas_bgr, prior)
        if self.spec.layout == "nhwc":
            return self._normalise_interleaved(pixels)[np.newaxis]
        return self._normalise_planes(pixels)[np.newaxis]

    def to_pixels(self, canvas_bgr: UInt8, prior: UInt8 | None = None) -> UInt8:
        """Return uint8 (h, w, C) in the contract's channels, not yet normalised; may share memory with the canvas.

        Under a contract with a prior the last channel is that of `prior`, zeros without one. Raises SpecError when
        the canvas is not BGR uint8 at `spec.size_hw`, or a prior is given that does not fit the contract.
        """
        if canvas_bgr.shape != (*self.spec.size_hw, 3) or canvas_bgr.dtype != np.uint8:
            raise SpecError(f"canvas: expected uint8 {self.spec.size_hw} x 3, found {canvas_bgr.shape}")
        check_prior(self.spec, prior)
        pixels = _reorder(np.ascontiguousarray(canvas_bgr), self.spec.color)
        if not self.spec.has_prior:
            return pixels
        if prior is None:
            plane = np.zeros(self.spec.size_hw, np.uint8)
        else:
            plane = np.asarray(cv2.LUT(np.ascontiguousarray(prior), self._prior_table), np.uint8)
        return np.dstack([pixels, plane])

    def resize_mask(self, mask: UInt8, geometry: Geometry, pad_label: int = 255) -> UInt8:
        """Return a source-size mask uint8 (H, W) at network size uint8 (h, w), padding filled with `pad_label`.

        Raises SpecError when the mask is not at `geometry.source_hw`.
        """
        return geometry.project_labels(mask, pad_label)

    def _normalise_interleaved(self, pixels: UInt8) -> npt.NDArray[Any]:
        if self.spec.dtype == "uint8":
            return pixels.copy()
        table = np.ascontiguousarray(self._tables.T)[np.newaxis]
        return np.asarray(cv2.LUT(pixels, table)).reshape(pixels.shape)

    def _normalise_planes(self, pixels: UInt8) -> npt.NDArray[Any]:
        planes = cv2.split(pixels)
        if self.spec.dtype == "uint8":
            return np.stack(planes)
        # One look-up a plane is as exact as the arithmetic and a tenth of its time.
        return np.stack([cv2.LUT(plane, table) for plane, table in zip(planes, self._tables, strict=True)])


def normalisation_tables(spec: PreprocessSpec) -> Float32:
    """Return float32 (channels, 256): the tensor value of each pixel value, in the order of the contract's channels.

    scale, mean and std are rounded from float64 to float32 first; then `((x * scale) - mean) / std` in float32 with
    a rounding after each operation.
    """
    pixels = np.arange(256, dtype=np.float32)
    mean = np.array(spec.mean, np.float32)[:, np.newaxis]
    std = np.array(spec.std, np.float32)[:, np.newaxis]
    scaled = pixels * np.float32(spec.scale)
    return (scaled - mean) / std


def check_image(image_bgr: npt.NDArray[Any]) -> None:
    """Raise ImageError unless the array is BGR uint8 (H, W, 3) with at least one pixel."""
    if image_bgr.dtype != np.uint8 or image_bgr.ndim != 3 or image_bgr.shape[2] != 3 or image_bgr.size == 0:
        raise ImageError(f"image: expected BGR uint8 (H, W, 3), found {image_bgr.dtype} {image_bgr.shape}")


def _halve(region: UInt8, resized_hw: tuple[int, int]) -> UInt8:
    """Average 2x2 blocks while both sides are at least twice the target; an odd last row or column is dropped."""
    height, width = region.shape[:2]
    while height >= 2 * resized_hw[0] and width >= 2 * resized_hw[1]:
        height, width = height // 2, width // 2
        even = np.ascontiguousarray(region[: 2 * height, : 2 * width])
        # At exactly 2:1 LINEAR_EXACT is (a + b + c + d + 2) >> 2, as the contract asks.
        region = np.asarray(cv2.resize(even, (width, height), interpolation=cv2.INTER_LINEAR_EXACT), np.uint8)
    return region


def _reorder(canvas_bgr: UInt8, color: str) -> UInt8:
    if color == "bgr":
        return canvas_bgr
    if color == "rgb":
        return np.asarray(cv2.cvtColor(canvas_bgr, cv2.COLOR_BGR2RGB), np.uint8)
    # Integers here, not cvtColor: vendors' replacements of it round differently on other processors.
    total = (canvas_bgr.astype(np.uint32) * np.array(GRAY_WEIGHTS_BGR, np.uint32)).sum(axis=2, keepdims=True)
    return np.asarray((total + 16384) >> 15, np.uint8)
