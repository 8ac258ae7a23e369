"""Whole runs of a small network on a handful of drawn pictures."""

import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import small_runs
import torch
from click.testing import CliRunner

from seg_core.config.schema import TrainConfig
from seg_core.errors import CheckpointError, ConfigError, ImageError
from seg_core.models.checkpoint import build_network, load_checkpoint
from seg_train.cli import train_command
from seg_train.data import PairDataset
from seg_train.engine import Trainer, TrainingError
from seg_train.events import StepEvent
from seg_train.loader import StreamSampler
from seg_train.stepper import Stepper


@pytest.fixture
def data_dir(tmp_path):
    small_runs.draw_data(tmp_path, train=6, val=2)
    return tmp_path


def make_config(data_dir, steps=4, **changes):
    """Return the configuration of a run of DDRNet-23-slim."""
    network = {"name": "ddrnet_23_slim", "options": {"aux_head": True, "upsample": True}}
    changes["model"] = network | changes.get("model", {})
    changes["solver"] = {"steps": steps} | changes.get("solver", {})
    return small_runs.config_of(data_dir, **changes)


def final_weights(directory):
    return load_checkpoint(directory / "last.pth").state_dict


class StoppedError(Exception):
    """Stands for a process that dies."""


def test_a_run_resumed_after_a_crash_ends_with_the_same_weights(data_dir):
    straight = make_config(data_dir, output=data_dir / "straight")
    Trainer(straight).run()
    broken = make_config(data_dir, output=data_dir / "broken")

    def die_after_three(progress):
        if progress.step == 3:
            raise StoppedError

    with pytest.raises(StoppedError):
        Trainer(broken).run(die_after_three)
    resumed = Trainer(broken)
    assert resumed.state.step == 2
    resumed.run()
    expected, got = final_weights(data_dir / "straight"), final_weights(data_dir / "broken")
    assert expected.keys() == got.keys()
    for name, value in expected.items():
        assert torch.equal(value, got[name]), name
    histories = [json.loads((data_dir / name / "history.json").read_text()) for name in ("straight", "broken")]
    losses = [[row["loss"] for row in history["steps"]] for history in histories]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 4


def test_a_few_pictures_are_learnt_and_the_checkpoint_needs_nothing_else(data_dir):
    still = {"flip": 0.0, "scale": (1, 1), "translate": 0, "rotate_deg": 0}
    config = make_config(
        data_dir, steps=40, augment=still, eval_every=40, save_every=40, solver={"steps": 40, "lr": 3e-3}
    )
    seen = []
    result = Trainer(config).run(seen.append)
    losses = [progress.losses["loss"] for progress in seen if isinstance(progress, StepEvent)]
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:3])
    checkpoint = load_checkpoint(result.best)
    assert checkpoint.labels.names == ("background", "left", "right")
    assert checkpoint.metrics["val"]["miou"] == pytest.approx(result.best_miou)
    assert checkpoint.provenance["step"] == 40
    assert str(data_dir) not in json.dumps(checkpoint.provenance)
    logits = build_network(checkpoint)(torch.zeros(1, 3, 64, 64))
    assert logits.shape == (1, 3, 64, 64)


def test_a_state_of_another_configuration_is_refused_unless_restarted(data_dir):
    Trainer(make_config(data_dir, steps=2)).run()
    changed = make_config(data_dir, steps=2, solver={"steps": 2, "lr": 5e-4})
    with pytest.raises(CheckpointError, match="another configuration"):
        Trainer(changed)
    assert Trainer(changed, restart=True).state.step == 0


def test_a_damaged_state_is_named(data_dir):
    Trainer(make_config(data_dir, steps=2)).run()
    state = data_dir / "run" / "resume.pth"
    state.write_bytes(state.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match=r"resume\.pth: truncated or damaged; pass --restart .*last\.pth"):
        Trainer(make_config(data_dir, steps=2))


def test_a_loss_that_is_not_a_number_stops_the_run(data_dir):
    trainer = Trainer(make_config(data_dir))
    with torch.no_grad():
        next(trainer.network.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingError, match="step 1: the loss is not a number"):
        trainer.run()
    assert not (data_dir / "run" / "last.pth").exists()


def test_swapped_masks_are_put_right_in_training_alone(data_dir):
    (data_dir / "swapped.txt").write_text("1\n")
    config = make_config(data_dir, data={"swap_left_right": data_dir / "swapped.txt"})
    trainer = Trainer(config)
    plain = Trainer(make_config(data_dir, output=data_dir / "other"))
    swap = {0: 0, 1: 2, 2: 1}
    for index in range(6):
        _, got = trainer.train_set._source.reading.read(trainer.train_set.pairs[index])
        _, stored = plain.train_set._source.reading.read(plain.train_set.pairs[index])
        assert np.array_equal(got, np.vectorize(swap.get)(stored) if index == 1 else stored)
    _, val_target = trainer.val_set[1]
    assert torch.equal(val_target, plain.val_set[1][1])


