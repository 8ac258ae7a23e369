"""Segmentation for applications: the preprocessing contract, runners and label maps, on numpy and OpenCV alone.

    from seg_core import Predictor, load_image

    with Predictor.open("model.onnx") as predictor:
        labels = predictor.predict(load_image("photo.jpg")).labels

Names are resolved on first use, so importing the package costs next to nothing and `seg_core.reference` works where
OpenCV is absent.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seg_core.errors import (
        ArtifactError,
        CheckpointError,
        ConfigError,
        ImageError,
        MissingDependencyError,
        SegError,
        SpecError,
    )
    from seg_core.geometry import Geometry, Roi, plan_geometry
    from seg_core.images import list_images, load_image, load_mask, open_video, save_image
    from seg_core.labels import CAMVID_11, CELEBAMASK_HQ, LabelSet
    from seg_core.manifest import Manifest, load_manifest
    from seg_core.postprocessing import Postprocessor
    from seg_core.predictor import Prediction, Predictor
    from seg_core.preprocessing import Preprocessed, Preprocessor
    from seg_core.reference import reference_preprocess
    from seg_core.runners import Runner, open_runner
    from seg_core.spec import CrfSpec, ModelSpec, PostprocessSpec, PreprocessSpec, TensorSpec

__all__ = [
    "CAMVID_11",
    "CELEBAMASK_HQ",
    "ArtifactError",
    "CheckpointError",
    "ConfigError",
    "CrfSpec",
    "Geometry",
    "ImageError",
    "LabelSet",
    "Manifest",
    "MissingDependencyError",
    "ModelSpec",
    "PostprocessSpec",
    "Postprocessor",
    "Prediction",
    "Predictor",
    "PreprocessSpec",
    "Preprocessed",
    "Preprocessor",
    "Roi",
    "Runner",
    "SegError",
    "SpecError",
    "TensorSpec",
    "list_images",
    "load_image",
    "load_manifest",
    "load_mask",
    "open_runner",
    "open_video",
    "plan_geometry",
    "reference_preprocess",
    "save_image",
]

_MODULES = {
    "errors": "ArtifactError CheckpointError ConfigError ImageError MissingDependencyError SegError SpecError",
    "geometry": "Geometry Roi plan_geometry",
    "images": "list_images load_image load_mask open_video save_image",
    "labels": "CAMVID_11 CELEBAMASK_HQ LabelSet",
    "manifest": "Manifest load_manifest",
    "postprocessing": "Postprocessor",
    "predictor": "Prediction Predictor",
    "preprocessing": "Preprocessed Preprocessor",
    "reference": "reference_preprocess",
    "runners": "Runner open_runner",
    "spec": "CrfSpec ModelSpec PostprocessSpec PreprocessSpec TensorSpec",
}
_HOME = {name: module for module, names in _MODULES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'seg_core' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"seg_core.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
