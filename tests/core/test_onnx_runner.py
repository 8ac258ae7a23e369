"""The ONNX runner on a two-node network that is written by hand."""

import json

import numpy as np
import pytest

from seg_core.errors import ArtifactError, ConfigError, MissingDependencyError
from seg_core.labels import LabelSet
from seg_core.manifest import METADATA_KEY, ArtifactInfo, GraphSpec, Manifest
from seg_core.runners import open_runner, read_embedded_manifest
from seg_core.spec import ModelSpec, PostprocessSpec, PreprocessSpec, TensorSpec

WEIGHT = np.array([[1.0, -1.0, 0.5], [0.0, 2.0, -0.5]], np.float32)


def make_manifest(name: str = "net.onnx") -> Manifest:
    return Manifest(
        artifact=ArtifactInfo(name, "onnx", "fp32"),
        model=ModelSpec("anything", 2),
        preprocess=PreprocessSpec(size_hw=(4, 6)),
        postprocess=PostprocessSpec(),
        labels=LabelSet(("a", "b")),
        graph=GraphSpec(),
        inputs=(TensorSpec("image", "image", (1, 3, 4, 6), "float32", "nchw"),),
        outputs=(TensorSpec("logits", "logits", (1, 2, 4, 6), "float32", "nchw"),),
    )


def write_model(path, manifest_text=None, output="logits"):
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    weight = numpy_helper.from_array(WEIGHT.reshape(2, 3, 1, 1), "weight")
    node = helper.make_node("Conv", ["image", "weight"], [output])
    graph = helper.make_graph(
        [node],
        "net",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 4, 6])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [1, 2, 4, 6])],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    if manifest_text is not None:
        helper.set_model_props(model, {METADATA_KEY: manifest_text})
    onnx.save(model, str(path))
    return path


@pytest.fixture
def model(tmp_path):
    return write_model(tmp_path / "net.onnx", make_manifest().to_json())


def test_runs_numpy_in_numpy_out(model):
    runner = open_runner(model, threads=1)
    image = np.random.default_rng(0).standard_normal((1, 3, 4, 6)).astype(np.float32)
    found = runner.run({"image": image})
    assert list(found) == ["logits"]
    expected = np.einsum("kc,nchw->nkhw", WEIGHT, image)
    np.testing.assert_allclose(found["logits"], expected, rtol=1e-5, atol=1e-6)
    runner.close()


def test_threads_reach_the_session(model):
    assert open_runner(model, threads=1)._session.get_session_options().intra_op_num_threads == 1
    assert open_runner(model)._session.get_session_options().intra_op_num_threads == 0


@pytest.mark.parametrize("threads", [0, -1])
def test_fewer_threads_than_one_are_refused(model, threads):
    with pytest.raises(ConfigError, match=f"threads: expected at least 1, found {threads}"):
        open_runner(model, threads=threads)


def test_a_closed_runner_says_so(model):
    runner = open_runner(model)
    runner.close()
    with pytest.raises(ArtifactError, match=r"net\.onnx: the runner is closed"):
        runner.run({"image": np.zeros((1, 3, 4, 6), np.float32)})


def test_reads_the_embedded_manifest(model):
    assert read_embedded_manifest(model) == make_manifest()


def test_wrong_feeds_are_refused(model):
    runner = open_runner(model)
    with pytest.raises(ArtifactError, match=r"net\.onnx"):
        runner.run({"image": np.zeros((1, 3, 6, 4), np.float32)})
    with pytest.raises(ArtifactError, match=r"net\.onnx"):
        runner.run({"image": np.zeros((1, 3, 4, 6), np.float64)})
    with pytest.raises(ArtifactError, match=r"net\.onnx"):
        runner.run({"picture": np.zeros((1, 3, 4, 6), np.float32)})


def test_a_foreign_file_says_that_it_has_no_manifest(tmp_path):
    path = write_model(tmp_path / "foreign.onnx")
    with pytest.raises(ArtifactError, match=r"foreign\.onnx: .*without a segproof manifest"):
        open_runner(path)


def test_tensors_must_be_those_of_the_manifest(tmp_path):
    path = write_model(tmp_path / "net.onnx", make_manifest().to_json(), output="scores")
    with pytest.raises(ArtifactError, match=r"its outputs are scores, but the manifest names logits; export it again"):
        open_runner(path)


def test_an_output_that_the_manifest_does_not_name_is_refused(model):
    import onnx

    content = onnx.load(model)
    content.graph.node.append(onnx.helper.make_node("Identity", ["logits"], ["more"]))
    content.graph.output.append(onnx.helper.make_tensor_value_info("more", onnx.TensorProto.FLOAT, None))
    onnx.save(content, model)
    with pytest.raises(ArtifactError, match=r"its outputs are logits, more, but the manifest names logits; export it"):
        open_runner(model)


@pytest.mark.parametrize("content", [b"", b"\x08\x0a", b"not a protobuf at all", bytes(4096)])
def test_damaged_files_are_one_line(tmp_path, content):
    path = tmp_path / "damaged.onnx"
    path.write_bytes(content)
    with pytest.raises(ArtifactError) as caught:
        open_runner(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_truncated_file_is_one_line(model):
    model.write_bytes(model.read_bytes()[:-40])
    with pytest.raises(ArtifactError) as caught:
        open_runner(model, make_manifest())
    assert "\n" not in str(caught.value)


def test_missing_runtime_names_the_pip_line(model, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'onnxruntime'"):
        open_runner(model)


def test_manifest_text_is_json(model):
    from seg_core.runners.onnx import read_manifest

    assert json.loads(read_manifest(model))["artifact"]["target"] == "onnx"
