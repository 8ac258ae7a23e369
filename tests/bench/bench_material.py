"""Tiny inputs: a network whose class is the strongest of red, green and blue, and pictures for it."""

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper

from seg_core.labels import LabelSet
from seg_core.manifest import METADATA_KEY, ArtifactInfo, GraphSpec, Manifest
from seg_core.spec import ModelSpec, PostprocessSpec, PreprocessSpec, TensorSpec

NAMES = ("red", "green", "blue")
COLOURS_BGR = np.array([(0, 0, 255), (0, 255, 0), (255, 0, 0)], np.uint8)


def write_artifact(path, size_hw=(8, 8), postprocess=None, **preprocess):
    """Write an ONNX file whose logits are its input, so that labels follow from the picture alone."""
    spec = PreprocessSpec(size_hw, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), **preprocess)
    shape = (1, 3, *size_hw)
    manifest = Manifest(
        artifact=ArtifactInfo(path.name, "onnx", "fp32"),
        model=ModelSpec("identity", 3),
        preprocess=spec,
        postprocess=postprocess or PostprocessSpec(),
        labels=LabelSet(NAMES),
        graph=GraphSpec(),
        inputs=(TensorSpec("image", "image", shape, "float32", "nchw"),),
        outputs=(TensorSpec("logits", "logits", shape, "float32", "nchw"),),
    )
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("image", "logits")]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["image"], ["logits"])], "identity", tensors[:1], tensors[1:]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {METADATA_KEY: manifest.to_json()})
    onnx.save(model, path)
    return path


def write_pair(data_dir, stem, shown, mask):
    """Write the picture whose labels are `shown` and the mask that claims `mask`, both (H, W)."""
    for name in ("images", "masks"):
        (data_dir / name).mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(data_dir / "images" / f"{stem}.png"), COLOURS_BGR[shown])
    cv2.imwrite(str(data_dir / "masks" / f"{stem}.png"), mask.astype(np.uint8))
