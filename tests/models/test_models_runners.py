"""The two torch runners: numpy in, numpy out, and clear words for what is wrong."""

import dataclasses
import io
import warnings
import zipfile

import numpy as np
import pytest
import torch

from seg_core.errors import ArtifactError, ConfigError
from seg_core.manifest import METADATA_KEY, load_manifest
from seg_core.models.checkpoint import build_network
from seg_core.runners import open_runner

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")


@pytest.fixture(scope="module")
def program(saved, checkpoint, tmp_path_factory):
    manifest = load_manifest(saved)
    info = dataclasses.replace(manifest.artifact, file="net.pt", target="torchscript")
    path = tmp_path_factory.mktemp("torchscript") / "net.pt"
    traced = torch.jit.trace(build_network(checkpoint).main_only(), torch.zeros(1, 3, 64, 64))
    text = dataclasses.replace(manifest, artifact=info).to_json()
    torch.jit.save(traced, path, _extra_files={METADATA_KEY: text})
    return path


@pytest.fixture(params=["saved", "program"])
def artifact(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module", params=["saved", "program"])
def runner(request):
    return open_runner(request.getfixturevalue(request.param))


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).standard_normal((1, 3, 64, 64)).astype(np.float32)


def test_the_manifest_of_a_checkpoint_says_what_it_takes_and_gives(saved, checkpoint):
    manifest = load_manifest(saved)
    assert (manifest.artifact.target, manifest.artifact.file) == ("pytorch", "net.pth")
    assert [(spec.name, spec.shape, spec.layout) for spec in manifest.inputs] == [("image", (1, 3, 64, 64), "nchw")]
    assert [(spec.name, spec.shape, spec.role) for spec in manifest.outputs] == [("logits", (1, 3, 64, 64), "logits")]
    assert manifest.labels == checkpoint.labels
    assert manifest.preprocess == checkpoint.preprocess


def test_runs_reproduce_the_network(runner, checkpoint, image):
    with torch.inference_mode():
        wanted = build_network(checkpoint)(torch.from_numpy(image)).numpy()
    found = runner.run({"image": image})
    assert list(found) == ["logits"]
    assert found["logits"].dtype == np.float32
    assert np.abs(found["logits"] - wanted).max() <= 1e-5 * np.abs(wanted).max()


def test_opening_warns_of_nothing(artifact):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_runner(artifact).target == load_manifest(artifact).artifact.target


def test_read_only_and_strided_images_work_without_warnings(runner, image):
    frozen = np.broadcast_to(image, image.shape)
    mirrored = np.ascontiguousarray(image[..., ::-1])[..., ::-1]
    assert not frozen.flags.writeable
    assert mirrored.strides[-1] < 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results = [runner.run({"image": feed})["logits"] for feed in (image, frozen, mirrored)]
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])


@pytest.mark.parametrize(
    ("feeds", "pattern"),
    [
        ({}, "expected the inputs image; found none"),
        ({"input": np.zeros((1, 3, 64, 64), np.float32)}, "expected the inputs image; found input"),
        ({"image": np.zeros((1, 3, 64, 32), np.float32)}, r"takes float32 \(1, 3, 64, 64\) \(nchw\), found .*64, 32"),
        ({"image": np.zeros((1, 64, 64, 3), np.float32)}, r"found float32 \(1, 64, 64, 3\); make it with Preprocessor"),
        ({"image": np.zeros((1, 3, 64, 64))}, "found float64"),
        ({"image": [[0.0]]}, "must be a numpy array, found list"),
    ],
)
def test_wrong_feeds_are_refused(runner, feeds, pattern):
    with pytest.raises(ArtifactError, match=rf"/net.pth?: .*{pattern}"):
        runner.run(feeds)


def test_threads_hold_for_the_run_alone(artifact, image, monkeypatch):
    before = torch.get_num_threads()
    asked = before + 1
    runner = open_runner(artifact, threads=asked)
    seen = []
    network = runner._network
    monkeypatch.setattr(runner, "_network", lambda *x: (seen.append(torch.get_num_threads()), network(*x))[1])
    runner.run({"image": image})
    assert seen == [asked]
    assert torch.get_num_threads() == before


def test_threads_are_restored_after_a_failure(saved, image, monkeypatch):
    before = torch.get_num_threads()
    runner = open_runner(saved, threads=before + 1)

    def fail(*tensors):
        raise RuntimeError("first line\nout of memory")

    monkeypatch.setattr(runner, "_network", fail)
    with pytest.raises(ArtifactError, match=r"net.pth: the network failed while running \(out of memory\)"):
        runner.run({"image": image})
    assert torch.get_num_threads() == before


def test_zero_threads_are_refused(artifact):
    with pytest.raises(ConfigError, match="threads: expected at least 1, found 0"):
        open_runner(artifact, threads=0)


def test_a_closed_runner_says_so(artifact, image):
    runner = open_runner(artifact)
    runner.close()
    with pytest.raises(ArtifactError, match="was closed; open it again"):
        runner.run({"image": image})


def test_an_output_that_the_manifest_does_not_state_is_refused(artifact, image):
    manifest = load_manifest(artifact)
    narrow = dataclasses.replace(manifest.outputs[0], shape=(1, 3, 8, 8))
    runner = open_runner(artifact, dataclasses.replace(manifest, outputs=(narrow,)))
    with pytest.raises(ArtifactError, match=r"'logits' is float32 \(1, 3, 64, 64\), its manifest states .*8, 8"):
        runner.run({"image": image})


def _refused(path, pattern):
    with pytest.raises(ArtifactError) as caught:
        open_runner(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    caught.match(pattern)


def test_damaged_programs_are_refused(tmp_path, program):
    data, path = program.read_bytes(), tmp_path / "net.pt"
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 0x40
    for content, pattern in [
        (b"", "is empty; export it again"),
        (data[: len(data) // 2], "truncated, damaged or no TorchScript file"),
        (bytes(flipped), "damaged .checksum of"),
        (b"not a program", "truncated, damaged or no TorchScript file"),
    ]:
        path.write_bytes(content)
        _refused(path, pattern)


def test_checkpoints_and_other_archives_are_not_programs(tmp_path, saved):
    path = tmp_path / "net.pt"
    path.write_bytes(saved.read_bytes())
    _refused(path, "not a TorchScript program but a checkpoint: name it .pth")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("folder/hello.txt", "hello")
    _refused(path, "not a TorchScript program but some other zip")


def test_programs_of_strangers_lack_the_contract(tmp_path):
    torch.jit.save(torch.jit.trace(torch.nn.Conv2d(3, 3, 1), torch.zeros(1, 3, 4, 4)), tmp_path / "net.pt")
    _refused(tmp_path / "net.pt", "without a segproof manifest, so its preprocessing is unknown; export it")


def test_a_program_that_torch_cannot_read_is_refused(tmp_path, program):
    with zipfile.ZipFile(program) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, b"\x00" if name.endswith("/data.pkl") else data)
    (tmp_path / "net.pt").write_bytes(buffer.getvalue())
    _refused(tmp_path / "net.pt", "damaged, export it again")
