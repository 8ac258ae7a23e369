"""`seg-export` and `seg-parity` on published checkpoints that were never trained here, as their user meets them."""

import json

import pytest
import torch
from click.testing import CliRunner
from foreign_material import write_foreign

from seg_core.manifest import load_manifest
from seg_export.cli import export_command, parity_command

pytestmark = pytest.mark.export

SIZE = ("--size", "64x64")


@pytest.fixture(scope="module")
def face(tmp_path_factory):
    return write_foreign(tmp_path_factory.mktemp("face") / "79999_iter.pth", "bisenet_v1_face", "module.")


def invoke(command, *arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def error_line(result, code=1):
    assert result.exit_code == code, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, result.output
    assert "Traceback" not in result.output
    return lines[0]


def test_a_published_face_parser_is_exported_with_parity_and_says_what_it_assumes(face, tmp_path):
    result = invoke(export_command, face, "--target", "torchscript", *SIZE, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    for words in (
        "architecture  bisenet_v1_face, 13.15 M parameters",
        "19: background, skin, left_brow",
        "as from https://github.com/zllrunning/face-parsing.PyTorch",
        "state_dict, without the prefix 'module.', left out: module.criterion.weight",
        "preprocess: rgb with ImageNet statistics; change it by --mean, --std, --color",
        "labels: the 19 classes of CelebAMask-HQ, though celebamask_hq, cityscapes_19 would fit too",
        "✓ parity with 79999_iter.pth",
    ):
        assert words in result.stdout
    assert "assumed       size_hw" not in result.stdout
    manifest = load_manifest(tmp_path / "79999_iter-64x64.pt")
    recorded = manifest.provenance["checkpoint"]["provenance"]
    assert manifest.model.options["align_corners"] is True
    assert recorded["convention"]["mean"] == [0.485, 0.456, 0.406]
    assert set(recorded["assumed"]) == {"preprocess", "size_hw", "labels"}


def test_parity_reads_a_foreign_checkpoint_as_the_export_did_or_says_how(street, tmp_path):
    stated = ("--mean", "0.5", "--std", "0.25", "--color", "bgr", "--labels", "celebamask_hq")
    result = invoke(export_command, street, "--target", "jit", *SIZE, "--out", tmp_path, *stated, "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer["provenance"]["stated"] == {
        "color": "bgr", "labels": "celebamask_hq", "mean": [0.5], "std": [0.25],
    }  # fmt: skip
    artifact = tmp_path / "street-64x64.pt"
    manifest = load_manifest(artifact)
    assert (manifest.preprocess.color, manifest.preprocess.mean) == ("bgr", (0.5, 0.5, 0.5))
    assert manifest.labels.names[1] == "skin"
    assert "--color bgr --mean 0.5 --std 0.25 --labels celebamask_hq" in result.stderr

    line = error_line(invoke(parity_command, street, artifact, "--no-save"))
    advice = "--color bgr --mean 0.5,0.5,0.5 --std 0.25,0.25,0.25"
    assert f"give  {advice}" in line
    result = invoke(parity_command, street, artifact, "--no-save", *advice.split())
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--labels", "camvid_11"), 1, "11 names, but the model has 19 classes"),
        (("--labels", "nowhere.json"), 1, "nowhere.json: cannot be read"),
        (("--color", "gray"), 1, "the network's first layer takes 3"),
        (("--mean", "0.5", "--std", "0"), 1, "--std: expected numbers above 0"),
        (("--mean", "0.5"), 2, "--mean and --std belong together"),
        (("--mean", "red", "--std", "1"), 2, "expected numbers such as"),
        (("--color", "hsv"), 2, "hsv"),
    ],
)
def test_contradictions_are_one_line_and_write_nothing(arguments, code, words, street, tmp_path):
    out = tmp_path / "out"
    result = invoke(export_command, street, "--target", "jit", *SIZE, "--out", out, *arguments)
    assert result.exit_code == code, result.output
    assert words in result.stderr
    assert not out.exists()


def test_an_unknown_checkpoint_gets_the_nearest_and_the_next_step(street, tmp_path):
    state = torch.load(street, weights_only=True)["state_dict"]
    torch.save({key.replace("spp.", "pool."): value for key, value in state.items()}, tmp_path / "unknown.pth")
    line = error_line(invoke(export_command, tmp_path / "unknown.pth", "--target", "jit", "--out", tmp_path / "out"))
    assert "nearest is ddrnet_23_slim" in line
    assert "seg-data rename-checkpoint FILE OURS.pth --model ddrnet_23_slim --prefix-map pool.=spp. --dry-run" in line
    assert not (tmp_path / "out").exists()


def test_the_auxiliary_head_is_never_exported_for_the_main_one(street, tmp_path):
    state = torch.load(street, weights_only=True)["state_dict"]
    torch.save({key: value for key, value in state.items() if "final_layer" not in key}, tmp_path / "aux.pth")
    line = error_line(invoke(export_command, tmp_path / "aux.pth", "--target", "jit", "--out", tmp_path / "out"))
    assert "main head 'final_layer' is missing while the auxiliary one 'seghead_extra'" in line
    assert not (tmp_path / "out").exists()
