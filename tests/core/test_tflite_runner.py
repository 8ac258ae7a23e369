"""The TFLite runner on a one-convolution network."""

import sys
import types
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from seg_core.errors import ArtifactError, MissingDependencyError
from seg_core.labels import LabelSet
from seg_core.manifest import ArtifactInfo, GraphSpec, Manifest
from seg_core.runners import open_runner, read_embedded_manifest
from seg_core.runners.tflite import MANIFEST_ENTRY
from seg_core.spec import ModelSpec, PostprocessSpec, PreprocessSpec, TensorSpec

pytestmark = pytest.mark.export

WEIGHT = np.array([[1.0, -1.0, 0.5], [0.0, 2.0, -0.5]], np.float32)


def make_manifest() -> Manifest:
    return Manifest(
        artifact=ArtifactInfo("net.tflite", "tflite", "fp32"),
        model=ModelSpec("anything", 2),
        preprocess=PreprocessSpec(size_hw=(4, 6), layout="nhwc"),
        postprocess=PostprocessSpec(),
        labels=LabelSet(("a", "b")),
        graph=GraphSpec(),
        inputs=(TensorSpec("image", "image", (1, 4, 6, 3), "float32", "nhwc"),),
        outputs=(TensorSpec("logits", "logits", (1, 4, 6, 2), "float32", "nhwc"),),
    )


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """The flatbuffer alone, without a manifest."""
    import litert_torch
    import torch

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 2, 1, bias=False)
            self.conv.weight.data = torch.from_numpy(WEIGHT.reshape(2, 3, 1, 1))

        def forward(self, image):
            return {"logits": self.conv(image.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)}

    path = tmp_path_factory.mktemp("tflite") / "bare.tflite"
    litert_torch.convert(Net().eval(), sample_kwargs={"image": torch.zeros(1, 4, 6, 3)}).export(str(path))
    return path.read_bytes()


@pytest.fixture
def model(bare, tmp_path):
    path = tmp_path / "net.tflite"
    path.write_bytes(bare)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(MANIFEST_ENTRY, make_manifest().to_json())
    return path


def test_runs_numpy_in_numpy_out(model):
    runner = open_runner(model, threads=1)
    image = np.random.default_rng(0).standard_normal((1, 4, 6, 3)).astype(np.float32)
    found = runner.run({"image": image})
    np.testing.assert_allclose(found["logits"], image @ WEIGHT.T, rtol=1e-5, atol=1e-6)
    kept = found["logits"].copy()
    runner.run({"image": -image})
    assert np.array_equal(found["logits"], kept), "results must not be views of the runtime's buffers"
    runner.close()


def test_threads_that_share_a_runner_get_their_own_answers(model):
    runner = open_runner(model, threads=1)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # changes of thread in every gap, on machines with few cores too
    try:
        with ThreadPoolExecutor(8) as pool:
            values = [float(value) for value in range(2000)]
            feeds = [np.full((1, 4, 6, 3), value, np.float32) for value in values]
            found = list(pool.map(lambda image: runner.run({"image": image})["logits"], feeds))
    finally:
        sys.setswitchinterval(before)
        runner.close()
    wrong = [v for v, logits in zip(values, found, strict=True) if not np.allclose(logits, v * WEIGHT.sum(axis=1))]
    assert wrong == []


def test_reads_the_embedded_manifest_without_a_runtime(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    assert read_embedded_manifest(model) == make_manifest()


def test_falls_back_to_tensorflow(model, monkeypatch):
    from ai_edge_litert.interpreter import Interpreter

    fake = types.ModuleType("tensorflow")
    fake.lite = types.SimpleNamespace(Interpreter=Interpreter)
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    monkeypatch.setitem(sys.modules, "tensorflow", fake)
    assert open_runner(model).run({"image": np.zeros((1, 4, 6, 3), np.float32)})["logits"].shape == (1, 4, 6, 2)


def test_missing_runtime_names_the_pip_line(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'ai-edge-litert'"):
        open_runner(model)


def test_wrong_feeds_are_refused(model):
    runner = open_runner(model)
    with pytest.raises(ArtifactError, match=r"net\.tflite"):
        runner.run({"image": np.zeros((1, 3, 4, 6), np.float32)})


def test_a_closed_runner_says_so(model):
    runner = open_runner(model)
    runner.close()
    with pytest.raises(ArtifactError, match=r"net\.tflite: the runner is closed"):
        runner.run({"image": np.zeros((1, 4, 6, 3), np.float32)})


def test_tensors_must_be_those_of_the_manifest(model):
    manifest = make_manifest()
    renamed = replace(manifest, outputs=(replace(manifest.outputs[0], name="scores"),))
    with pytest.raises(ArtifactError, match=r"its outputs are logits, but the manifest names scores; export it again"):
        open_runner(model, renamed)


def test_a_foreign_file_says_that_it_has_no_manifest(bare, tmp_path):
    path = tmp_path / "foreign.tflite"
    path.write_bytes(bare)
    with pytest.raises(ArtifactError, match=r"foreign\.tflite: .*without a readable segproof manifest"):
        open_runner(path)


@pytest.mark.parametrize("content", [b"", b"TFL3", b"not a flatbuffer at all", bytes(4096)])
def test_damaged_files_are_one_line(tmp_path, content):
    path = tmp_path / "damaged.tflite"
    path.write_bytes(content)
    with pytest.raises(ArtifactError) as caught:
        open_runner(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated_files_are_one_line(bare, tmp_path, share):
    path = tmp_path / "short.tflite"
    path.write_bytes(bare[: int(len(bare) * share)])
    with pytest.raises(ArtifactError) as caught:
        open_runner(path, make_manifest())
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
