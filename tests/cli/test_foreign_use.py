"""What runs models, on a published checkpoint: nothing is assumed in silence."""

import json

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from seg_bench.cli import bench_command, eval_command
from seg_bench.video import video_command
from seg_core.cli.predict import predict_command
from seg_core.images import load_mask
from seg_core.models.checkpoint import load_checkpoint, save_checkpoint
from seg_core.predictor import Predictor
from seg_export.cli import export_command

STATED = ("--mean", "0.5", "--std", "0.25", "--color", "bgr", "--size", "64x96")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """One noisy picture and a mask of it."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for name, shape in (("images", (80, 120, 3)), ("masks", (80, 120))):
        (folder / name).mkdir()
        high = 256 if name == "images" else 19
        cv2.imwrite(str(folder / name / "one.png"), rng.integers(0, high, shape, np.uint8))
    return folder


@pytest.fixture(params=["predict", "eval", "bench", "video"])
def use(request, data, tmp_path):
    """Run one of the commands on a model with --json: (result, the provenance that its JSON states or None)."""

    def run(model, *options):
        picture = data / "images" / "one.png"
        command, arguments = {
            "predict": (predict_command, (model, picture, "--out", tmp_path / "out.png")),
            "eval": (eval_command, (model, "--data", data)),
            "bench": (bench_command, (model, "--images", picture, "--rounds", 1, "--frames", 1, "--warmup", 0)),
            "video": (video_command, (model, "--data", data, "--clips", 1, "--frames", 2)),
        }[request.param]
        if request.param == "eval":
            options = ["--model-labels" if option == "--labels" else option for option in options]
        result = CliRunner().invoke(command, [str(each) for each in (*arguments, "--json", *options)])
        if result.exit_code != 0:
            return result, None
        answer = json.loads(result.stdout)
        record = {
            "predict": lambda: answer[0],
            "eval": lambda: answer,
            "bench": lambda: answer["rows"][0],
            "video": lambda: answer["filmed"]["rows"][0],
        }
        return result, record[request.param]().get("provenance")

    run.command = request.param
    return run


@pytest.fixture(scope="module")
def exported_lines(street, tmp_path_factory):
    """What `seg-export` says of the file, the size left out, which is stated to be quick."""
    arguments = (street, "--target", "jit", "--size", "64x64", "--out", tmp_path_factory.mktemp("export"))
    exported = CliRunner().invoke(export_command, [str(each) for each in arguments])
    assert exported.exit_code == 0, exported.output
    said = [line for line in exported.stdout.splitlines() if line.startswith(("recognised", "read from", "assumed"))]
    assert len(said) == 4
    return said


def test_what_is_assumed_is_printed_in_the_words_of_the_export_and_in_the_json(street, use, exported_lines):
    result, provenance = use(street)
    assert result.exit_code == 0, result.output
    for line in exported_lines:
        assert (line.replace("--labels", "--model-labels") if use.command == "eval" else line) in result.stderr
    assert "rgb, ((x × 0.00392157) - mean 0.485 0.456 0.406) / std 0.229 0.224 0.225" in result.stderr
    assert "assumed       size_hw: 512×1024; change it by --size" in result.stderr
    assert set(provenance["assumed"]) == {"preprocess", "size_hw", "labels"}
    assert provenance["convention"]["mean"] == [0.485, 0.456, 0.406]


def test_what_is_stated_is_used_and_no_longer_assumed(street, use):
    result, provenance = use(street, *STATED, "--labels", "celebamask_hq")
    assert result.exit_code == 0, result.output
    assert provenance["assumed"] == {}
    assert provenance["convention"] == {"color": "bgr", "scale": 1 / 255, "mean": [0.5] * 3, "std": [0.25] * 3}
    assert "bgr, ((x × 0.00392157) - mean 0.5 0.5 0.5) / std 0.25 0.25 0.25" in result.stderr
    assert "assumed " not in result.stderr
    assert "stated        size_hw: [64, 96]" in result.stderr


def test_labels_are_those_of_an_export_that_was_told_the_same(street, data, tmp_path):
    arguments = (street, "--target", "jit", "--out", tmp_path, "--name", "told", *STATED)
    exported = CliRunner().invoke(export_command, [str(each) for each in arguments])
    assert exported.exit_code == 0, exported.output
    picture = data / "images" / "one.png"
    found = {}
    for name, model, options in (("own", street, STATED), ("told", tmp_path / "told.pt", ()), ("not", street, ())):
        out = tmp_path / f"{name}.png"
        size = ("--size", "64x96") if name == "not" else ()
        words = (model, picture, "--save", "mask", "--out", out, *options, *size)
        assert CliRunner().invoke(predict_command, [str(each) for each in words]).exit_code == 0
        found[name] = load_mask(out)
    assert np.array_equal(found["own"], found["told"])
    assert not np.array_equal(found["own"], found["not"])


def test_of_our_own_checkpoint_only_the_size_is_taken(street, use, tmp_path):
    ours = tmp_path / "ours.pth"
    checkpoint = load_checkpoint(street)
    checkpoint.provenance.clear()
    save_checkpoint(ours, checkpoint)
    result, provenance = use(ours, "--size", "64x96")
    assert (result.exit_code, provenance) == (0, None), result.output
    assert "assumed" not in result.stderr
    result, _ = use(ours, "--mean", "0.5", "--std", "0.5")
    assert result.exit_code == 1
    assert "leave out --mean, --std, --color and the classes" in result.output


@pytest.mark.parametrize("option", [("--size", "64x64"), ("--color", "bgr"), ("--labels", "cityscapes_19")])
def test_an_artifact_is_told_nothing(use, option, tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"x")
    result, _ = use(tmp_path / "model.onnx", *option)
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert "leave" in line
    assert "out" in line


def test_a_manifest_read_once_is_taken_as_it_is(street):
    from seg_core.convention import StatedConvention
    from seg_core.manifest import load_manifest

    manifest = load_manifest(street, stated=StatedConvention(size_hw=(64, 96)))
    with Predictor.open(street, 1, manifest) as predictor:
        assert predictor.predict(np.zeros((5, 5, 3), np.uint8)).geometry.size_hw == (64, 96)
