"""Scores on data sets in other layouts than the plain one, and on merged classes."""

import json

import numpy as np
import pytest
from bench_material import write_artifact, write_pair
from click.testing import CliRunner

from seg_bench.accuracy import evaluate
from seg_bench.cli import eval_command
from seg_bench.labelled import LabelledData
from seg_core.errors import ConfigError, SegError

SHOWN = np.kron(np.array([[0, 1], [2, 0]]), np.ones((8, 8), int))


@pytest.fixture
def model(tmp_path):
    return write_artifact(tmp_path / "tiny.onnx")


def test_a_list_of_files_is_scored_like_its_folders(model, tmp_path):
    write_pair(tmp_path / "data", "a", SHOWN, SHOWN)
    write_pair(tmp_path / "data", "b", SHOWN, np.zeros_like(SHOWN))
    pairs = tmp_path / "pairs.csv"
    image = next((tmp_path / "data" / "images").glob("b.*")).name
    pairs.write_text(f"image,mask\ndata/images/{image},data/masks/b.png\n")
    evaluation = evaluate(model, LabelledData(pairs))
    assert evaluation.images == 1
    assert evaluation.confusion.counts[0].tolist() == [32, 16, 16]
    assert evaluate(model, tmp_path / "data").images == 2


def test_masks_of_finer_classes_are_merged_into_the_models(model, tmp_path):
    finer = SHOWN.copy()
    finer[:4, :8] = 3
    write_pair(tmp_path / "whole" / "val", "a", SHOWN, finer)
    (tmp_path / "labels.json").write_text(
        json.dumps(
            {
                "names": ["red", "green", "blue", "crimson"],
                "palette": [[0, 0, 0]] * 4,
                "ignore_index": 255,
                "flip_pairs": [],
            }
        )
    )
    (tmp_path / "merge.json").write_text('{"red": ["red", "crimson"], "green": ["green"], "blue": ["blue"]}')
    arguments = [str(model), "--data", str(tmp_path / "whole"), "--split", "val", "--json"]
    merged = [*arguments, "--labels", str(tmp_path / "labels.json"), "--merge", str(tmp_path / "merge.json")]
    done = CliRunner().invoke(eval_command, merged)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["miou"] == 1.0
    refused = CliRunner().invoke(eval_command, arguments)
    assert refused.exit_code == 1
    assert "a.png: the mask holds 3" in refused.stderr


def test_classes_that_are_not_the_models_are_named(model, tmp_path):
    write_pair(tmp_path / "data", "a", SHOWN, SHOWN)
    with pytest.raises(ConfigError, match=r"masks are read as background, skin, brows.*but the model knows red, green"):
        evaluate(model, LabelledData(tmp_path / "data", merge="face_6"))
    with pytest.raises(SegError, match=r"has no split|has no folder test/"):
        evaluate(model, LabelledData(tmp_path, split="test"))
