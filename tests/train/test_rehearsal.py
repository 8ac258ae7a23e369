"""`seg-data test-cfg`: what a configuration names is built and takes a step, before hours are spent on it."""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import small_runs
import torch
from click.testing import CliRunner

from seg_core.errors import ConfigError, MissingDependencyError
from seg_core.label_merge import MERGES, merge_labels
from seg_core.labels import CELEBAMASK_HQ
from seg_core.models.checkpoint import load_checkpoint
from seg_core.visualize import colourise
from seg_train import rehearsal
from seg_train.cli import train_command
from seg_train.data_cli import data_command
from seg_train.parallel import Workers
from seg_train.rehearsal import rehearse

CONFIGS = Path(__file__).parents[2] / "configs"
GPU = Workers(0, 1, torch.device("cuda", 0))
SHIPPED = sorted(CONFIGS.glob("seed_*.yaml"))


def test_there_are_three_shipped_files():
    assert [path.stem for path in SHIPPED] == ["seed_face10_deeplab", "seed_face6", "seed_face8_edge"]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_files_pass_the_rehearsal(path):
    small = ("INPUT.SIZE=(160, 128)", "INPUT.CROP=(128, 128)", "BATCH_SIZE=2", "device=cpu", "solver.precision=fp32")
    changes = [argument for change in small for argument in ("-o", change)]
    done = CliRunner().invoke(data_command, ["test-cfg", str(path), "--synthetic", *changes, "--json"])
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    channels, classes = answer["config"]["model"]["in_channels"], len(answer["classes"])
    assert answer["batch_shape"] == [2, 128, 128, channels]
    for name, shape in answer["heads"].items():
        assert shape[:2] == [2, 1 if name == "edge" else classes]
    assert set(answer["losses"]) == {"loss", *answer["heads"]}
    assert answer["memory_mb"] > 100
    assert {"build", "draw batch", "forward", "loss", "backward", "optimizer", "evaluate one"} <= set(
        answer["stage_ms"]
    )
    assert ("edge" in answer["heads"]) == (path.stem == "seed_face8_edge")


