"""Frozen, versioned contracts that travel from training to the phone."""

from seg_core.spec.io import from_json, to_json
from seg_core.spec.model import ModelSpec
from seg_core.spec.postprocess import CrfSpec, PostprocessSpec
from seg_core.spec.preprocess import IMAGENET_MEAN, IMAGENET_STD, PreprocessSpec
from seg_core.spec.tensor import Layout, TensorSpec

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "CrfSpec",
    "Layout",
    "ModelSpec",
    "PostprocessSpec",
    "PreprocessSpec",
    "TensorSpec",
    "from_json",
    "to_json",
]
