"""The Core AI runner on a one-convolution network."""

import hashlib
import json
import os
import shutil
import signal
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from core_ai_platform import skip_without_wheels

from seg_core.errors import ArtifactError, MissingDependencyError
from seg_core.labels import LabelSet
from seg_core.manifest import METADATA_KEY, ArtifactInfo, GraphSpec, Manifest
from seg_core.runners import coreai_worker, open_runner, read_embedded_manifest
from seg_core.runners.coreai import HASH_FILE, METADATA_FILE, PROGRAM_FILE
from seg_core.spec import ModelSpec, PostprocessSpec, PreprocessSpec, TensorSpec

pytestmark = pytest.mark.export

WEIGHT = np.array([[1.0, -1.0, 0.5], [0.0, 2.0, -0.5]], np.float32)


def make_manifest() -> Manifest:
    return Manifest(
        artifact=ArtifactInfo("net.aimodel", "coreai", "fp32"),
        model=ModelSpec("anything", 2),
        preprocess=PreprocessSpec(size_hw=(4, 6)),
        postprocess=PostprocessSpec(),
        labels=LabelSet(("a", "b")),
        graph=GraphSpec(),
        inputs=(TensorSpec("image", "image", (1, 3, 4, 6), "float32", "nchw"),),
        outputs=(TensorSpec("logits", "logits", (1, 2, 4, 6), "float32", "nchw"),),
    )


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A package without a manifest."""
    skip_without_wheels()
    import torch
    from coreai_torch import TorchConverter, get_decomp_table

    conv = torch.nn.Conv2d(3, 2, 1, bias=False).eval()
    conv.weight.data = torch.from_numpy(WEIGHT.reshape(2, 3, 1, 1))
    exported = torch.export.export(conv, (torch.zeros(1, 3, 4, 6),)).run_decompositions(get_decomp_table())
    converter = TorchConverter(mode=TorchConverter.Mode.RELEASE)
    converter.add_exported_program(exported, input_names=["image"], output_names=["logits"])
    path = tmp_path_factory.mktemp("coreai") / "bare.aimodel"
    converter.to_coreai().save_asset(path)
    return path


@pytest.fixture
def model(bare, tmp_path):
    path = tmp_path / "net.aimodel"
    shutil.copytree(bare, path)
    metadata = json.loads((path / METADATA_FILE).read_text())
    metadata["creatorDefinedMetadata"] = {METADATA_KEY: make_manifest().to_json()}
    (path / METADATA_FILE).write_text(json.dumps(metadata))
    return path


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """An own directory for temporary files, so that what is left in it can be seen."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_runs_numpy_in_numpy_out(model, temporary, monkeypatch, tmp_path):
    (tmp_path / "coreai.py").write_text("raise RuntimeError('the working directory must not be imported from')")
    monkeypatch.chdir(tmp_path)
    runner = open_runner(model, threads=1)
    assert runner.backend in ("core ai", "core ai interpreter")
    image = np.random.default_rng(0).standard_normal((1, 3, 4, 6)).astype(np.float32)
    found = runner.run({"image": image})
    np.testing.assert_allclose(found["logits"], np.einsum("oc,nchw->nohw", WEIGHT, image), rtol=1e-5, atol=1e-6)
    across = np.asfortranarray(-image)
    np.testing.assert_array_equal(runner.run({"image": across})["logits"], -found["logits"])
    runner.close()
    runner.close()
    assert list(temporary.iterdir()) == []
    with pytest.raises(ArtifactError, match=r"net\.aimodel: the runner is closed"):
        runner.run({"image": image})


def test_threads_that_share_a_runner_get_their_own_answers(model):
    runner = open_runner(model)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # changes of thread in every gap, on machines with few cores too
    try:
        with ThreadPoolExecutor(3) as pool:
            values = [float(value) for value in range(300)]
            feeds = [np.full((1, 3, 4, 6), value, np.float32) for value in values]
            found = list(pool.map(lambda image: runner.run({"image": image})["logits"], feeds))
    finally:
        sys.setswitchinterval(before)
        runner.close()
    wanted = [np.broadcast_to((v * WEIGHT.sum(axis=1))[:, None, None], (1, 2, 4, 6)) for v in values]
    wrong = [v for v, w, logits in zip(values, wanted, found, strict=True) if not np.allclose(logits, w)]
    assert wrong == []


