"""The labels that the page must find: of more than one class where a drawn picture gives them."""

import base64
import json

import numpy as np
import pytest
from test_seg_demo_server import make_manifest

from seg_demo import golden
from seg_demo.site import WEB_DIRECTORY


class Runner:
    """Scores of two classes by `score`, a function of the tensor."""

    def __init__(self, score):
        self.score = score
        self.runs = 0
        self.closed = False

    def run(self, inputs):
        self.runs += 1
        plane = self.score(inputs["image"])
        return {"logits": np.stack([np.zeros_like(plane), plane], axis=1).astype(np.float32)}

    def close(self):
        self.closed = True


@pytest.fixture
def compute(monkeypatch, tmp_path):
    """Compute the golden labels of a network with these scores; returns them, their seed and the number of runs."""

    def compute(score):
        runner = Runner(score)
        monkeypatch.setattr(golden, "open_runner", lambda *_: runner)
        made = json.loads(golden.compute_golden(tmp_path / "net.onnx", make_manifest()))
        assert runner.closed
        return np.frombuffer(base64.b64decode(made["labels"]), np.uint8), made["seed"], runner.runs

    return compute


def test_the_first_picture_will_do_where_it_shows_two_classes(compute):
    labels, seed, runs = compute(lambda tensor: tensor[:, 0] - np.median(tensor[:, 0]))
    assert (seed, runs) == (golden.SEED, 1)
    assert golden.tells_something(labels)


def test_another_picture_is_taken_where_the_first_is_of_one_class(compute):
    first = []

    def score(tensor):
        first[:] = first or [tensor]
        return np.full(tensor[:, 0].shape, -1.0) if tensor is first[0] else tensor[:, 0] - np.median(tensor[:, 0])

    labels, seed, runs = compute(score)
    assert (seed, runs) == (golden.SEED + 1, 2)
    assert golden.tells_something(labels)


def test_one_class_everywhere_is_handed_over_as_that(compute):
    labels, seed, runs = compute(lambda tensor: np.full(tensor[:, 0].shape, -1.0))
    assert (seed, runs) == (golden.SEED, len(golden.SEEDS))
    assert not golden.tells_something(labels)
    assert set(labels.tolist()) == {0}


def test_a_few_pixels_of_another_class_tell_nothing():
    labels = np.zeros(1000, np.uint8)
    labels[:49] = 3
    assert not golden.tells_something(labels)
    labels[49] = 4
    assert golden.tells_something(labels)


def test_the_share_is_the_same_in_page_and_server():
    source = (WEB_DIRECTORY / "src" / "protocol.js").read_text(encoding="utf-8")
    assert f"LARGEST_SHARE = {golden.LARGEST_SHARE};" in source
