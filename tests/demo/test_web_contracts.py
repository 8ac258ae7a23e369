"""Other contracts than the bundled network's, through the whole page: tiny networks that label strongest colours."""

import hashlib

import cv2
import numpy as np
import onnx
import pytest
from browser_material import SAMPLES, chromium, serving
from onnx import TensorProto, helper

from seg_core import LabelSet, ModelSpec, PostprocessSpec, Predictor, PreprocessSpec, Roi, TensorSpec
from seg_core.manifest import ArtifactInfo, GraphSpec, Manifest
from seg_demo.golden import compute_golden
from seg_demo.site import build_site

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300), pytest.mark.usefixtures("npm_packages")]

LABELS = LabelSet(("red", "green", "blue"), ((255, 0, 0), (0, 255, 0), (0, 0, 255)))
RAW = {"scale": 1.0, "mean": (0.0,) * 3, "std": (1.0,) * 3, "dtype": "uint8"}


def make_network(path, spec, postprocess, argmax, stride=1):
    """Write an ONNX file whose scores are the input's channels, or whose labels are the strongest of them."""
    height, width = spec.size_hw
    kind = TensorProto.UINT8 if spec.dtype == "uint8" else TensorProto.FLOAT
    image = helper.make_tensor_value_info("image", kind, spec.tensor_shape)
    nodes = [helper.make_node("Cast", ["image"], ["scores"], to=TensorProto.FLOAT)]
    if spec.layout == "nhwc":
        nodes.append(helper.make_node("Transpose", ["scores"], ["planes"], perm=[0, 3, 1, 2]))
    else:
        nodes.append(helper.make_node("Identity", ["scores"], ["planes"]))
    pool = {"kernel_shape": [stride, stride], "strides": [stride, stride]}
    nodes.append(helper.make_node("AveragePool", ["planes"], ["logits"], **pool))
    shape = (1, 3, height // stride, width // stride)
    output = TensorSpec("logits", "logits", shape, "float32", "nchw")
    if argmax:
        nodes.append(helper.make_node("ArgMax", ["logits"], ["labels"], axis=1, keepdims=0))
        output = TensorSpec("labels", "labels", (1, *shape[2:]), "int64", "nhw")
    made = TensorProto.INT64 if argmax else TensorProto.FLOAT
    outputs = [helper.make_tensor_value_info(output.name, made, output.shape)]
    graph = helper.make_graph(nodes, "strongest_colour", [image], outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, path)
    data = path.read_bytes()
    info = ArtifactInfo(path.name, "onnx", "fp32", len(data), hashlib.sha256(data).hexdigest())
    inputs = (TensorSpec("image", "image", spec.tensor_shape, spec.dtype, spec.layout),)
    graph_spec = GraphSpec(scaling=spec.dtype == "uint8", normalisation=spec.dtype == "uint8", argmax=argmax)
    manifest = Manifest(info, ModelSpec("strongest", 3), spec, postprocess, LABELS, graph_spec, inputs, (output,))
    path.with_name(path.name + ".json").write_text(manifest.to_json(), encoding="utf-8")
    return manifest


CASES = {
    "letterbox": (PreprocessSpec((96, 128), resize="letterbox", pad_value=7), PostprocessSpec("labels", 2), False, 1),
    "center_crop_halved": (
        PreprocessSpec((64, 48), "bgr", "center_crop", reduce="halve", layout="nhwc"),
        PostprocessSpec("labels", 1), False, 1,
    ),
    "nearest_uint8_argmax": (
        PreprocessSpec((80, 80), interpolation="nearest", layout="nhwc", **RAW), PostprocessSpec(), True, 1,
    ),
    "eighth_of_the_size": (PreprocessSpec((128, 64)), PostprocessSpec("labels", 255), False, 8),
    "resized_logits": (PreprocessSpec((64, 64), resize="letterbox"), PostprocessSpec("logits", 2), False, 4),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_contract_is_followed(tmp_path, name):
    spec, postprocess, argmax, stride = CASES[name]
    model = tmp_path / "net.onnx"
    manifest = make_network(model, spec, postprocess, argmax, stride)
    site = build_site(model, manifest, compute_golden(model, manifest))
    with serving(site) as url, chromium() as page:
        assert page.open(url) == "ready", page.problem
        assert "100.00 % of labels" in page.facts["Self-check"]
        page.choose_photo(SAMPLES / "grace_hopper.png")
        for region in ("whole", "square"):
            page.set_value("region", region)
            page.set_value("zoom", 150)
            page.idle()
            image_bgr, labels, _ = page.labelled()
            box = page.run(
                "const { top, left, height, width } = segproof.lastRegion ?? {}; return [top, left, height, width]"
            )
            roi = None if region == "whole" else Roi(*box)
            with Predictor.open(model) as predictor:
                expected = predictor.predict(image_bgr, roi).labels
            assert len(np.unique(expected)) >= 2
            # Bilinear resizing of scores may differ in last bits, and so at ties; labels may not.
            assert (expected == labels).mean() >= (0.9999 if postprocess.resize == "logits" else 1.0)


def test_a_network_of_any_name_opens_and_translucent_pixels_are_seen_over_black(tmp_path):
    model = tmp_path / "my #1 of 50%?.onnx"
    manifest = make_network(model, PreprocessSpec((64, 64)), PostprocessSpec(), argmax=False)
    picture = np.random.default_rng(1).integers(0, 256, (64, 48, 4), np.uint8)
    picture[:16, :, 3], picture[16:32, :, 3] = 0, 255
    cv2.imwrite(str(tmp_path / "translucent.png"), picture)
    with serving(build_site(model, manifest, compute_golden(model, manifest))) as url, chromium() as page:
        assert page.open(url) == "ready", page.problem
        assert page.facts["File"].startswith(f"{model.name}, SHA-256")
        page.choose_photo(tmp_path / "translucent.png")
        found = page.labelled()[0].astype(int)
    # OpenCV drops alpha; a canvas keeps colours multiplied by it.
    blended = picture[..., :3].astype(int) * picture[..., 3:] / 255
    assert np.abs(found - blended).max() <= 1.01
    assert (found[:16] == 0).all()
    np.testing.assert_array_equal(found[16:32], picture[16:32, :, :3])
