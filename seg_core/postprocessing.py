"""From the network's output to a label map at the size of the source picture.

Argmax takes the lower class index on a tie. Outputs at a fraction of the network's size (1/8, say) are first brought
to it: labels by repeating pixels, logits bilinearly. Bilinear here is `cv2.INTER_LINEAR` on float32: pixel centres
(align_corners=False), edges repeated; its last bits may differ between processors.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt

from seg_core.crf import refine_scores, score_labels
from seg_core.errors import ArtifactError, ImageError, SpecError
from seg_core.geometry import Geometry
from seg_core.spec import PostprocessSpec, TensorSpec

UInt8 = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]


class Postprocessor:
    """Turn one output tensor into labels uint8 (H, W) at source size, as a PostprocessSpec says."""

    def __init__(self, spec: PostprocessSpec) -> None:
        """Prepare for `spec`."""
        self.spec = spec

    def __call__(
        self, output: npt.NDArray[Any], tensor_spec: TensorSpec, geometry: Geometry, image_bgr: UInt8 | None = None
    ) -> UInt8:
        """Return labels uint8 (H, W) at `geometry.source_hw`.

        `output` is logits (1, C, h, w) or (1, h, w, C), or integer labels (1, h, w), as `tensor_spec` says. Label
        outputs are always carried back by nearest neighbour, unless a CRF made scores of them. `image_bgr`, uint8
        (H, W, 3) at source size, is what a CRF looks at and is not needed without one. Raises ArtifactError when
        `output` is not what `tensor_spec` says or holds NaN or infinity, SpecError when `tensor_spec` does not fit
        `geometry`, ImageError when a CRF gets no picture or one of another size.
        """
        if self.spec.crf is not None:
            return self.finish(self.refine(output, tensor_spec, geometry, image_bgr), geometry)
        _check(output, tensor_spec, geometry)
        if tensor_spec.role == "labels":
            return self._from_labels(_repeat(_as_labels(output, tensor_spec), geometry.size_hw), geometry)
        scores = _as_planes(output, tensor_spec)
        if self.spec.resize == "labels":
            return self._from_labels(_repeat(argmax_planes(scores), geometry.size_hw), geometry)
        inside = (_resize_bilinear(plane, geometry.size_hw)[geometry.content.slices] for plane in scores)
        return self._from_planes(inside, geometry)

    def refine(
        self, output: npt.NDArray[Any], tensor_spec: TensorSpec, geometry: Geometry, image_bgr: UInt8 | None
    ) -> Float32:
        """Return what the CRF makes of `output`: probabilities float32 (C, h, w) of the canvas without its padding.

        h and w are `geometry.resized_hw` times the CRF's scale. Of a label output, C is the highest label + 1. Raises
        SpecError when the contract has no CRF, and what calling the postprocessor raises.
        """
        if self.spec.crf is None:
            raise SpecError("postprocess.crf: the contract asks for no CRF")
        if image_bgr is None or image_bgr.shape != (*geometry.source_hw, 3):
            found = "none" if image_bgr is None else str(image_bgr.shape)
            raise ImageError(f"postprocess.crf: needs the BGR image {(*geometry.source_hw, 3)}, found {found}")
        _check(output, tensor_spec, geometry)
        scale = self.spec.crf.scale
        work_hw = (geometry.resized_hw[0] * scale, geometry.resized_hw[1] * scale)
        if tensor_spec.role == "labels":
            labels = _repeat(_as_labels(output, tensor_spec), geometry.size_hw)[geometry.content.slices]
            scores = score_labels(_repeat(labels, work_hw), self.spec.crf)
        else:
            planes = (_resize_bilinear(plane, geometry.size_hw) for plane in _as_planes(output, tensor_spec))
            scores = np.stack([_resize_bilinear(plane[geometry.content.slices], work_hw) for plane in planes])
        return refine_scores(scores, _resize_image(image_bgr[geometry.box.slices], work_hw), self.spec.crf)

    def finish(self, probabilities: Float32, geometry: Geometry) -> UInt8:
        """Return labels uint8 (H, W) at source size from what `refine` gave."""
        if self.spec.resize == "labels":
            # Not INTER_NEAREST, which picks up to half a pixel to the top left: edges now lie on those of the picture.
            width_height = geometry.box.size_hw[::-1]
            labels = cv2.resize(argmax_planes(probabilities), width_height, interpolation=cv2.INTER_NEAREST_EXACT)
            return geometry.place(np.asarray(labels, np.uint8), self.spec.outside_label)
        return self._from_planes(iter(probabilities), geometry)

    def network_labels(self, output: npt.NDArray[Any], tensor_spec: TensorSpec, geometry: Geometry) -> UInt8:
        """Return labels uint8 (h, w) at `geometry.size_hw`, padding included: what a video's next frame is told.

        Scores at a fraction of that size are enlarged bilinearly before argmax where the contract carries logits back,
        and after it (by repeating pixels) where it carries labels. Raises as a call does.
        """
        _check(output, tensor_spec, geometry)
        if tensor_spec.role == "labels":
            return _repeat(_as_labels(output, tensor_spec), geometry.size_hw)
        scores = _as_planes(output, tensor_spec)
        if self.spec.resize == "logits":
            scores = np.stack([_resize_bilinear(plane, geometry.size_hw) for plane in scores])
        return _repeat(argmax_planes(scores), geometry.size_hw)

    def _from_labels(self, labels: UInt8, geometry: Geometry) -> UInt8:
        return geometry.restore_labels(labels, self.spec.outside_label)

    def _from_planes(self, planes: Iterator[Float32], geometry: Geometry) -> UInt8:
        # Class by class: all classes at the size of a photograph would be gigabytes.
        best = _resize_bilinear(next(planes), geometry.box.size_hw).copy()
        labels = np.zeros(geometry.box.size_hw, np.uint8)
        for index, plane in enumerate(planes, start=1):
            _take_better(labels, best, _resize_bilinear(plane, geometry.box.size_hw), index)
        return geometry.place(labels, self.spec.outside_label)


def argmax_planes(scores: Float32) -> UInt8:
    """Return uint8 (h, w): the index of the largest of float32 (C, h, w), the lowest on a tie; no NaN allowed."""
    best = scores[0].copy()
    labels = np.zeros(best.shape, np.uint8)
    for index in range(1, len(scores)):
        _take_better(labels, best, scores[index], index)
    return labels


def _take_better(labels: UInt8, best: Float32, score: Float32, index: int) -> None:
    """Set `labels` to `index` and `best` to `score` in place, where `score` is the greater."""
    # Many times as fast as numpy's argmax; indices only grow, so the maximum of labels is the newest.
    greater = (score > best).view(np.uint8)
    np.maximum(labels, greater * np.uint8(index), out=labels)
    np.maximum(best, score, out=best)


def _check(output: npt.NDArray[Any], spec: TensorSpec, geometry: Geometry) -> None:
    if spec.role == "image":
        raise SpecError(f"output {spec.name!r}: has the role of an input image")
    if output.shape != spec.shape:
        raise ArtifactError(f"output {spec.name!r}: has shape {output.shape}, its manifest says {spec.shape}")
    if output.shape[0] != 1:
        raise ArtifactError(f"output {spec.name!r}: a batch of one is wanted, found {output.shape[0]}")
    (height, width), (out_height, out_width) = geometry.size_hw, spec.size_hw
    if height % out_height or width % out_width:
        raise SpecError(f"output {spec.name!r}: {spec.size_hw} is no whole fraction of the input's {geometry.size_hw}")
    if spec.role == "logits" and not np.isfinite(output).all():
        raise ArtifactError(
            f"output {spec.name!r}: holds NaN or infinity; half precision may have overflowed: export fp32 and compare"
        )


def _as_labels(output: npt.NDArray[Any], spec: TensorSpec) -> UInt8:
    if spec.layout != "nhw" or not np.issubdtype(output.dtype, np.integer):
        raise ArtifactError(f"output {spec.name!r}: labels are integers (1, h, w), found {output.dtype} {spec.layout}")
    if output.dtype != np.uint8 and (output.min() < 0 or output.max() > 255):
        raise ArtifactError(f"output {spec.name!r}: labels lie in {output.min()}..{output.max()}, beyond 0..255")
    return np.asarray(output[0], np.uint8)


def _as_planes(output: npt.NDArray[Any], spec: TensorSpec) -> Float32:
    if spec.layout == "nhw" or not np.issubdtype(output.dtype, np.floating):
        raise ArtifactError(f"output {spec.name!r}: logits are floats with channels, found {output.dtype}")
    planes = output[0].transpose(2, 0, 1) if spec.layout == "nhwc" else output[0]
    if len(planes) > 255:
        raise ArtifactError(f"output {spec.name!r}: {len(planes)} classes do not fit a uint8 label map")
    return np.ascontiguousarray(planes, np.float32)


def _repeat(labels: UInt8, size_hw: tuple[int, int]) -> UInt8:
    height, width = (whole // part for whole, part in zip(size_hw, labels.shape, strict=True))
    return labels if (height, width) == (1, 1) else labels.repeat(height, axis=0).repeat(width, axis=1)


def _resize_image(image_bgr: UInt8, size_hw: tuple[int, int]) -> UInt8:
    shrinks = image_bgr.shape[0] > size_hw[0] or image_bgr.shape[1] > size_hw[1]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(np.ascontiguousarray(image_bgr), size_hw[::-1], interpolation=interpolation), np.uint8)


def _resize_bilinear(plane: Float32, size_hw: tuple[int, int]) -> Float32:
    if plane.shape == size_hw:
        return plane
    resized = cv2.resize(np.ascontiguousarray(plane), size_hw[::-1], interpolation=cv2.INTER_LINEAR)
    return cast(Float32, resized)
