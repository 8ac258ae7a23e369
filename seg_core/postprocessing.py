"""From the network's output to a label map at the size of the source picture.

Argmax takes the lower class index on a tie. Outputs at a fraction of the network's size (1/8, say) are first brought
to it: labels by repeating pixels, logits bilinearly. Bilinear here is `cv2.INTER_LINEAR` on float32: pixel centres
(align_corners=False), edges repeated; its last bits may differ between processors.
"""

from __future__ import annotations

from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt

from seg_core.errors import ArtifactError, SpecError
from seg_core.geometry import Geometry
from seg_core.spec import PostprocessSpec, TensorSpec

UInt8 = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]


class Postprocessor:
    """Turn one output tensor into labels uint8 (H, W) at source size, as a PostprocessSpec says."""

    def __init__(self, spec: PostprocessSpec) -> None:
        """Prepare for `spec`."""
        self.spec = spec

    def __call__(self, output: npt.NDArray[Any], tensor_spec: TensorSpec, geometry: Geometry) -> UInt8:
        """Return labels uint8 (H, W) at `geometry.source_hw`.

        `output` is logits (1, C, h, w) or (1, h, w, C), or integer labels (1, h, w), as `tensor_spec` says. Label
        outputs are always carried back by nearest neighbour. Raises ArtifactError when `output` is not what
        `tensor_spec` says or holds NaN or infinity, SpecError when `tensor_spec` does not fit `geometry`.
        """
        _check(output, tensor_spec, geometry)
        if tensor_spec.role == "labels":
            return self._from_labels(_as_labels(output, tensor_spec), geometry)
        scores = _as_planes(output, tensor_spec)
        if self.spec.resize == "labels":
            return self._from_labels(argmax_planes(scores), geometry)
        return self._from_logits(scores, geometry)

    def _from_labels(self, labels: UInt8, geometry: Geometry) -> UInt8:
        height, width = (whole // part for whole, part in zip(geometry.size_hw, labels.shape, strict=True))
        if (height, width) != (1, 1):
            labels = labels.repeat(height, axis=0).repeat(width, axis=1)
        return geometry.restore_labels(labels, self.spec.outside_label)

    def _from_logits(self, scores: Float32, geometry: Geometry) -> UInt8:
        # Class by class: all classes at the size of a photograph would be gigabytes.
        best: Float32 | None = None
        labels = np.zeros(geometry.box.size_hw, np.uint8)
        for index, plane in enumerate(scores):
            inside = _resize_bilinear(plane, geometry.size_hw)[geometry.content.slices]
            score = _resize_bilinear(inside, geometry.box.size_hw)
            if best is None:
                best = score.copy()
            else:
                _take_better(labels, best, score, index)
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


def _resize_bilinear(plane: Float32, size_hw: tuple[int, int]) -> Float32:
    if plane.shape == size_hw:
        return plane
    resized = cv2.resize(np.ascontiguousarray(plane), size_hw[::-1], interpolation=cv2.INTER_LINEAR)
    return cast(Float32, resized)
