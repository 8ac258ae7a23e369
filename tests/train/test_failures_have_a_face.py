"""What goes wrong in a run ends in one line that helps, and never in a spoilt file."""

import json
import multiprocessing
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import small_runs
import torch
from click.testing import CliRunner

from seg_core.atomic import remove_drafts, replacing
from seg_core.config.loader import load_train_config
from seg_core.errors import ConfigError, ImageError, SegError
from seg_core.models.checkpoint import load_checkpoint
from seg_core.models.weights_file import read_weights_file
from seg_train.build import build_datasets, build_labels, build_specs
from seg_train.cli import train_command
from seg_train.engine import Trainer, TrainingError
from seg_train.events import EndEvent, EvaluationEvent, StartEvent, StepEvent

pytestmark = pytest.mark.usefixtures("small_network")

PROGRAM = Path(small_runs.__file__)


@pytest.fixture
def root(tmp_path):
    small_runs.draw_data(tmp_path)
    return tmp_path


def run(root, **changes):
    """Train; return what the listener was told."""
    told = []
    Trainer(small_runs.config_of(root, **changes)).run(told.append)
    return told


def only(told, kind):
    return [event for event in told if isinstance(event, kind)]


class Spoiler:
    """A training set whose pictures are no numbers at some places of the stream."""

    def __init__(self, dataset, places):
        self.dataset, self.places = dataset, places
        self.labels, self.seed = dataset.labels, dataset.seed

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, draw):
        image, target = self.dataset[draw]
        normalised = image.permute(2, 0, 1).float() / 255
        return torch.full_like(normalised, float("nan")) if draw[0] in self.places else normalised, target


class Targets(Spoiler):
    """A training set whose masks are nothing but `value`."""

    def __getitem__(self, draw):
        image, target = self.dataset[draw]
        return image, torch.full_like(target, self.places)


def trainer_with(root, make, places, **changes):
    config = small_runs.config_of(root, **changes)
    labels = build_labels(config.data.labels)
    train_set, val_set = build_datasets(config, build_specs(config, labels)[1], labels)
    return Trainer(config, train_set=make(train_set, places), val_set=val_set)


def assert_finite(directory):
    for name in ("best", "last"):
        if (directory / f"{name}.pth").exists():
            assert all(
                value.isfinite().all() for value in load_checkpoint(directory / f"{name}.pth").state_dict.values()
            )
    if (directory / "resume.pth").exists():
        state = read_weights_file(directory / "resume.pth")
        assert all(value.isfinite().all() for value in state["model"].values() if value.is_floating_point())


@pytest.mark.parametrize("log_every", [1, 50])
@pytest.mark.parametrize("grad_clip", [None, 5.0])
def test_a_loss_that_is_no_number_ends_the_run_and_the_state_before_it_stays(root, log_every, grad_clip):
    solver = {"steps": 8, "grad_clip": grad_clip}
    trainer = trainer_with(root, Spoiler, {9}, solver=solver, log_every=log_every, save_every=1)
    with pytest.raises(TrainingError, match=r"^step 5: the loss is not a number \(loss nan, main nan") as caught:
        trainer.run()
    assert "the last good state is in" in str(caught.value)
    assert "solver.on_nan=skip" in str(caught.value)
    assert read_weights_file(root / "run" / "resume.pth")["step"] == 4
    assert_finite(root / "run")


def test_weights_that_are_no_numbers_are_neither_scored_nor_saved(root):
    trainer = trainer_with(root, Spoiler, set(), solver={"steps": 4})
    with torch.no_grad():
        trainer.state.average.module.scores.bias.fill_(float("inf"))
    with pytest.raises(TrainingError, match="step 2: weights are no longer numbers; the last good state"):
        trainer.run()
    assert not list((root / "run").glob("*.pth"))


def test_left_out_steps_are_counted_where_one_looks(root):
    trainer = trainer_with(root, Spoiler, {2, 9}, solver={"steps": 6, "on_nan": "skip"}, log_every=2)
    told = []
    trainer.run(told.append)
    assert [event.skipped for event in only(told, StepEvent)] == [1, 1, 2]
    assert only(told, EndEvent)[0].skipped == 2
    assert all(np.isfinite(event.averages["loss"]) for event in only(told, StepEvent))
    assert_finite(root / "run")


def test_the_log_names_what_was_left_out(root, monkeypatch):
    def spoilt(*arguments):
        train_set, val_set = build_datasets(*arguments)
        return Spoiler(train_set, {2}), val_set

    monkeypatch.setattr("seg_train.build.build_datasets", spoilt)
    config = small_runs.write_config(root, solver={"on_nan": "skip"})
    assert CliRunner().invoke(train_command, ["--config", str(config)]).exit_code == 0
    log = (root / "run" / "train.log").read_text()
    assert log.count("left out: 1") == 3
    assert "1 steps left out: best mIoU" in log


