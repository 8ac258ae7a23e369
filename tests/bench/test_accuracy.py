"""Evaluation numbers against confusion counted by hand, and every kind of bad data set."""

import cv2
import numpy as np
import pytest
from bench_material import NAMES, write_artifact, write_pair

from seg_bench.accuracy import GateError, check_miou, evaluate
from seg_bench.crf import measure_crf
from seg_core.errors import SegError
from seg_core.spec import PostprocessSpec
from seg_core.spec.postprocess import CrfSpec

# 16×16 pictures made of 4×4 blocks survive the exact 2:1 reduction to the network's 8×8 without mixing colours.
SHOWN = np.kron(np.array([[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0], [0, 0, 2, 2]]), np.ones((4, 4), int))


@pytest.fixture
def model(tmp_path):
    return write_artifact(tmp_path / "tiny.onnx")


@pytest.fixture
def data(tmp_path):
    """Two pictures: one whose mask agrees, one where the network is wrong in known blocks."""
    mask = SHOWN.copy()
    mask[0:4, 8:12] = 0  # one block of green is red in truth
    mask[12:16, 0:4] = 255  # one block of red is ignored
    write_pair(tmp_path / "data", "right", SHOWN, SHOWN)
    write_pair(tmp_path / "data", "wrong", SHOWN, mask)
    return tmp_path / "data"


@pytest.mark.parametrize(("at", "block"), [("network", 4), ("source", 16)])
def test_scores_by_hand(model, data, at, block):
    evaluation = evaluate(model, data, at=at, threads=1)
    # Blocks, both pictures: 10 red + 4 green + 2 blue; then 9 red + 3 green + 2 blue right, 1 red taken for green.
    assert evaluation.confusion.counts.tolist() == (block * np.array([[19, 1, 0], [0, 7, 0], [0, 0, 4]])).tolist()
    scores = evaluation.to_json()
    assert scores["per_class"] == pytest.approx({"red": 19 / 20, "green": 7 / 8, "blue": 1.0})
    assert scores["miou"] == pytest.approx((19 / 20 + 7 / 8 + 1) / 3)
    assert scores["pixel_accuracy"] == pytest.approx(30 / 31)
    assert scores["mean_dice"] == pytest.approx((38 / 39 + 14 / 15 + 1) / 3)
    assert (scores["images"], scores["at"], scores["size_hw"]) == (2, at, [8, 8])
    assert len(scores["sha256"]) == 64
    assert {"commit", "dirty", "load_average", "versions"} <= set(scores["environment"])
    assert 0.5 < scores["boundary_f"] <= 1


def test_pictures_a_class_is_in_are_counted_and_what_other_pictures_would_give(model, data):
    only_red = np.zeros((16, 16), int)
    write_pair(data, "red", only_red, only_red)
    evaluation = evaluate(model, data)
    scores = evaluation.to_json()
    assert scores["class_images"] == {"red": 3, "green": 2, "blue": 2}
    low, high = scores["miou_95"]
    assert evaluation.intervals() == {"miou_95": [low, high]}
    # The worst draw is the wrong picture three times, the best one has no wrong picture.
    assert low == pytest.approx((9 / 10 + 3 / 4 + 1) / 3)
    assert high == 1
    assert "miou_95" not in evaluate(model, data, limit=1).to_json()


def test_a_class_that_occurs_nowhere_has_no_score(model, tmp_path):
    shown = np.zeros((16, 16), int)
    write_pair(tmp_path / "data", "red", shown, shown)
    scores = evaluate(model, tmp_path / "data").to_json()
    assert (scores["miou"], scores["per_class"]) == (1.0, {"red": 1.0, "green": None, "blue": None})
    assert scores["boundary_f"] is None


def test_letterbox_padding_is_not_scored(tmp_path):
    model = write_artifact(tmp_path / "tiny.onnx", resize="letterbox", pad_value=0)
    shown = np.full((8, 16), 2)
    write_pair(tmp_path / "data", "wide", shown, shown)
    for at, pixels in (("network", 4 * 8), ("source", 8 * 16)):
        evaluation = evaluate(model, tmp_path / "data", at=at)
        assert evaluation.confusion.counts[2, 2] == evaluation.confusion.counts.sum() == pixels


@pytest.mark.parametrize("outside", [255, 200])
def test_what_the_network_never_saw_is_not_scored_where_it_is_no_class(tmp_path, outside):
    spec = PostprocessSpec(outside_label=outside)
    model = write_artifact(tmp_path / "tiny.onnx", postprocess=spec, resize="center_crop")
    shown = np.zeros((16, 32), int)
    shown[:, 8:16] = 1
    write_pair(tmp_path / "data", "wide", shown, shown)
    evaluation = evaluate(model, tmp_path / "data", at="source")
    assert evaluation.confusion.counts.tolist() == [[128, 0, 0], [0, 128, 0], [0, 0, 0]]
    assert evaluation.to_json()["boundary_f"] == 1.0
    comparison = measure_crf(model, tmp_path / "data", CrfSpec(smoothness_weight=0.0, appearance_weight=0.0))
    assert comparison.refined.confusion.counts.sum() == 256


def test_a_class_outside_counts_as_said(tmp_path):
    spec = PostprocessSpec(outside_label=1)
    model = write_artifact(tmp_path / "tiny.onnx", postprocess=spec, resize="center_crop")
    shown = np.zeros((16, 32), int)
    write_pair(tmp_path / "data", "wide", shown, shown)
    counts = evaluate(model, tmp_path / "data", at="source").confusion.counts
    assert counts.tolist() == [[256, 256, 0], [0, 0, 0], [0, 0, 0]]


def test_limit_takes_the_first_by_name(model, data):
    evaluation = evaluate(model, data, limit=1)
    assert (evaluation.images, evaluation.confusion.pixel_accuracy()) == (1, 1.0)


def test_progress_counts_every_picture(model, data):
    seen = []
    evaluate(model, data, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]


def test_the_gate_opens_at_its_own_value_and_names_both_numbers(model, data):
    evaluation = evaluate(model, data)
    check_miou(evaluation, evaluation.confusion.mean_iou())
    with pytest.raises(GateError, match=r"tiny\.onnx: mIoU 0\.9417 on .* is below the minimum 0\.95") as caught:
        check_miou(evaluation, 0.95)
    assert caught.value.exit_code == 3


def test_a_gate_on_nothing_but_ignored_pixels_fails(model, tmp_path):
    write_pair(tmp_path / "data", "void", np.zeros((16, 16), int), np.full((16, 16), 255))
    with pytest.raises(GateError):
        check_miou(evaluate(model, tmp_path / "data"), 0.0)


def test_one_unreadable_picture_among_many_is_named(model, data):
    write_pair(data, "broken", SHOWN, SHOWN)
    path = data / "images" / "broken.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(SegError, match=r"broken\.png"):
        evaluate(model, data)


def test_a_mask_of_other_classes_is_named_with_its_values(model, data):
    write_pair(data, "more", SHOWN, np.full((16, 16), 7))
    with pytest.raises(SegError, match=rf"more\.png: the mask holds 7; expected classes 0\.\.{len(NAMES) - 1} or 255"):
        evaluate(model, data)


def test_a_mask_of_another_size_is_named_with_its_picture(model, data):
    cv2.imwrite(str(data / "masks" / "right.png"), np.zeros((16, 8), np.uint8))
    with pytest.raises(SegError, match=r"masks/right\.png: the mask is 16×8 .*images/right\.png is 16×16"):
        evaluate(model, data)