def test_validation_sees_the_contract_and_cached_data_are_the_same(data_dir):
    trainer = Trainer(make_config(data_dir, data={"cache": True}))
    uncached = Trainer(make_config(data_dir, output=data_dir / "other"))
    for cached_set, plain_set, key in (
        (trainer.val_set, uncached.val_set, 0),
        (trainer.train_set, uncached.train_set, (17, 3)),
    ):
        for a, b in zip(cached_set[key], plain_set[key], strict=True):
            assert torch.equal(a, b)
    assert isinstance(trainer.train_set, PairDataset)


def test_the_stream_enters_anywhere_and_shows_every_pair_once_a_pass():
    whole = list(StreamSampler(5, 20, seed=1))
    assert list(StreamSampler(5, 20, start=7, seed=1)) == whole[7:]
    for epoch in range(4):
        assert sorted(index for _, index in whole[5 * epoch : 5 * epoch + 5]) == [0, 1, 2, 3, 4]
    assert [index for _, index in whole[:5]] != [index for _, index in whole[5:10]]


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"preprocess": {"size_hw": (100, 64)}}, ConfigError, r"^preprocess\.size_hw \(INPUT\.SIZE\): size 100x64"),
        ({"data": {"labels": "celeba"}}, ConfigError, "unknown label set 'celeba'"),
        ({"data": {"train": "nowhere"}}, ImageError, r"^data\.train \(DATASET\.TRAIN_PATH\): no such .*: nowhere;"),
        ({"data": {"val": ["nowhere"]}}, ImageError, r"^data\.val \(DATASET\.TEST_PATH\): no such .*: nowhere;"),
        ({"model": {"name": "ddrnet"}}, ConfigError, "did you mean"),
        ({"model": {"in_channels": 4}}, ConfigError, "in_channels"),
        ({"data": {"swap_left_right": "missing.txt"}}, ConfigError, "missing.txt"),
    ],
)
def test_impossible_runs_are_refused_before_they_start(data_dir, changes, error, text):
    tree = make_config(data_dir).model_dump()
    for section, values in changes.items():
        tree[section] |= values
    with pytest.raises(error, match=text):
        Trainer(TrainConfig.model_validate(tree))
    assert not (data_dir / "run").exists()


def test_labels_out_of_range_name_the_file(data_dir):
    mask = np.full((64, 64), 7, np.uint8)
    cv2.imwrite(str(data_dir / "train" / "masks" / "3.png"), mask)
    with pytest.raises(ImageError, match=r"3\.png: the mask holds 7"):
        Trainer(make_config(data_dir, steps=3)).run()


def test_the_command_trains_and_resumes_to_nothing_left(data_dir):
    config = data_dir / "run.yaml"
    config.write_text(json.dumps(json.loads(make_config(data_dir, steps=2).model_dump_json())))  # JSON is YAML
    first = CliRunner().invoke(train_command, ["--config", str(config), "--json"])
    assert first.exit_code == 0, first.output
    answer = json.loads(first.stdout)
    assert answer["steps"] == 2
    assert (data_dir / "run" / "best.pth").exists()
    again = CliRunner().invoke(train_command, ["--config", str(config)])
    assert again.exit_code == 0
    assert "resumed at step 2" in again.stderr
    wrong = CliRunner().invoke(train_command, ["--config", str(config), "-o", "solver.stepz=1"])
    assert wrong.exit_code == 1
    assert wrong.stderr.startswith("error: ")
    assert wrong.stderr.count("\n") == 1


def test_the_time_left_is_not_that_of_the_first_step(data_dir, monkeypatch):
    """Compiling takes a minute once: a first line that spoke of three hours left was believed."""
    now, taken = [0.0], Stepper.step

    def timed(self, batches):
        now[0] += 60.0 if self.state.step == 0 else 2.0
        return taken(self, batches)

    monkeypatch.setattr(Stepper, "step", timed)
    monkeypatch.setattr("seg_train.step_clock.time", SimpleNamespace(perf_counter=lambda: now[0]))
    seen = []
    Trainer(make_config(data_dir, steps=6, log_every=3, eval_every=6, save_every=6)).run(seen.append)
    first, last = (event for event in seen if isinstance(event, StepEvent))
    assert (first.step_ms, first.step_ms_average, first.eta_s) == (2000.0, 2000.0, 6.0)
    assert (last.step_ms, last.eta_s) == (2000.0, 0.0)


def test_a_run_of_one_step_still_tells_its_time(data_dir):
    seen = []
    Trainer(make_config(data_dir, steps=1, log_every=1, eval_every=1, save_every=1)).run(seen.append)
    [told] = [event for event in seen if isinstance(event, StepEvent)]
    assert told.step_ms > 0
    assert told.eta_s == 0
