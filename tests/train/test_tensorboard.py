"""What TensorBoard shows of a run, read back from its own files."""

import errno
import sys

import cv2
import numpy as np
import pytest
import run_events
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from seg_core.errors import MissingDependencyError, SegError
from seg_train.pictures import draw_confusion, draw_sample
from seg_train.tensorboard_log import TensorBoardListener

LABELS = run_events.LABELS


def read_back(directory):
    accumulator = EventAccumulator(str(directory), size_guidance={"images": 0, "scalars": 0})
    accumulator.Reload()
    return accumulator


def play(directory, *events):
    with TensorBoardListener(directory, LABELS) as listener:
        for event in (*events, run_events.end(directory)):
            listener(event)


def decode(summary):
    return cv2.imdecode(np.frombuffer(summary.encoded_image_string, np.uint8), cv2.IMREAD_COLOR)


def test_scalars_and_pictures_come_back(tmp_path):
    play(tmp_path, run_events.start(), run_events.step(10), run_events.step(20), run_events.evaluation(20))
    board = read_back(tmp_path)
    assert [(row.step, row.value) for row in board.Scalars("train/main")] == [
        (10, pytest.approx(0.16)), (20, pytest.approx(0.08))
    ]  # fmt: skip
    expected = {"train/lr": 1.23e-4, "train/step_ms": 12.3, "train/max_memory_mb": 1234.4, "val/mIoU": 0.775,
                "val/overall_acc": 0.875, "val/avg_dice": run_events.matrix().mean_dice(),
                "iou/background": 0.8}  # fmt: skip
    assert {tag: board.Scalars(tag)[0].value for tag in expected} == pytest.approx(expected)
    assert "iou/nose" not in board.Tags()["scalars"]  # it is in neither truth nor prediction
    [confusion] = board.Images("confusion")
    np.testing.assert_array_equal(decode(confusion), draw_confusion(run_events.matrix(), LABELS.names))
    for index, sample in enumerate(run_events.samples()):
        [shown] = board.Images(f"samples/{index}")
        np.testing.assert_array_equal(decode(shown), draw_sample(sample, LABELS))


def test_a_resumed_run_hides_what_is_done_again(tmp_path):
    play(tmp_path, run_events.start(), run_events.step(10), run_events.step(20), run_events.step(30))
    play(tmp_path, run_events.start(step=20), run_events.step(30, lr=0.5))
    rows = read_back(tmp_path).Scalars("train/lr")
    assert [(row.step, row.value) for row in rows] == [
        (10, pytest.approx(1.23e-4)), (20, pytest.approx(1.23e-4)), (30, 0.5)
    ]  # fmt: skip


def test_without_the_package_the_option_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    for name in [name for name in sys.modules if name.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, name)
    import torch.utils

    monkeypatch.delattr(torch.utils, "tensorboard", raising=False)
    with pytest.raises(MissingDependencyError, match=r"tensorboard: true.*pip install 'segproof\[train\]'"):
        TensorBoardListener(tmp_path, LABELS)


def test_an_interrupted_run_keeps_what_it_logged(tmp_path):
    listener = TensorBoardListener(tmp_path, LABELS)
    listener(run_events.start())
    listener(run_events.step(10))
    with pytest.raises(KeyboardInterrupt), listener:
        raise KeyboardInterrupt
    assert [row.step for row in read_back(tmp_path).Scalars("train/lr")] == [10]


def test_a_disk_that_fills_up_is_named(tmp_path, monkeypatch):
    def refuse(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with TensorBoardListener(tmp_path / "board", LABELS) as listener:
        listener(run_events.start())
        monkeypatch.setattr(SummaryWriter, "flush", refuse)
        with pytest.raises(SegError, match=r"board: TensorBoard's files cannot be written \(No space left on device\)"):
            listener(run_events.evaluation())


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(SegError, match=r"taken: TensorBoard's files cannot be written"):
        TensorBoardListener(tmp_path / "taken", LABELS)(run_events.start())


def test_a_sample_shows_picture_truth_and_prediction_side_by_side():
    [sample, _] = run_events.samples()
    row = draw_sample(sample, LABELS)
    assert row.shape == (48, 3 * 64 + 2 * 8, 3)
    np.testing.assert_array_equal(row[:, :64], sample.image_bgr)
    truth, predicted = row[:, 72:136], row[:, 144:208]
    assert truth[20, 12, 2] > truth[20, 12, 0]  # class 1 is red: pictures are BGR
    assert predicted[22, 22, 0] > predicted[22, 22, 2]  # class 2, blue, is in the prediction alone
    np.testing.assert_array_equal(truth[2], sample.image_bgr[2])  # ignored pixels keep the picture


def test_confusion_cells_darken_with_their_share_and_many_classes_stay_small():
    picture = draw_confusion(run_events.matrix(), LABELS.names, cell_px=30)
    margin = picture.shape[0] - 3 * 30
    corners = picture[margin + 3 :: 30, margin + 3 :: 30].astype(int)[:3, :3].sum(axis=2)
    assert corners[0, 0] < corners[1, 1] < corners[1, 0] < corners[0, 1] == 3 * 255
    assert len({*corners[2].tolist()}) == 1  # no pixel of class 2: an even grey
    from seg_core.metrics import ConfusionMatrix

    assert max(draw_confusion(ConfusionMatrix(150), [str(index) for index in range(150)]).shape) < 2000
