"""Bad checkpoints: one line that names the file and the next step, and none of their code runs."""

import dataclasses
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from seg_core.errors import CheckpointError
from seg_core.labels import LabelSet
from seg_core.models.checkpoint import load_checkpoint
from seg_core.spec import PreprocessSpec

SAMPLES = Path(__file__).resolve().parents[2] / "mobile_demo" / "samples"


def _refused(path, pattern):
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    assert caught.value.exit_code == 1
    caught.match(pattern)


def _file(tmp_path, data):
    path = tmp_path / "net.pth"
    path.write_bytes(data)
    return path


def test_missing(tmp_path):
    _refused(tmp_path / "none.pth", "no such file; check the path")


def test_directory(tmp_path):
    _refused(tmp_path, "is a directory; name the checkpoint file")


def test_empty(tmp_path):
    _refused(_file(tmp_path, b""), "is empty; copy or download")


@pytest.mark.parametrize("kept", [0.01, 0.5, 0.999])
def test_truncated(tmp_path, saved, kept):
    data = saved.read_bytes()
    _refused(_file(tmp_path, data[: int(len(data) * kept)]), "truncated or damaged; copy or download")


def test_flipped_bits(tmp_path, saved):
    data = bytearray(saved.read_bytes())
    data[len(data) // 2] ^= 0x40
    _refused(_file(tmp_path, bytes(data)), r"damaged; copy or download the checkpoint again \(checksum of ")


def test_truncated_legacy(tmp_path):
    path = tmp_path / "whole.pth"
    torch.save({"weight": torch.ones(1000)}, path, _use_new_zipfile_serialization=False)
    _refused(_file(tmp_path, path.read_bytes()[:1500]), "truncated or damaged; copy or download")


@pytest.mark.parametrize(
    "data",
    [bytes(range(256)) * 4, b"hello", b"\x80\x04K\x01.", (SAMPLES / "astronaut.png").read_bytes()],
    ids=["bytes", "text", "bare pickle", "png"],
)
def test_not_a_torch_file(tmp_path, data):
    _refused(_file(tmp_path, data), r"not a file made by torch.save; a checkpoint \(.pth\) was expected")


def test_a_zip_of_something_else(tmp_path):
    with zipfile.ZipFile(tmp_path / "net.pth", "w") as archive:
        archive.writestr("folder/hello.txt", "hello")
    _refused(tmp_path / "net.pth", "a zip file that torch.save did not make")


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_a_torchscript_program(tmp_path):
    program = torch.jit.trace(torch.nn.Conv2d(1, 1, 1), torch.zeros(1, 1, 2, 2))
    torch.jit.save(program, tmp_path / "net.pth")
    _refused(tmp_path / "net.pth", "a TorchScript program, not a checkpoint; give the .pth")


class _Payload:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_pickle_bombs_do_not_go_off(tmp_path, zipped):
    proof, path = tmp_path / "ran", tmp_path / "net.pth"
    bomb = {"format": "segproof.checkpoint", "state_dict": _Payload(f"touch {proof}")}
    torch.save(bomb, path, _use_new_zipfile_serialization=zipped)
    _refused(path, r"holds Python objects \(\w+.system\), which were not loaded .*a file of tensors alone")
    assert not proof.exists()
    torch.load(path, weights_only=False)  # the payload is live: it was the reader that refused it
    assert proof.exists()


def test_bare_pickle_bomb_does_not_go_off(tmp_path):
    proof = tmp_path / "ran"
    _refused(_file(tmp_path, pickle.dumps(_Payload(f"touch {proof}"), protocol=2)), "not a file made by torch.save")
    assert not proof.exists()


def test_a_pickled_module_is_refused(tmp_path):
    torch.save({"model": torch.nn.Conv2d(1, 1, 1)}, tmp_path / "net.pth")
    _refused(tmp_path / "net.pth", r"holds Python objects \(torch.nn.modules.conv.Conv2d\)")


@pytest.fixture
def content(checkpoint, saved):
    loaded = torch.load(saved, weights_only=True)
    return {**loaded, "state_dict": dict(loaded["state_dict"])}


def _edited(tmp_path, content):
    torch.save(content, tmp_path / "net.pth")
    return tmp_path / "net.pth"


def test_another_architecture(tmp_path, content):
    content["model"]["name"] = "ddrnet_23_slimm"
    _refused(_edited(tmp_path, content), "unknown model 'ddrnet_23_slimm'; did you mean 'ddrnet_23_slim'")


def test_weights_of_another_architecture(tmp_path, content):
    content["model"]["name"] = "ddrnet_23"
    _refused(_edited(tmp_path, content), r"'conv1.0.weight': expected shape \(64, 3, 3, 3\), found \(32, 3, 3, 3\)")


@pytest.mark.parametrize("version", [2, None, "1"])
def test_another_format_version(tmp_path, content, version):
    content["format_version"] = version
    _refused(_edited(tmp_path, content), f"format version {version!r}, this release reads 1; upgrade segproof")


def test_another_format(tmp_path, content):
    content["format"] = "other.checkpoint"
    _refused(_edited(tmp_path, content), "format 'other.checkpoint' is not 'segproof.checkpoint'")


@pytest.mark.parametrize("section", ["model", "preprocess", "labels", "state_dict", "provenance"])
def test_a_missing_section(tmp_path, content, section):
    del content[section]
    _refused(_edited(tmp_path, content), f"section '{section}' is missing or not a dictionary")


def test_a_malformed_section(tmp_path, content):
    content["preprocess"]["color"] = "cmyk"
    _refused(_edited(tmp_path, content), "preprocess.color: expected one of 'rgb'")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(tmp_path, content, value):
    content["state_dict"]["layer1.0.conv1.weight"][0, 0, 0, 0] = value
    _refused(_edited(tmp_path, content), "weight 'layer1.0.conv1.weight' holds NaN or Inf: .*an earlier checkpoint")


def test_a_missing_weight(tmp_path, content):
    del content["state_dict"]["spp.scale0.2.weight"]
    _refused(_edited(tmp_path, content), "lacks the weight 'spp.scale0.2.weight'; .*save it again")


def test_no_weights_at_all(tmp_path, content):
    content["state_dict"] = {}
    _refused(_edited(tmp_path, content), r"lacks the weight 'conv1.0.weight' \(and \d+ more\)")


def test_a_surplus_weight(tmp_path, content):
    content["state_dict"]["extra.weight"] = torch.zeros(1)
    _refused(_edited(tmp_path, content), "holds a weight that ddrnet_23_slim does not have: 'extra.weight'")


def test_a_wrong_shape(tmp_path, content):
    content["state_dict"]["conv1.0.bias"] = torch.zeros(31)
    _refused(_edited(tmp_path, content), r"weight 'conv1.0.bias': expected shape \(32,\), found \(31,\)")


@pytest.mark.parametrize(
    ("key", "dtype", "wanted"),
    [
        ("conv1.0.bias", torch.int8, torch.float32),
        ("conv1.1.num_batches_tracked", torch.float32, torch.int64),  # what .half() or .float() of every entry makes
    ],
)
def test_a_wrong_dtype(tmp_path, content, key, dtype, wanted):
    content["state_dict"][key] = content["state_dict"][key].to(dtype)
    _refused(_edited(tmp_path, content), f"weight '{key}': holds {dtype}; save it as {wanted}")


def test_an_entry_that_is_no_tensor(tmp_path, content):
    content["state_dict"]["conv1.0.bias"] = [0.0] * 32
    _refused(_edited(tmp_path, content), "weight 'conv1.0.bias': expected a dense tensor, found list")


def test_a_tensor_without_data(tmp_path, content):
    content["state_dict"]["conv1.0.bias"] = torch.zeros(32, device="meta")
    _refused(_edited(tmp_path, content), "weight 'conv1.0.bias': expected a dense tensor")


def test_labels_of_another_task(tmp_path, content):
    content["labels"]["names"].append("hat")
    content["labels"]["palette"].append([1, 2, 3])
    _refused(_edited(tmp_path, content), "labels: 4 names for the 3 classes of the model")


def test_a_size_that_the_network_cannot_take(tmp_path, content):
    content["preprocess"]["size_hw"] = [60, 64]
    _refused(_edited(tmp_path, content), "size 60x64 .*multiples of 8; use 56x64 or 64x64")


def test_provenance_that_no_manifest_could_hold(tmp_path, content):
    content["provenance"] = {"weights": torch.zeros(3)}
    _refused(_edited(tmp_path, content), "provenance: only JSON types can be there")


@pytest.mark.parametrize(
    ("changes", "pattern"),
    [
        ({"labels": LabelSet(("a", "b"))}, "labels: 2 names for the 3 classes"),
        ({"preprocess": PreprocessSpec((64, 64), "gray", mean=(0.5,), std=(0.2,))}, "'gray' makes 1 channel"),
        ({"preprocess": PreprocessSpec((64, 64), layout="nhwc")}, "takes nchw float32, found nhwc"),
    ],
)
def test_contradicting_contracts_make_no_checkpoint(checkpoint, changes, pattern):
    with pytest.raises(CheckpointError, match=pattern):
        dataclasses.replace(checkpoint, **changes)
