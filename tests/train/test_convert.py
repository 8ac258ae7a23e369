"""`seg-data convert`: a checkpoint as a TorchScript program."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from seg_core.errors import ArtifactError
from seg_core.images import load_image
from seg_core.labels import LabelSet
from seg_core.models import build_model
from seg_core.models.checkpoint import Checkpoint, save_checkpoint
from seg_core.predictor import Predictor
from seg_core.spec import ModelSpec, PostprocessSpec, PreprocessSpec
from seg_train import convert
from seg_train.data_cli import data_command

PHOTO = Path(__file__).parents[2] / "mobile_demo" / "samples" / "grace_hopper.png"


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(0)
    spec = ModelSpec("ddrnet_23_slim", 3, 3, {"aux_head": True})
    content = Checkpoint(
        spec, PreprocessSpec(size_hw=(64, 128), color="bgr"), PostprocessSpec(), LabelSet(("a", "b", "c")),
        build_model(spec).state_dict(),
    )  # fmt: skip
    save_checkpoint(tmp_path / "net.pth", content)
    return tmp_path / "net.pth"


def run(*arguments):
    return CliRunner().invoke(data_command, ["convert", *map(str, arguments)])


@pytest.mark.filterwarnings("ignore:`torch.jit.load`:DeprecationWarning")
def test_the_program_labels_photographs_as_its_checkpoint_does(checkpoint, tmp_path):
    result = run(checkpoint, tmp_path / "net.pt", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["input_shape"], report["max_abs_relative"] <= convert.TOLERANCE) == ([1, 3, 64, 128], True)
    assert f"seg-export {checkpoint} --target torchscript" in result.stderr
    photo = load_image(PHOTO)
    answers = [Predictor.open(tmp_path / name).predict(photo).labels for name in ("net.pt", "net.pth")]
    np.testing.assert_array_equal(*answers)
    assert len(np.unique(answers[0])) > 1
    assert not any("aux" in name for name in torch.jit.load(tmp_path / "net.pt").state_dict())


def test_a_program_that_disagrees_replaces_nothing(checkpoint, tmp_path, monkeypatch):
    (tmp_path / "net.pt").write_text("older")
    honest = convert.torch.jit.trace

    def trace_another(network, image, **options):
        changed = build_model(ModelSpec("ddrnet_23_slim", 3, 3, {"aux_head": False})).eval()
        return honest(changed, image, **options)

    monkeypatch.setattr(torch.jit, "trace", trace_another)
    with pytest.raises(ArtifactError, match=r"logits differ by .* nothing was written"):
        convert.convert_checkpoint(checkpoint, tmp_path / "net.pt")
    assert (tmp_path / "net.pt").read_text() == "older"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.pt", "net.pth"]


@pytest.mark.parametrize(
    ("destination", "words"),
    [
        ("net.pth", r"net\.pth: a TorchScript program is named \*\.pt"),
        ("none/net.pt", r"none/net\.pt: cannot be written"),
        ("told.pt", r"told\.pt\.json lies beside it and describes an earlier export"),
    ],
)
def test_a_destination_that_will_not_do_is_named(checkpoint, tmp_path, destination, words):
    (tmp_path / "told.pt.json").write_text("{}")
    result = run(checkpoint, tmp_path / destination)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.splitlines()) == 1
    assert re.search(words, result.stderr)


def test_a_source_that_is_no_checkpoint_is_named(tmp_path):
    (tmp_path / "net.pth").write_text("none")
    result = run(tmp_path / "net.pth", tmp_path / "net.pt")
    assert (result.exit_code, "net.pth" in result.stderr, (tmp_path / "net.pt").exists()) == (1, True, False)