def test_masks_of_nothing_known_teach_nothing_and_harm_nothing(root):
    trainer = trainer_with(root, Targets, 255)
    told = []
    trainer.run(told.append)
    assert {event.losses["loss"] for event in only(told, StepEvent)} == {0.0}
    assert_finite(root / "run")


def test_validation_without_a_known_pixel_is_told_instead_of_a_best_that_is_not_there(root):
    for path in (root / "val" / "masks").iterdir():
        cv2.imwrite(str(path), np.full((64, 64), 255, np.uint8))
    config = small_runs.write_config(root)
    result = CliRunner().invoke(train_command, ["--config", str(config)])
    assert result.exit_code == 1
    (line,) = [line for line in result.stderr.splitlines() if "error: " in line]
    assert "data.val" in line
    assert "no pixel of the 3 validation pictures has a class" in line
    assert not list((root / "run").glob("*.pth"))


@pytest.mark.parametrize("terms", [{"cross_entropy": 1.0}, {"dice": 1.0, "focal": 1.0, "lovasz": 1.0, "iou": 1.0}])
def test_classes_that_no_mask_has_do_no_harm(root, terms):
    trainer = trainer_with(root, Targets, 1, loss={"cross_entropy": 0.0} | terms)
    told = []
    trainer.run(told.append)
    assert all(np.isfinite(event.losses["loss"]) for event in only(told, StepEvent))
    assert np.isfinite(only(told, EvaluationEvent)[-1].matrix.mean_iou())


@pytest.mark.parametrize("processes", [0, 1])
def test_labels_out_of_range_of_a_data_set_of_ones_own_are_named(root, processes):
    trainer = trainer_with(root, Targets, 3, data={"workers": processes})
    with pytest.raises(ImageError, match=r"of Targets: the mask holds 3, but labels are 0 to 2"):
        trainer.run()


def test_an_empty_data_set_is_refused(root):
    class Nothing(Spoiler):
        def __len__(self):
            return 0

    with pytest.raises(ConfigError, match="Nothing: is empty"):
        trainer_with(root, Nothing, set())
    for path in (root / "train").rglob("*.png"):
        path.unlink()
    with pytest.raises(ImageError, match="train"):
        run(root)


def test_an_empty_training_set_that_is_given_alone_is_refused_too(root):
    class Nothing(Spoiler):
        def __len__(self):
            return 0

    config = small_runs.config_of(root)
    labels = build_labels(config.data.labels)
    train_set, _ = build_datasets(config, build_specs(config, labels)[1], labels)
    with pytest.raises(ConfigError, match="Nothing: is empty"):
        Trainer(config, train_set=Nothing(train_set, set()))


def test_a_batch_may_be_larger_than_the_data_set(root):
    told = run(root, solver={"batch_size": 11, "epochs": 3})
    assert [event.epoch for event in only(told, StepEvent)] == [0, 1, 2]


def test_an_epoch_is_so_many_steps(root):
    told = run(root, solver={"epochs": 3, "accumulate": 2}, eval_every="epoch", save_every="epoch", log_every=1)
    assert [event.step for event in only(told, EvaluationEvent)] == [2, 4, 6]
    assert [event.epoch for event in only(told, EvaluationEvent)] == [0, 1, 2]
    assert [(event.epoch, event.iteration) for event in only(told, StepEvent)] == [
        (epoch, iteration) for epoch in range(3) for iteration in (1, 2)
    ]


@pytest.mark.parametrize("value", ["0", "epochs", "1.5", "true"])
def test_an_interval_that_is_none_is_named(root, value):
    with pytest.raises(ConfigError, match="eval_every: expected a number of steps, at least 1, or epoch; found"):
        load_train_config(small_runs.write_config(root), (f"eval_every={value}",))


def test_running_averages_are_means_whatever_happens_between_two_looks(root):
    every = run(root, solver={"steps": 7, "batch_size": 4})
    steps = {event.step: event.losses["loss"] for event in only(every, StepEvent)}
    told = run(
        root, solver={"steps": 7, "batch_size": 4}, log_every=5, eval_every=3, save_every=4, output=str(root / "b")
    )
    # Two steps are an epoch: what is averaged at step 5 is that step alone, at 7 that one alone.
    assert [event.step for event in only(told, StepEvent)] == [5, 7]
    for event in only(told, StepEvent):
        assert event.averages["loss"] == pytest.approx(steps[event.step], rel=1e-6)
    long = run(root, solver={"steps": 4, "batch_size": 2}, log_every=4, eval_every=3, output=str(root / "c"))
    short = run(root, solver={"steps": 4, "batch_size": 2}, log_every=1, output=str(root / "d"))
    mean = np.mean([event.losses["loss"] for event in only(short, StepEvent)])
    assert only(long, StepEvent)[0].averages["loss"] == pytest.approx(mean, rel=1e-6)