def test_prints_nothing(model, capfd):
    runner = open_runner(model)
    runner.run({"image": np.zeros((1, 3, 4, 6), np.float32)})
    runner.close()
    assert capfd.readouterr() == ("", "")


def test_reads_the_embedded_manifest_without_a_runtime(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "coreai", None)
    assert read_embedded_manifest(model) == make_manifest()


def test_missing_runtime_names_the_pip_line(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "coreai", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'coreai-core>=1\.0\.0b3'"):
        open_runner(model)


def test_wrong_feeds_are_refused_and_harm_nothing(model):
    runner = open_runner(model)
    with pytest.raises(ArtifactError, match=r"net\.aimodel"):
        runner.run({"image": np.zeros((1, 4, 6, 3), np.float32)})
    assert runner.run({"image": np.zeros((1, 3, 4, 6), np.float32)})["logits"].shape == (1, 2, 4, 6)
    runner.close()


@pytest.mark.parametrize("change", [{"name": "scores"}, {"shape": (1, 2, 4, 8)}, {"dtype": "uint8"}])
def test_tensors_must_be_those_of_the_manifest(model, temporary, change):
    manifest = make_manifest()
    other = replace(manifest, outputs=(replace(manifest.outputs[0], **change),))
    with pytest.raises(ArtifactError, match=r"its outputs are logits float32 \(1, 2, 4, 6\), but the manifest names"):
        open_runner(model, other)
    assert list(temporary.iterdir()) == []


def test_a_foreign_package_says_that_it_has_no_manifest(bare):
    with pytest.raises(ArtifactError, match=r"bare\.aimodel: .*without a readable segproof manifest"):
        open_runner(bare)


DAMAGE = {
    "program is short": lambda path: os.truncate(path / PROGRAM_FILE, 300),
    "program is empty": lambda path: os.truncate(path / PROGRAM_FILE, 0),
    "program is random": lambda path: (path / PROGRAM_FILE).write_bytes(np.random.default_rng(0).bytes(2000)),
    "no program": lambda path: (path / PROGRAM_FILE).unlink(),
    "no hash": lambda path: (path / HASH_FILE).unlink(),
    "empty directory": lambda path: [file.unlink() for file in path.iterdir()],
    "not a directory": lambda path: (shutil.rmtree(path), path.write_bytes(b"PK")),
    "broken metadata": lambda path: (path / METADATA_FILE).write_text("{"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_packages_are_one_line(model, temporary, damage):
    DAMAGE[damage](model)
    with pytest.raises(ArtifactError, match=r"net\.aimodel: ") as caught:
        open_runner(model, make_manifest())
    assert "\n" not in str(caught.value)
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("damage", ["program is short", "program is empty", "program is random"])
def test_a_crash_of_the_runtime_is_one_line(model, temporary, damage):
    DAMAGE[damage](model)
    (model / HASH_FILE).write_bytes(hashlib.sha256((model / PROGRAM_FILE).read_bytes()).digest())
    with pytest.raises(ArtifactError, match=r"net\.aimodel: Core AI") as caught:
        open_runner(model)
    assert "\n" not in str(caught.value)
    assert list(temporary.iterdir()) == []


def test_a_killed_runtime_is_one_line(model, temporary):
    runner = open_runner(model)
    os.kill(runner._process.pid, signal.SIGKILL)
    with pytest.raises(ArtifactError, match=r"net\.aimodel: Core AI's process died \(SIGKILL"):
        runner.run({"image": np.zeros((1, 3, 4, 6), np.float32)})
    runner.close()
    assert list(temporary.iterdir()) == []


def test_an_interruption_ends_the_runtime(model, temporary, monkeypatch):
    runner = open_runner(model)
    process = runner._process

    def interrupted(_stream):
        raise KeyboardInterrupt

    monkeypatch.setattr(coreai_worker, "receive", interrupted)
    with pytest.raises(KeyboardInterrupt):
        runner.run({"image": np.zeros((1, 3, 4, 6), np.float32)})
    assert process.returncode is not None
    assert list(temporary.iterdir()) == []
