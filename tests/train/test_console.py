"""The lines of a run and where they go."""

import io
import re

import pytest
import run_events
from rich.console import Console

from seg_core.errors import SegError
from seg_train.averages import RunningAverages
from seg_train.console import ConsoleListener
from seg_train.events import compose
from seg_train.log_lines import LogFile, format_event, format_step, loss_labels

NAMES = run_events.LABELS.names


def lines(event):
    return format_event(event, NAMES, run_events.NOW)


def test_a_step_is_logged_as_the_older_engine_did():
    event = run_events.step(
        100, epoch=0, iteration=100, iterations=2945, losses={"loss": 2.4, "main": 1.7625, "aux": 1.5},
        averages={"loss": 2.5, "main": 1.7672, "aux": 1.6},
    )  # fmt: skip
    assert lines(event) == [
        "train epoch: [0]  [ 100/2945]  eta: 1:02:03  lr: 0.000123  "
        "seg_loss: 1.7625 (1.7672)  aux_loss: 1.5000 (1.6000)  loss: 2.4000 (2.5000)  "
        "time: 0.0123 (0.0130)  data: 0.0001 (0.0002)  max mem: 1234  @2021-05-01 12:34:56"
    ]


@pytest.mark.parametrize(
    ("losses", "labels"),
    [
        (["loss"], ["seg_loss"]),
        (["loss", "main"], ["seg_loss"]),
        (["loss", "aux", "main"], ["seg_loss", "aux_loss", "loss"]),
        (["main", "edge", "distill_loss"], ["seg_loss", "edge_loss", "distill_loss"]),
        (["loss", "main", "grad_norm"], ["seg_loss"]),
    ],
)
def test_losses_have_the_names_of_their_heads(losses, labels):
    assert [label for _, label in loss_labels(losses)] == labels


def test_what_is_no_loss_keeps_its_name():
    event = run_events.step(losses={"loss": 1.0, "grad_norm": 3.0}, averages={"grad_norm": 2.0})
    assert "seg_loss: 1.0000 (1.0000)  grad_norm: 3.0000 (2.0000)  time: " in format_step(event, run_events.NOW)


def test_small_rates_and_long_times_stay_readable():
    line = format_step(run_events.step(lr=2.5e-8, eta_s=100_000.0), run_events.NOW)
    assert "lr: 0.000000025  " in line
    assert "eta: 1 day, 3:46:40  " in line


def test_an_evaluation_prints_means_classes_and_the_saving():
    assert lines(run_events.evaluation(improved=True, best_before=0.5)) == [
        "Valid epoch: [0]  overall_acc: 0.8750  avg_per_class_acc: 0.8750  mIoU: 0.7750  avg_dice: 0.8730",
        "  background     IoU: 0.8000  pixels: 4",
        "  <skin> & hair  IoU: 0.7500  pixels: 4",
        "  nose           IoU:    nan  pixels: 0",
        "saving best at 0 epoch | mIoU 0.5000 ---> 0.7750",
    ]
    assert not any("saving" in line for line in lines(run_events.evaluation(improved=False)))
    assert lines(run_events.evaluation(best_before=-1.0))[-1].endswith("| mIoU 0.0000 ---> 0.7750")


def test_without_a_terminal_the_console_has_plain_whole_lines():
    stream = io.StringIO()
    events = [run_events.start(), run_events.step(), run_events.evaluation()]
    with ConsoleListener(NAMES, Console(file=stream, width=40), lambda: run_events.NOW) as listener:
        for event in events:
            listener(event)
    assert stream.getvalue().splitlines() == [line for event in events for line in lines(event)]


def test_on_a_terminal_a_bar_follows_and_goes_when_the_run_fails():
    stream = io.StringIO()
    console = Console(file=stream, width=120, force_terminal=True, color_system=None)

    def fail():
        with ConsoleListener(NAMES, console, lambda: run_events.NOW) as listener:
            for event in (run_events.start(step=4), run_events.step(), run_events.evaluation()):
                listener(event)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue())
    assert "20/40" in text
    assert "loss 0.200  best mIoU 0.7750" in text
    assert lines(run_events.step())[0] in text
    assert stream.getvalue().rstrip().endswith("\x1b[?25h")  # the cursor is shown again


def test_the_log_file_is_whole_after_every_event_and_goes_on_when_resumed(tmp_path):
    path = tmp_path / "train.log"
    first = LogFile(path, NAMES, lambda: run_events.NOW)
    first(run_events.start())
    first(run_events.step())
    assert path.read_text().splitlines() == [
        "---- 2021-05-01 12:34:56 ----", *lines(run_events.start()), *lines(run_events.step())
    ]  # fmt: skip
    LogFile(path, NAMES)(run_events.start(step=10))
    assert "resumed at step 10" in path.read_text().splitlines()[-1]


@pytest.mark.parametrize(
    ("error", "words"), [(SegError("no room"), "error: no room"), (KeyboardInterrupt(), "interrupted")]
)
def test_the_log_says_how_a_run_was_cut_short(tmp_path, error, words):
    log = LogFile(tmp_path / "train.log", NAMES, lambda: run_events.NOW)
    log(run_events.step())
    with pytest.raises(type(error)), log:
        raise error
    assert (tmp_path / "train.log").read_text().splitlines()[1:] == [f"{words}  @2021-05-01 12:34:56"]
    with pytest.raises(type(error)), LogFile(tmp_path / "none.log", NAMES):
        raise error  # before the run began: nothing to log
    assert not (tmp_path / "none.log").exists()


def test_a_log_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(SegError, match=r"none/train\.log: the log cannot be written"):
        LogFile(tmp_path / "none" / "train.log", NAMES)(run_events.step())


def test_start_and_end_say_what_matters(tmp_path):
    start = run_events.start(step=7, world_size=2, device="cuda", skipped=3)
    assert lines(start) == [
        "training on cuda × 2: 12 images (3 left out), 4 for validation, 5.70 M parameters, 40 steps, resumed at step 7"
    ]
    assert lines(run_events.end(tmp_path / "best.pth")) == [f"done in 0:01:01: best mIoU 0.7750 in {tmp_path}/best.pth"]


def test_composed_listeners_hear_in_order():
    heard = []
    compose([lambda event: heard.append(("a", event)), lambda event: heard.append(("b", event))])(run_events.step())
    assert [name for name, _ in heard] == ["a", "b"]


def test_running_averages_survive_a_resume():
    averages = RunningAverages()
    averages.update({"loss": 1.0, "aux": float("nan")})
    averages.update({"loss": 4.0, "aux": 2.0}, count=2)
    assert averages.values() == {"loss": 3.0, "aux": 2.0}
    resumed = RunningAverages()
    resumed.load_state_dict(averages.state_dict())
    resumed.update({"loss": 7.0})
    assert resumed.values() == {"loss": 4.0, "aux": 2.0}
    resumed.reset()
    assert resumed.values() == {}
    with pytest.raises(SegError, match="'loss': expected its sum and count"):
        resumed.load_state_dict({"loss": [1.0]})
