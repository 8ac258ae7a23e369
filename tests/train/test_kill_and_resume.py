"""A run that is killed at any moment goes on as if it had not been, and never spoils a file."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import small_runs
import torch

from seg_core.models.checkpoint import load_checkpoint
from seg_core.models.weights_file import read_weights_file
from seg_train.engine import Trainer
from seg_train.events import StepEvent

pytestmark = pytest.mark.usefixtures("small_network")

PROGRAM = Path(small_runs.__file__)
TIMES = ("step_ms", "data_ms", "seconds", "max_memory_mb")


def assert_same(found, expected, where="state"):
    """Compare nested containers of tensors and numbers to the bit."""
    assert type(found) is type(expected), where
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), where
        for key, value in expected.items():
            if key not in TIMES:
                assert_same(found[key], value, f"{where}.{key}")
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected), where
        for index, pair in enumerate(zip(found, expected, strict=True)):
            assert_same(*pair, f"{where}.{index}")
    elif isinstance(expected, torch.Tensor):
        assert torch.equal(found, expected), where
    else:
        assert found == expected, where


def read_run(directory):
    """Return all that a run keeps; what two equal runs may differ in are times and the fingerprint of their output."""
    state = read_weights_file(directory / "resume.pth")
    checkpoints = {name: load_checkpoint(directory / f"{name}.pth").state_dict for name in ("best", "last")}
    return {"state": state, "history": json.loads((directory / "history.json").read_text()), **checkpoints}


def start(config):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), "--config", str(config)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until(process, holds, seconds=60):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "nothing happened"
        if process.poll() is not None:
            return
        time.sleep(0.0005)


def drafts(directory):
    return list(directory.glob(".seg-*"))


def check_files(directory):
    """Whatever is there can be loaded; return the names."""
    found = [name for name in ("best", "last", "resume") if (directory / f"{name}.pth").exists()]
    for name in found:
        content = read_weights_file(directory / f"{name}.pth")
        assert content["format"].startswith("segproof")
    return found


@pytest.mark.slow
def test_a_run_killed_again_and_again_ends_with_the_bits_of_the_unbroken_one(tmp_path):
    small_runs.draw_data(tmp_path)
    changes = {
        "model": {"options": {"width": 96, "dropout": 0.3}},  # large enough that saving takes most of the time
        "solver": {"steps": 30, "deterministic": True, "ema_decay": 0.9, "accumulate": 2},
        "save_every": 1, "eval_every": 3, "log_every": 2,
    }  # fmt: skip
    Trainer(small_runs.config_of(tmp_path, **changes, output=str(tmp_path / "straight"))).run()
    broken = tmp_path / "run"
    config = small_runs.write_config(tmp_path, **changes)
    draw = random.Random(5)
    steps = [0]
    for kill in range(4):
        process = start(config)
        begun = (broken / "train.log").stat().st_size if (broken / "train.log").exists() else 0
        wait_until(process, lambda: (broken / "train.log").exists() and (broken / "train.log").stat().st_size > begun)  # noqa: B023
        time.sleep(draw.uniform(0.0, 0.25))
        if kill % 2 == 0:  # in the middle of saving
            wait_until(process, lambda: drafts(broken))
        process.kill()
        process.communicate()
        assert process.returncode in (-signal.SIGKILL, 0)
        if "resume" in check_files(broken):
            steps.append(read_weights_file(broken / "resume.pth")["step"])
    assert steps == sorted(steps)
    assert 0 < steps[-1] < 30, steps  # the kills left something to do
    process = start(config)
    told = process.communicate(timeout=120)[1]
    assert process.returncode == 0, told
    assert f"resumed at step {steps[-1]}" in told
    assert not drafts(broken)
    expected, found = (read_run(tmp_path / name) for name in ("straight", "run"))
    assert len(expected["history"]["steps"]) == 15
    assert_same(found, expected)


class StoppedError(Exception):
    """Stands for a process that dies."""


def resumed_and_straight(tmp_path, stop_at, **changes):
    """Run twice, once with a stop at step `stop_at`; return both runs and what their listeners were told of steps."""
    small_runs.draw_data(tmp_path)
    told = {"straight": [], "broken": []}
    Trainer(small_runs.config_of(tmp_path, **changes, output=str(tmp_path / "straight"))).run(told["straight"].append)
    config = small_runs.config_of(tmp_path, **changes, output=str(tmp_path / "broken"))

    def die(event):
        if isinstance(event, StepEvent) and event.step == stop_at:
            raise StoppedError

    with pytest.raises(StoppedError):
        Trainer(config).run(die)
    trainer = Trainer(config)
    assert 0 < trainer.state.step < stop_at
    torch.rand(7)  # a new process has drawn other numbers before
    trainer.run(told["broken"].append)
    steps = {name: {e.step: e for e in events if isinstance(e, StepEvent)} for name, events in told.items()}
    return read_run(tmp_path / "broken"), read_run(tmp_path / "straight"), steps


def test_a_best_checkpoint_is_never_of_steps_that_the_state_has_forgotten(tmp_path):
    small_runs.draw_data(tmp_path)
    config = small_runs.config_of(tmp_path, solver={"steps": 6}, eval_every=2, save_every=100)

    def die(event):
        if isinstance(event, StepEvent) and event.step == 3:
            raise StoppedError

    with pytest.raises(StoppedError):
        Trainer(config).run(die)
    state, best = read_weights_file(tmp_path / "run" / "resume.pth"), load_checkpoint(tmp_path / "run" / "best.pth")
    assert state["step"] == best.provenance["step"] == 2
    assert state["best_miou"] == best.metrics["val"]["miou"]


def test_the_last_checkpoint_has_scores_of_its_own_weights_or_none(tmp_path):
    small_runs.draw_data(tmp_path)
    config = small_runs.config_of(tmp_path, solver={"steps": 6}, eval_every=4, save_every=1)
    scores = {}

    def look(event):
        if isinstance(event, StepEvent) and event.step > 1:  # told before this step is saved
            last = load_checkpoint(tmp_path / "run" / "last.pth")
            scores[last.provenance["step"]] = last.metrics

    Trainer(config).run(look)
    history = json.loads((tmp_path / "run" / "history.json").read_text())["evaluations"]
    assert [step for step, metrics in scores.items() if metrics] == [4]
    assert scores[4]["val"]["miou"] == history[0]["miou"]
    assert load_checkpoint(tmp_path / "run" / "last.pth").metrics["val"]["miou"] == history[1]["miou"]


def test_a_run_begun_anew_and_stopped_does_not_go_on_as_the_one_before(tmp_path):
    small_runs.draw_data(tmp_path)
    config = small_runs.config_of(tmp_path)
    Trainer(config).run()

    def die(event):
        if isinstance(event, StepEvent):
            raise StoppedError

    with pytest.raises(StoppedError):
        Trainer(config, restart=True).run(die)
    assert Trainer(config).state.step == 0


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_goes_on_with_its_scale(tmp_path, precision):
    solver = {"precision": precision, "deterministic": True, "steps": 6, "on_nan": "skip", "optimizer": "sgd"}
    found, expected, _ = resumed_and_straight(tmp_path, 5, solver=solver)
    assert_same(found, expected)
    assert bool(expected["state"]["scaler"]) == (precision == "fp16")


def test_running_averages_go_on_where_the_log_had_not_yet_looked(tmp_path):
    changes = {"solver": {"steps": 12, "deterministic": True}, "log_every": 4, "save_every": 3, "eval_every": 5}
    found, expected, steps = resumed_and_straight(tmp_path, 8, **changes)
    assert_same(found, expected)
    assert list(steps["broken"]) == [8, 12]
    for step, event in steps["broken"].items():
        assert event.averages == steps["straight"][step].averages


@pytest.mark.slow
def test_a_network_that_draws_points_at_random_goes_on_with_the_same_ones(tmp_path):
    changes = {
        "model": {
            "name": "deeplabv3plus_mobilenet_v2",
            "options": {"point_rend": True, "upsample": True, "atrous_rates": [1, 2, 3]},
        },
        "solver": {"steps": 4, "deterministic": True},
    }
    found, expected, _ = resumed_and_straight(tmp_path, 3, **changes)
    assert_same(found, expected)
