"""Refine class scores with a fully connected CRF (Krähenbühl & Koltun, NIPS 2011, https://arxiv.org/abs/1210.5644).

Every pixel is tied to every other by two Gaussian kernels: smoothness (position) and appearance (position and colour).
Labels that differ cost the kernel's value (Potts model). Mean-field iterations then pull each pixel towards the labels
of what lies near and looks alike, which moves label edges to edges of the picture.

Each kernel's message is the weighted *mean* over all pixels, the pixel itself included, not the paper's sum: weights
then mean the same at every size and sigma. Position alone is filtered by `cv2.GaussianBlur`; position and colour
on the permutohedral lattice, which the paper uses too. A dense bilateral grid of five dimensions would be larger by
far; a sparse one with nearest cells was tried: four times as fast, but five times less exact.
"""

from __future__ import annotations

import math
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from seg_core.errors import ImageError, SpecError
from seg_core.permutohedral import LatticeError, PermutohedralLattice
from seg_core.spec.postprocess import CrfSpec

UInt8 = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]

#: A class that is nowhere more probable than this takes no part; see `_select_classes`.
_NEGLIGIBLE = 0.01

#: How far the edges of a label map are uncertain: the sigma, in pixels of the network's size, that blurs its regions.
LABEL_BLUR_PX = 0.75

#: Probability of a label that occurs nowhere in a label map.
_ABSENT = 1e-6


def refine_scores(log_scores: Float32, image_bgr: UInt8, spec: CrfSpec) -> Float32:
    """Return the mean-field marginals, float32 (C, h, w) that sum to one over classes.

    `log_scores` is float32 (C, h, w), the unary term: logits or log-probabilities, finite, any constant per pixel.
    `image_bgr` is BGR uint8 (h, w, 3). Neither is changed. Both are at `spec.scale` times the network's size, which
    here only stretches the sigmas. Raises ImageError when the picture does not fit the scores, SpecError when the
    appearance sigmas are so small that its cells cannot be numbered.
    """
    classes, height, width = log_scores.shape
    if image_bgr.shape != (height, width, 3) or image_bgr.dtype != np.uint8:
        raise ImageError(f"CRF: wants an image uint8 {(height, width, 3)}, found {image_bgr.dtype} {image_bgr.shape}")
    unary = log_scores.reshape(classes, -1)
    initial = _softmax(unary.copy())
    chosen = _select_classes(initial, spec)
    refined = np.zeros(log_scores.shape, np.float32)
    refined[chosen] = _iterate(unary[chosen], image_bgr, spec).reshape(-1, height, width)
    return refined


def score_labels(labels: UInt8, spec: CrfSpec) -> Float32:
    """Return log-probabilities float32 (highest label + 1, h, w) of a label map uint8 (h, w) at the working size.

    Deep inside a region its label has the share `spec.label_confidence`, and the other labels that occur anywhere
    divide the rest evenly. Towards an edge the shares of both sides approach each other, as a network's do: with
    constant ones, hardly a message would outweigh them. Labels that occur nowhere get next to nothing.
    """
    present = np.unique(labels)
    rest = (1.0 - spec.label_confidence) / max(1, len(present) - 1)
    sigma_px = LABEL_BLUR_PX * spec.scale
    scores = np.full((int(present[-1]) + 1, *labels.shape), math.log(_ABSENT), np.float32)
    for label in present:
        region = (labels == label).astype(np.float32)
        share = cv2.GaussianBlur(region, (0, 0), sigma_px, sigmaY=sigma_px, borderType=cv2.BORDER_REPLICATE)
        scores[label] = np.log(share * np.float32(spec.label_confidence - rest) + np.float32(rest))
    return scores


def _iterate(unary: Float32, image_bgr: UInt8, spec: CrfSpec) -> Float32:
    """Run the mean-field iterations on `unary` (C, N) and return the marginals (C, N)."""
    smoothness = _Smoothness(image_bgr.shape[:2], spec) if spec.smoothness_weight > 0 else None
    appearance = _appearance(image_bgr, spec) if spec.appearance_weight > 0 else None
    marginals = _softmax(unary.copy())
    for _ in range(spec.iterations):
        energy = unary.copy()
        if smoothness is not None:
            energy += np.float32(spec.smoothness_weight) * smoothness.mean(marginals)
        if appearance is not None:
            energy += np.float32(spec.appearance_weight) * appearance.mean(marginals)
        marginals = _softmax(energy)
    return marginals


def _appearance(image_bgr: UInt8, spec: CrfSpec) -> PermutohedralLattice:
    try:
        return PermutohedralLattice(_features(image_bgr, spec))
    except LatticeError:
        height, width = image_bgr.shape[:2]
        raise SpecError(
            f"postprocess.crf: appearance_sigma_px {spec.appearance_sigma_px:g} and appearance_sigma_bgr "
            f"{spec.appearance_sigma_bgr:g} are too small for {height}x{width} pixels; raise them"
        ) from None


class _Smoothness:
    """The mean under a Gaussian of position; beyond the picture's edge there is nothing."""

    def __init__(self, size_hw: tuple[int, ...], spec: CrfSpec) -> None:
        self._size_hw = (size_hw[0], size_hw[1])
        self._sigma_px = spec.smoothness_sigma_px * spec.scale
        self._norm = self._blur(np.ones(self._size_hw, np.float32))

    def mean(self, values: Float32) -> Float32:
        """Return the mean of `values`, float32 (C, N), around every pixel."""
        means = np.empty_like(values)
        for plane, mean in zip(values, means, strict=True):
            mean[:] = (self._blur(plane.reshape(self._size_hw)) / self._norm).ravel()
        return means

    def _blur(self, plane: Float32) -> Float32:
        sigma = self._sigma_px
        return cast(Float32, cv2.GaussianBlur(plane, (0, 0), sigma, sigmaY=sigma, borderType=cv2.BORDER_CONSTANT))


def _features(image_bgr: UInt8, spec: CrfSpec) -> Float32:
    """Return float32 (5, N): row, column, blue, green, red, each in units of its sigma."""
    height, width = image_bgr.shape[:2]
    features = np.empty((5, height, width), np.float32)
    sigma_px = spec.appearance_sigma_px * spec.scale
    features[0] = (np.arange(height) / sigma_px)[:, None]
    features[1] = np.arange(width) / sigma_px
    features[2:] = image_bgr.transpose(2, 0, 1) / np.float32(spec.appearance_sigma_bgr)
    return features.reshape(5, -1)


def _softmax(energy: Float32) -> Float32:
    """Turn `energy` (C, N) in place into the softmax over classes, and return it."""
    energy -= energy.max(axis=0)
    np.exp(energy, out=energy)
    energy /= energy.sum(axis=0)
    return energy


def _select_classes(initial: Float32, spec: CrfSpec) -> npt.NDArray[np.intp]:
    """Return the indices of the classes that could win a pixel, given the initial marginals (C, N).

    With all weights together W and p the largest probability of a class anywhere, an iteration raises p to p exp(W p)
    at most, which converges as long as p < 1 / (e W). With half of that, and never more than 0.01, it ends below 0.013
    and wins nowhere. Leaving such classes out costs the other marginals as little; of 19 classes of a face 14 remain.
    Where no class reaches that, as over a hundred of equal scores, all take part.
    """
    weight = spec.smoothness_weight + spec.appearance_weight
    threshold = min(_NEGLIGIBLE, 0.5 / (math.e * weight)) if weight > 0 else _NEGLIGIBLE
    chosen = np.flatnonzero(initial.max(axis=1) >= threshold)
    return chosen if chosen.size else np.arange(len(initial))
