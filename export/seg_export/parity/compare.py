"""Numbers about two arrays of logits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from seg_export.parity.result import ImageParity, OutputParity
from seg_export.parity.tolerances import Tolerance

Float32 = npt.NDArray[np.float32]


def compare_image(image: str, found: Float32, reference: Float32, tolerance: Tolerance) -> ImageParity:
    """Compare logits (num_classes, h, w) of one image; another shape or a value that is not finite fails."""
    if found.shape != reference.shape or not np.isfinite(found).all():
        return ImageParity(image, None, None, 0.0, passed=False)
    max_abs = float(np.abs(found.astype(np.float64) - reference).max())
    largest = float(np.abs(reference).max())
    relative = max_abs / largest if largest else max_abs
    agreement = float((found.argmax(axis=0) == reference.argmax(axis=0)).mean())
    bound = tolerance.max_abs_relative
    passed = agreement >= tolerance.label_agreement and (bound is None or relative <= bound)
    return ImageParity(image, max_abs, relative, agreement, passed)


def summarise_output(
    name: str, shape: tuple[int, ...], reference_max: float, images: Sequence[ImageParity]
) -> OutputParity:
    """Return the worst of `images` as the verdict on an output."""
    worst = max(images, key=_badness)
    differences = [image.max_abs for image in images]
    finite = [value for value in differences if value is not None]
    return OutputParity(
        name=name,
        shape=shape,
        reference_max=reference_max,
        max_abs=max(finite) if len(finite) == len(differences) else None,
        max_abs_relative=worst.max_abs_relative,
        label_agreement=min(image.label_agreement for image in images),
        worst_image=worst.image,
        images=tuple(images),
        passed=all(image.passed for image in images),
    )


def _badness(image: ImageParity) -> float:
    return float("inf") if image.max_abs_relative is None else image.max_abs_relative
