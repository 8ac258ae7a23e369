"""The Core ML runner: evaluator off a Mac, Apple's runtime (faked here) on one."""

import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from mil_material import convert

from seg_core.errors import ArtifactError, ConfigError, MissingDependencyError
from seg_core.labels import LabelSet
from seg_core.manifest import METADATA_KEY, ArtifactInfo, GraphSpec, Manifest, manifest_path
from seg_core.runners import coreml, open_runner, read_embedded_manifest
from seg_core.spec import ModelSpec, PostprocessSpec, PreprocessSpec, TensorSpec

SHAPE, OUT = (1, 3, 8, 8), (1, 4, 8, 8)


def make_manifest(**changes):
    manifest = Manifest(
        artifact=ArtifactInfo("m.mlpackage", "coreml", "fp32"),
        model=ModelSpec("ddrnet_23_slim", 4),
        preprocess=PreprocessSpec((8, 8)),
        postprocess=PostprocessSpec(),
        labels=LabelSet(("a", "b", "c", "d")),
        graph=GraphSpec(),
        inputs=(TensorSpec("x0", "image", SHAPE, "float32", "nchw"),),
        outputs=(TensorSpec("logits", "logits", OUT, "float32", "nchw"),),
    )
    return replace(manifest, **changes)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    """Give (path of a package that carries its manifest, input, torch's result)."""
    torch, ct = pytest.importorskip("torch"), pytest.importorskip("coremltools")
    path = tmp_path_factory.mktemp("runner") / "m.mlpackage"
    (image,), (expected,) = convert(torch.nn.Conv2d(3, 4, 3, padding=1), [SHAPE], path)
    model = ct.models.MLModel(str(path), skip_model_load=True)
    specification = model.get_spec()
    ct.utils.rename_feature(specification, specification.description.output[0].name, "logits")
    model = ct.models.MLModel(specification, weights_dir=model.weights_dir, skip_model_load=True)
    model.user_defined_metadata[METADATA_KEY] = make_manifest().to_json()
    model.save(str(path))
    return path, image, expected


@pytest.fixture(autouse=True)
def _linux(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv(coreml.BACKEND_VARIABLE, raising=False)


@pytest.mark.export
def test_runs_what_the_embedded_manifest_states(artifact):
    path, image, expected = artifact
    runner = open_runner(path, threads=1)
    assert (runner.target, runner.backend) == ("coreml", "evaluator")
    found = runner.run({"x0": image})
    assert list(found) == ["logits"]
    assert np.abs(found["logits"] - expected).max() <= 1e-6 * np.abs(expected).max()
    runner.close()
    with pytest.raises(ArtifactError, match="closed"):
        runner.run({"x0": image})


@pytest.mark.export
def test_embedded_manifest_comes_back_whole(artifact):
    assert read_embedded_manifest(artifact[0]) == make_manifest()
    assert json.loads(coreml.read_manifest(artifact[0]))["artifact"]["target"] == "coreml"


@pytest.mark.export
def test_package_without_a_manifest(tmp_path):
    torch = pytest.importorskip("torch")
    convert(torch.nn.ReLU(), [SHAPE], tmp_path / "foreign.mlpackage")
    with pytest.raises(ArtifactError, match=r"foreign\.mlpackage: a Core ML package without a segproof manifest"):
        open_runner(tmp_path / "foreign.mlpackage")


@pytest.mark.export
@pytest.mark.parametrize(
    ("feeds", "words"),
    [
        ({}, "expected the inputs x0"),
        ({"x0": np.zeros(SHAPE)}, "takes float32"),
        ({"x0": np.zeros((1, 8, 8, 3), np.float32)}, "takes float32"),
    ],
)
def test_wrong_feeds(artifact, feeds, words):
    with pytest.raises(ArtifactError, match=words):
        open_runner(artifact[0]).run(feeds)


@pytest.mark.export
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"outputs": (TensorSpec("masks", "logits", OUT, "float32", "nchw"),)}, "outputs are logits.*names masks"),
        ({"outputs": (TensorSpec("logits", "logits", (1, 4, 1, 1), "float32", "nchw"),)}, "'logits' is fp32 1x4x8x8"),
        ({"outputs": (TensorSpec("logits", "logits", OUT, "float16", "nchw"),)}, "states float16"),
    ],
)
def test_manifest_that_does_not_fit(artifact, changes, words):
    with pytest.raises(ArtifactError, match=words):
        open_runner(artifact[0], make_manifest(**changes))


@pytest.mark.parametrize(
    ("platform", "asked", "backend"),
    [
        ("linux", None, "evaluator"),
        ("win32", None, "evaluator"),
        ("darwin", None, "core ml"),
        ("darwin", "evaluator", "evaluator"),
        ("linux", "core ml", "core ml"),
    ],
)
def test_backend_follows_the_system_unless_asked(platform, asked, backend, monkeypatch):
    monkeypatch.setattr(sys, "platform", platform)
    if asked is not None:
        monkeypatch.setenv(coreml.BACKEND_VARIABLE, asked)
    assert coreml.choose_backend() == backend


def test_misspelt_backend(monkeypatch):
    monkeypatch.setenv(coreml.BACKEND_VARIABLE, "coreml")
    with pytest.raises(ConfigError, match="SEGPROOF_COREML_BACKEND"):
        coreml.choose_backend()


class FakeModel:
    """Stands in for coremltools.models.MLModel, which needs macOS: doubles what it is fed, in float64."""

    def __init__(self, path):
        if path.endswith("broken.mlpackage"):
            raise RuntimeError("Error compiling model\nmore")
        self.fed = None

    def predict(self, feeds):
        self.fed = feeds["x0"]
        if np.isnan(self.fed).any():
            raise RuntimeError("Unable to compute the prediction\nmore")
        return {"logits": np.repeat(self.fed[:, :1], 4, 1).astype(np.float64) * 2, "other": 0}


@pytest.fixture
def mac(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setitem(sys.modules, "coremltools", SimpleNamespace(models=SimpleNamespace(MLModel=FakeModel)))


@pytest.mark.usefixtures("mac")
def test_apples_runtime_gives_what_the_manifest_states(tmp_path):
    runner = coreml.open_runner(tmp_path / "m.mlpackage", make_manifest(), None)
    assert (runner.target, runner.backend) == ("coreml", "core ml")
    found = runner.run({"x0": np.ones(SHAPE, np.float32)})
    assert list(found) == ["logits"]
    assert found["logits"].dtype == np.float32
    assert np.all(found["logits"] == 2)
    with pytest.raises(ArtifactError, match="takes float32"):
        runner.run({"x0": np.ones(SHAPE)})
    with pytest.raises(ArtifactError, match=r"failed while running \(Unable to compute the prediction\)$"):
        runner.run({"x0": np.full(SHAPE, np.nan, np.float32)})
    runner.close()


@pytest.mark.usefixtures("mac")
def test_apples_runtime_refusing_a_package(tmp_path):
    with pytest.raises(ArtifactError, match=r"broken\.mlpackage: Core ML cannot load it \(Error compiling model\)$"):
        coreml.open_runner(tmp_path / "broken.mlpackage", make_manifest(), None)


def test_apples_runtime_without_coremltools(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setitem(sys.modules, "coremltools", None)
    with pytest.raises(MissingDependencyError, match="coremltools"):
        coreml.open_runner(tmp_path / "m.mlpackage", make_manifest(), None)


def test_manifest_path_of_a_package_is_beside_it(tmp_path):
    assert manifest_path(tmp_path / "m.mlpackage").name == "m.mlpackage.json"