@pytest.fixture
def faces(tmp_path):
    """Drawn pictures with masks of CelebAMask-HQ's 19 classes."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 2)):
        for folder in ("images", "masks"):
            (tmp_path / split / folder).mkdir(parents=True)
        for index in range(count):
            mask = np.repeat(np.repeat(rng.integers(0, 19, (4, 4), dtype=np.uint8), 20, axis=0), 20, axis=1)
            image = np.stack([mask * 13, 255 - mask * 9, mask * 5], axis=-1).astype(np.uint8)
            cv2.imwrite(str(tmp_path / split / "images" / f"{index}.jpg"), image)
            cv2.imwrite(str(tmp_path / split / "masks" / f"{index}.png"), mask)
    return tmp_path


def overrides_for(faces):
    paths = f"DATASET.TRAIN_PATH=[{faces / 'train'}]", f"DATASET.TEST_PATH={faces / 'val'}"
    small = "NUM_WORKERS=0", "BATCH_SIZE=2", "INPUT.SIZE=(64, 64)", "INPUT.CROP=(64, 64)", "solver.precision=fp32"
    return [argument for change in (*paths, *small, "device=cpu") for argument in ("-o", change)]


def test_the_rehearsal_reads_the_data_and_says_what_training_would(faces):
    seed = str(CONFIGS / "seed_face6.yaml")
    done = CliRunner().invoke(data_command, ["test-cfg", seed, *overrides_for(faces)])
    assert done.exit_code == 0, done.output
    said = " ".join(done.stdout.split())
    for text in ("pictures 8, 2 for validation", "head main 2 × 6 ×", "peak memory", "merge: face_6"):
        assert text in said
    assert done.stderr.startswith("note: MODEL.PRETRAINED")
    (faces / "val" / "masks" / "0.png").unlink()
    wrong = CliRunner().invoke(data_command, ["test-cfg", seed, *overrides_for(faces)])
    assert wrong.exit_code == 1
    assert wrong.stderr.splitlines()[-1].startswith("error: ")
    crop = ["-o", "INPUT.SIZE=(128, 128)", "-o", "INPUT.CROP=(100, 100)"]
    odd = CliRunner().invoke(data_command, ["test-cfg", seed, "--synthetic", *overrides_for(faces), *crop])
    assert odd.exit_code == 1
    assert "INPUT.CROP" in odd.stderr
    assert "100x100" in odd.stderr


def test_options_that_training_refuses_are_refused(faces):
    seed = str(CONFIGS / "seed_face6.yaml")
    wrong = ["-o", "solver.compile_options.nonsense=1"]
    done = CliRunner().invoke(data_command, ["test-cfg", seed, "--synthetic", *overrides_for(faces), *wrong])
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1].startswith("error: solver.compile_options.nonsense: ")
    trained = CliRunner().invoke(train_command, ["--config", seed, *overrides_for(faces), *wrong])
    assert trained.stderr.splitlines()[-1] == done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"precision": "fp16"}, r"^solver\.precision: fp16"),
        ({"on_nan": "skip"}, r"^solver\.on_nan: a recorded"),
        ({"optimizer": "adabelief"}, r"^solver\.compile: AdaBelief"),
    ],
)
def test_what_cannot_be_recorded_on_a_gpu_is_refused(tmp_path, small_network, changes, text, monkeypatch):
    """Only the decision, which needs no GPU."""
    config = small_runs.config_of(tmp_path, solver={"compile": "cuda_graphs"} | changes)
    small_runs.draw_data(tmp_path)
    rehearse(config, synthetic=True)  # on a CPU nothing is recorded
    check = rehearsal.check_options
    monkeypatch.setattr(rehearsal, "check_options", lambda options, workers, optimizer: check(options, GPU, optimizer))
    with pytest.raises(ConfigError, match=text):
        rehearse(config, synthetic=True)


def test_a_tensorboard_that_is_not_there_is_missed_before_anything_is_built(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingDependencyError, match="tensorboard"):
        rehearse(small_runs.config_of(tmp_path, tensorboard=True), synthetic=True)


@pytest.mark.parametrize("grey", [False, True])
def test_the_batch_is_shown_as_training_sees_it(faces, grey):
    seed, sheet = str(CONFIGS / "seed_face6.yaml"), faces / "batch.png"
    plain = ["augment.flip=0", "augment.scale=[1,1]", "augment.crop_hw=null", f"DATASET.GRAYSCALE={grey}"]
    changes = "brightness contrast saturation translate rotate_deg hue_deg grayscale blur jpeg low_resolution erase"
    plain += [f"augment.{name}=0" for name in changes.split()]
    arguments = [*overrides_for(faces), *(argument for change in plain for argument in ("-o", change))]
    done = CliRunner().invoke(data_command, ["test-cfg", seed, *arguments, "--show", str(sheet)])
    assert done.exit_code == 0, done.output
    assert f"what training sees: {sheet}" in done.stderr
    drawn = cv2.imread(str(sheet))
    for place, name in enumerate("01"):
        source = cv2.imread(str(faces / "train" / "images" / f"{name}.jpg"))
        if grey:
            source = np.repeat(cv2.cvtColor(source, cv2.COLOR_BGR2GRAY)[:, :, None], 3, axis=2)
        picture, colours = np.hsplit(drawn[:64, 128 * place : 128 * (place + 1)], 2)
        wanted = cv2.resize(source, (64, 64), interpolation=cv2.INTER_LINEAR)
        assert np.abs(picture.astype(int) - wanted).mean() < 4
        mask = cv2.imread(str(faces / "train" / "masks" / f"{name}.png"), cv2.IMREAD_GRAYSCALE)
        labels, table = merge_labels(CELEBAMASK_HQ, "face_6")
        expected = colourise(table[cv2.resize(mask, (64, 64), interpolation=cv2.INTER_NEAREST)], labels.palette)
        assert (colours == expected).all(axis=2).mean() > 0.95
    assert drawn.shape[0] > 64  # the legend
    refused = CliRunner().invoke(data_command, ["test-cfg", seed, *arguments, "--show", str(faces / "x.tiff2")])
    assert refused.exit_code == 1
    assert "use .png" in refused.stderr


TRAINED = {
    "seed_face10_deeplab": ("deeplabv3plus", "face_10", {"main", "aux"}),
    "seed_face6": ("ddrnet_23_slim", "face_6", {"main", "aux"}),
    "seed_face8_edge": ("bisenet_v1", "face_8", {"main", "aux16", "aux32", "edge"}),
}


@pytest.mark.slow
@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_seed_trains_from_its_file_to_a_checkpoint(faces, path):
    name, merge, heads = TRAINED[path.stem]
    run = ["-o", "MAX_EPOCH=2", "-o", f"output={faces / 'run'}", "-o", "log_every=1", "-o", "ACC_STEP=1"]
    run += ["-o", "INPUT.SIZE=(128, 128)", "-o", "INPUT.CROP=(128, 128)"]  # atrous rates reach beyond less
    done = CliRunner().invoke(train_command, ["--config", str(path), *overrides_for(faces), *run, "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["steps"] == 8
    checkpoint = load_checkpoint(faces / "run" / "best.pth")
    assert checkpoint.labels.names == tuple(MERGES[merge])
    assert (checkpoint.model.name, checkpoint.model.num_classes) == (name, len(MERGES[merge]))
    assert checkpoint.preprocess.size_hw == (128, 128)
    for row in json.loads((faces / "run" / "history.json").read_text())["steps"]:
        assert heads < row.keys()
        assert all(row[head] > 0 for head in heads)
    if name == "ddrnet_23_slim":
        weights = ["-o", f"MODEL.PRETRAINED={faces / 'run' / 'best.pth'}", "--json"]
        again = CliRunner().invoke(data_command, ["test-cfg", str(path), *overrides_for(faces), *weights])
        assert again.exit_code == 0, again.output
        assert json.loads(again.stdout)["weights"].endswith(" tensors taken over")
