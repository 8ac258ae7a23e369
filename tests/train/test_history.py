"""history.json."""

import json

import pytest
import run_events

from seg_core.errors import SegError
from seg_train.history import History

NAMES = run_events.LABELS.names


def test_steps_and_evaluations_are_kept_with_their_epoch_times_and_classes(tmp_path):
    history = History(tmp_path / "history.json", NAMES)
    for event in (run_events.start(), run_events.step(10), run_events.evaluation(20), run_events.end(tmp_path)):
        history(event)
    history.save()
    saved = json.loads((tmp_path / "history.json").read_text())
    assert saved["steps"] == [
        {"step": 10, "lr": 1.23e-4, "step_ms": 12.3, "epoch": 0, "data_ms": 0.1, "max_memory_mb": 1234.4,
         "loss": 0.2, "main": 0.16, "aux": 0.04}
    ]  # fmt: skip
    [row] = saved["evaluations"]
    assert (row["step"], row["epoch"], row["improved"], row["seconds"]) == (20, 0, True, 1.5)
    assert row["per_class"] == {"background": pytest.approx(0.8), "<skin> & hair": pytest.approx(0.75), "nose": None}
    assert row["mean_dice"] == pytest.approx(run_events.matrix().mean_dice())


def test_a_resumed_run_forgets_what_it_does_again(tmp_path):
    earlier = History(tmp_path / "history.json", NAMES)
    for event in (run_events.step(10), run_events.evaluation(20), run_events.step(30), run_events.evaluation(40)):
        earlier(event)
    earlier.save()
    resumed = History(tmp_path / "history.json", NAMES)
    resumed(run_events.start(step=20))
    assert [row["step"] for row in resumed.steps] == [10]
    assert [row["step"] for row in resumed.evaluations] == [20]
    anew = History(tmp_path / "history.json", NAMES)
    anew(run_events.start(step=0))
    assert anew.steps == anew.evaluations == []


def test_a_loss_that_is_no_number_is_null(tmp_path):
    history = History(tmp_path / "history.json")
    history(run_events.step(losses={"loss": float("nan")}))
    history.save()
    assert json.loads((tmp_path / "history.json").read_text())["steps"][0]["loss"] is None


@pytest.mark.parametrize("content", ["[1]", "{}", "no json", '{"steps": [{}], "evaluations": []}'])
def test_a_strange_file_is_named(tmp_path, content):
    (tmp_path / "history.json").write_text(content)
    with pytest.raises(SegError, match=r"history\.json: not a training history"):
        History(tmp_path / "history.json").load(5)


def test_a_history_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(SegError, match=r"the history cannot be written"):
        History(tmp_path / "none" / "history.json").save()