def test_pairs_that_do_not_fit_are_left_out_and_counted_at_the_start(root):
    cv2.imwrite(str(root / "train" / "masks" / "2.png"), np.zeros((32, 64), np.uint8))
    (root / "train" / "images" / "6.png").write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"2\.png"):
        run(root)
    config = small_runs.write_config(root, data={"on_bad": "skip"})
    result = CliRunner().invoke(train_command, ["--config", str(config)])
    assert result.exit_code == 0, result.output
    assert "6 images (2 left out)" in result.stderr
    told = run(root, data={"on_bad": "skip"}, output=str(root / "other"))
    assert only(told, StartEvent)[0].skipped == 2


@pytest.mark.parametrize("processes", [0, 1])
def test_a_picture_that_is_spoilt_while_the_run_goes_on_is_one_line(root, processes):
    config = small_runs.write_config(root, data={"cache": False, "workers": processes}, solver={"steps": 12})
    (root / "train" / "images" / "6.png").write_bytes(b"no picture")
    result = CliRunner().invoke(train_command, ["--config", str(config)])
    assert result.exit_code == 1
    (line,) = [line for line in result.stderr.splitlines() if "error" in line]
    assert line.startswith(f"error: {root / 'train' / 'images' / '6.png'}: not an image")
    assert "Traceback" not in result.stderr


def test_a_crop_that_the_network_cannot_take_is_refused_before_the_run(root):
    with pytest.raises(ConfigError, match=r"augment\.crop_hw \(INPUT\.CROP\): .*42x48"):
        run(root, augment={"crop_hw": [42, 48]})
    assert not (root / "run").exists()


def test_a_loading_process_that_dies_while_a_step_is_computed_is_one_line(root, monkeypatch):
    """Torch raises where the main process happens to be when it hears of that."""
    trainer = Trainer(small_runs.config_of(root, data={"workers": 1}))
    gradients = trainer.stepper._gradients

    def killed(batches):
        for process in multiprocessing.active_children():
            process.kill()
        time.sleep(1.0)  # the signal ends it
        return gradients(batches)

    monkeypatch.setattr(trainer.stepper, "_gradients", killed)
    with pytest.raises(SegError, match=r"^data\.workers: a process that loads pictures has died, .* fewer workers"):
        trainer.run()


def test_a_gpu_without_room_is_one_line_with_what_helps(root, monkeypatch):
    trainer = Trainer(small_runs.config_of(root))

    def full(batches):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has ...")

    monkeypatch.setattr(trainer.stepper, "step", full)
    with pytest.raises(TrainingError, match=r"^step 1: the GPU's memory is full \(CUDA out of memory\); lower solver"):
        trainer.run()


def test_drafts_of_a_killed_process_are_removed_and_nothing_else(root):
    (root / "run").mkdir()
    with replacing(root / "run" / "best.pth") as draft:
        left = draft.name
    (root / "run" / left).write_bytes(b"half")
    (root / "run" / "best.pth").write_bytes(b"whole")
    (root / "run" / ".hidden").write_bytes(b"not ours")
    remove_drafts(root / "run")
    assert {path.name for path in (root / "run").iterdir()} == {"best.pth", ".hidden"}
    (root / "run" / left).write_bytes(b"half")
    run(root)
    assert not (root / "run" / left).exists()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="platform: only Linux limits a running process")
def test_a_full_disk_is_one_line_and_the_files_before_it_stay(root):
    config = small_runs.write_config(
        root, solver={"steps": 4000}, model={"options": {"width": 32}}, save_every=1, eval_every=1, log_every=1000
    )
    process = subprocess.Popen(
        [sys.executable, str(PROGRAM), "--config", str(config)],
        env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    end = time.monotonic() + 60
    while not (root / "run" / "resume.pth").exists():
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.01)
    # Files may not grow beyond so many bytes from now on: the checkpoints no longer fit, the log does.
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (30_000, 30_000))
    told = process.communicate(timeout=60)[1]
    assert process.returncode == 1, told
    (line,) = [line for line in told.splitlines() if "cannot be written" in line]
    assert line.startswith(f"error: {root / 'run'}")
    assert "File too large" in line
    assert "Traceback" not in told
    assert not list((root / "run").glob(".seg-*"))
    for name in ("best", "last", "resume"):
        read_weights_file(root / "run" / f"{name}.pth")
    assert json.loads((root / "run" / "history.json").read_text())["evaluations"]
    assert "error: " in (root / "run" / "train.log").read_text()


def test_a_configuration_of_the_older_engine_validates_every_epoch_as_it_did(root):
    config = root / "older.yaml"
    config.write_text(f"DATASET: {{TRAIN_PATH: {root}/train, TEST_PATH: {root}/val}}\nTASK: Face-6\n")
    loaded = load_train_config(config)
    assert (loaded.eval_every, loaded.save_every) == ("epoch", "epoch")
    assert load_train_config(config, ("eval_every=7",)).eval_every == 7
