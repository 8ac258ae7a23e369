"""Where the pixels of a picture go on their way to the network, and how a label map finds back.

All sizes are integers computed from integers, so every language gets the same ones. "Rounded" means to the nearest
integer with halves up: `round(a / b) = (2 a + b) // (2 b)`.

- stretch: the region of interest becomes `size_hw`, whatever its aspect.
- letterbox: the region keeps its aspect. If `h * W >= w * H` (region h x w, network H x W) the height limits: the
  result is `H` high and `max(1, round(w * H / h))` wide; otherwise `W` wide and `max(1, round(h * W / w))` high.
  It is centred; of an odd remainder the smaller half goes to the top or left.
- center_crop: the region is first cut to the network's aspect. If `h * W >= w * H` the cut is `w` wide and
  `min(h, max(1, round(w * H / W)))` high; otherwise `h` high and `min(w, max(1, round(h * W / H)))` wide. It is
  centred; of an odd remainder the smaller half is cut off the top or left. Then as stretch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seg_core.errors import ImageError, SpecError
from seg_core.spec import PreprocessSpec

UInt8 = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Roi:
    """A rectangle of source pixels: rows top..top+height, columns left..left+width."""

    top: int
    left: int
    height: int
    width: int

    def __post_init__(self) -> None:
        """Refuse empty rectangles and negative corners; raises ImageError."""
        if self.height < 1 or self.width < 1 or self.top < 0 or self.left < 0:
            raise ImageError(f"region {self}: needs a corner inside the image and at least one pixel")

    def __str__(self) -> str:
        return f"{self.top},{self.left},{self.height},{self.width}"

    @property
    def size_hw(self) -> tuple[int, int]:
        """Size (height, width)."""
        return self.height, self.width

    @property
    def slices(self) -> tuple[slice, slice]:
        """Row and column slices that cut the rectangle out of an array (H, W, …)."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


@dataclass(frozen=True)
class Geometry:
    """The way of one picture: `box` of the source was resized to `resized_hw` and padded to `size_hw`."""

    source_hw: tuple[int, int]
    box: Roi
    resized_hw: tuple[int, int]
    pad_top_left: tuple[int, int]
    size_hw: tuple[int, int]

    @property
    def content(self) -> Roi:
        """Rectangle of the network's canvas that holds picture; the rest is padding."""
        return Roi(*self.pad_top_left, *self.resized_hw)

    def restore_labels(self, labels: UInt8, outside_label: int = 0) -> UInt8:
        """Return network-size labels uint8 (h, w) as uint8 (H, W) at source size (INTER_NEAREST).

        Padding is cut away; source pixels outside `box` get `outside_label`. Raises SpecError when `labels` is not
        at `size_hw`.
        """
        if labels.shape != self.size_hw or labels.dtype != np.uint8:
            raise SpecError(f"labels: expected uint8 {self.size_hw}, found {labels.dtype} {labels.shape}")
        inside = np.ascontiguousarray(labels[self.content.slices])
        return self.place(_resize_nearest(inside, self.box.size_hw), outside_label)

    def place(self, box_labels: UInt8, outside_label: int = 0) -> UInt8:
        """Return labels uint8 (box height, box width) laid into uint8 (H, W) filled with `outside_label`."""
        if self.box.size_hw == self.source_hw:
            return box_labels
        placed = np.full(self.source_hw, outside_label, np.uint8)
        placed[self.box.slices] = box_labels
        return placed

    def project_labels(self, mask: UInt8, pad_label: int) -> UInt8:
        """Return a source-size mask uint8 (H, W) at network size uint8 (h, w) (INTER_NEAREST).

        Padding gets `pad_label`. Raises SpecError when `mask` is not at `source_hw`.
        """
        if mask.shape != self.source_hw or mask.dtype != np.uint8:
            raise SpecError(f"mask: expected uint8 {self.source_hw}, found {mask.dtype} {mask.shape}")
        resized = _resize_nearest(np.ascontiguousarray(mask[self.box.slices]), self.resized_hw)
        if self.resized_hw == self.size_hw:
            return resized
        canvas = np.full(self.size_hw, pad_label, np.uint8)
        canvas[self.content.slices] = resized
        return canvas


def plan_geometry(source_hw: tuple[int, int], spec: PreprocessSpec, roi: Roi | None = None) -> Geometry:
    """Return where a picture of `source_hw` goes under `spec`; without `roi` all of it is used.

    Raises ImageError when `roi` reaches beyond the picture.
    """
    height, width = source_hw
    box = roi or Roi(0, 0, height, width)
    if box.top + box.height > height or box.left + box.width > width:
        raise ImageError(f"region {box} (top,left,height,width) reaches beyond the image of {height}x{width} (HxW)")
    if spec.resize == "center_crop":
        box = _crop_to_aspect(box, spec.size_hw)
    resized_hw = spec.size_hw
    if spec.resize == "letterbox":
        resized_hw = _fit_inside(box.size_hw, spec.size_hw)
    pad_top_left = ((spec.size_hw[0] - resized_hw[0]) // 2, (spec.size_hw[1] - resized_hw[1]) // 2)
    return Geometry((height, width), box, resized_hw, pad_top_left, spec.size_hw)


def _round_ratio(numerator: int, denominator: int) -> int:
    return (2 * numerator + denominator) // (2 * denominator)


def _fit_inside(region_hw: tuple[int, int], size_hw: tuple[int, int]) -> tuple[int, int]:
    (h, w), (height, width) = region_hw, size_hw
    if h * width >= w * height:
        return height, max(1, _round_ratio(w * height, h))
    return max(1, _round_ratio(h * width, w)), width


def _crop_to_aspect(box: Roi, size_hw: tuple[int, int]) -> Roi:
    (h, w), (height, width) = box.size_hw, size_hw
    if h * width >= w * height:
        cut_hw = (min(h, max(1, _round_ratio(w * height, width))), w)
    else:
        cut_hw = (h, min(w, max(1, _round_ratio(h * width, height))))
    return Roi(box.top + (h - cut_hw[0]) // 2, box.left + (w - cut_hw[1]) // 2, *cut_hw)


def _resize_nearest(labels: UInt8, size_hw: tuple[int, int]) -> UInt8:
    import cv2  # here, so that sizes and `seg_core.reference` do without it

    return np.asarray(cv2.resize(labels, size_hw[::-1], interpolation=cv2.INTER_NEAREST), np.uint8)
