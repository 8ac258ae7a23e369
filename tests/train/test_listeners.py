"""A run from the command line tells all its listeners."""

import json
import re
import sys

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from seg_core.config.schema import TrainConfig
from seg_train.cli import train_command
from seg_train.listeners import facts_of, title_of

STEP = re.compile(
    r"train epoch: \[\d+\]  \[\d+/\d+\]  eta: \d:\d\d:\d\d  lr: 0\.\d+  seg_loss: \d+\.\d{4} \(\d+\.\d{4}\)  .*"
    r"time: \d+\.\d{4} \(\d+\.\d{4}\)  data: \d+\.\d{4} \(\d+\.\d{4}\)  max mem: \d+  "
    r"@\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
)


@pytest.fixture
def config_file(tmp_path):
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for index in range(4):
            mask = np.zeros((64, 64), np.uint8)
            mask[8:40, 8 + 4 * index : 40] = 1
            image = np.clip(mask[:, :, None] * 180 + rng.integers(0, 60, (64, 64, 3)), 0, 255).astype(np.uint8)
            for folder, pixels in (("images", image), ("masks", mask)):
                (tmp_path / split / folder).mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(tmp_path / split / folder / f"{index}.png"), pixels)
    (tmp_path / "labels.json").write_text(json.dumps({"names": ["rest", "square"]}))
    tree = {
        "data": {"train": str(tmp_path / "train"), "val": str(tmp_path / "val"), "workers": 0,
                 "labels": str(tmp_path / "labels.json")},
        "preprocess": {"size_hw": [64, 64]},
        "solver": {"steps": 4, "batch_size": 2, "warmup_steps": 1, "precision": "fp32"},
        "output": str(tmp_path / "run"), "eval_every": 2, "save_every": 2, "log_every": 1, "device": "cpu",
        "task": "Squares", "tensorboard": True,
    }  # fmt: skip
    (tmp_path / "config.yaml").write_text(json.dumps(tree))
    return tmp_path / "config.yaml"


def test_console_log_history_report_and_tensorboard_tell_of_one_run(config_file, tmp_path):
    result = CliRunner().invoke(train_command, ["--config", str(config_file), "--json"])
    assert result.exit_code == 0, result.output
    run = tmp_path / "run"
    log = (run / "train.log").read_text().splitlines()
    assert log[1:] == result.stderr.splitlines()
    assert [bool(STEP.fullmatch(line)) for line in log if line.startswith("train epoch")] == [True] * 4
    assert [line[:15] for line in log if "epoch: [" in line and line.startswith("Valid")] == [
        "Valid epoch: [0",
        "Valid epoch: [1",
    ]
    history = json.loads((run / "history.json").read_text())
    assert [row["step"] for row in history["steps"]] == [1, 2, 3, 4]
    assert [(row["step"], row["epoch"]) for row in history["evaluations"]] == [(2, 0), (4, 1)]
    best = max(row["miou"] for row in history["evaluations"])
    assert json.loads(result.stdout)["miou"] == best
    page = (run / "report.html").read_text()
    assert "finished after 4 steps" in page
    assert f"<b>{best:.4f}</b>" in page
    board = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0, "images": 0})
    board.Reload()
    assert [row.value for row in board.Scalars("val/mIoU")] == pytest.approx(
        [row["miou"] for row in history["evaluations"]]
    )
    assert {"confusion", "samples/0", "samples/3"} <= set(board.Tags()["images"])


def test_a_missing_tensorboard_is_told_before_anything_is_built(config_file, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    monkeypatch.delattr(torch.utils, "tensorboard", raising=False)
    result = CliRunner().invoke(train_command, ["--config", str(config_file)])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "error: tensorboard: true needs the package 'tensorboard', which is not installed: "
        "run  pip install 'segproof[train]'\n"
    )
    assert not (tmp_path / "run").exists()


def test_title_and_facts_are_what_the_configuration_sets():
    config = TrainConfig.model_validate(
        {"data": {"train": "a", "val": ["b", "c"]}, "solver": {"lr": 0.5}, "task": "Face-6", "extra": "occluded"}
    )
    assert title_of(config) == "ddrnet_23_slim at 256×256, Face-6, occluded"
    assert facts_of(config) == {
        "data.train": "a", "data.val": "b, c", "solver.lr": "0.5", "task": "Face-6", "extra": "occluded"
    }  # fmt: skip
