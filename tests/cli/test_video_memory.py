"""`seg-predict` on a video file tells a network with a prior what it said of the frame before."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

from seg_core import LabelSet, PostprocessSpec, Predictor, PreprocessSpec, TensorSpec
from seg_core.cli import predict as predict_module
from seg_core.cli.predict import predict_command

HW = (16, 24)
VALUES = (80, 160, 240)


class RememberingRunner:
    """Scores are the colours; what came in as the fourth channel is kept, as pixel values."""

    target = "fake"
    inputs = (TensorSpec("image", "image", (1, 4, *HW), "float32", "nchw"),)
    outputs = (TensorSpec("logits", "logits", (1, 3, *HW), "float32", "nchw"),)

    def __init__(self):
        self.priors = []

    def run(self, feeds):
        self.priors.append(np.rint(feeds["image"][0, 3] * 255).astype(np.uint8))
        return {"logits": np.ascontiguousarray(feeds["image"][:, :3])}

    def close(self):
        pass


@pytest.fixture
def runner(monkeypatch):
    found = RememberingRunner()
    spec = PreprocessSpec(HW, mean=(0.0,) * 4, std=(1.0,) * 4, prior="previous_labels", prior_values=VALUES)
    predictor = Predictor(found, spec, PostprocessSpec(), LabelSet(("red", "green", "blue")))
    monkeypatch.setattr(Predictor, "open", lambda *_: predictor)
    monkeypatch.setattr(predict_module, "load_manifest", lambda _path, stated: SimpleNamespace(provenance={}))
    predictor.track(np.zeros((144, 176, 3), np.uint8))  # of something else
    found.priors.clear()
    return found


def predict(source, out):
    result = CliRunner().invoke(predict_command, ["net.onnx", str(source), "--out", str(out), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_frames_of_a_video_are_told(runner, samples_dir, tmp_path):
    (clip,) = samples_dir.glob("*.mp4")
    (record,) = predict(clip, tmp_path / "clip.mp4")
    assert record["frames_with_prior"] == record["frames"] - 1
    assert not runner.priors[0].any()
    assert all(set(np.unique(prior)) <= set(VALUES) for prior in runner.priors[1:])


def test_pictures_of_a_folder_are_not(runner, samples_dir, tmp_path):
    records = predict(samples_dir, tmp_path / "out")
    assert len(records) == len(runner.priors) == 3
    assert not any(prior.any() for prior in runner.priors)
    assert not any("frames_with_prior" in record for record in records)
