"""Averages of checkpoints."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner

from seg_core.errors import CheckpointError, ConfigError
from seg_core.labels import LabelSet
from seg_core.models import build_model
from seg_core.models.checkpoint import Checkpoint, build_network, load_checkpoint, save_checkpoint
from seg_core.spec import ModelSpec, PostprocessSpec, PreprocessSpec
from seg_train.data_cli import data_command
from seg_train.soup import average_checkpoints


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    directory = tmp_path_factory.mktemp("soup")
    paths = []
    for seed in range(3):
        torch.manual_seed(seed)
        spec = ModelSpec("ddrnet_23_slim", 3)
        network = build_model(spec)
        labels = LabelSet(("background", "left", "right"))
        parts = (spec, PreprocessSpec(size_hw=(64, 64)), PostprocessSpec(), labels, network.state_dict())
        checkpoint = Checkpoint(*parts, metrics={"val": {"miou": 0.5}}, provenance={"seed": seed})
        paths.append(directory / f"{seed}.pth")
        save_checkpoint(paths[-1], checkpoint)
    return paths


def test_weights_and_statistics_are_averaged_and_nothing_is_claimed(checkpoints):
    soup = average_checkpoints(checkpoints, [1, 1, 2])
    states = [load_checkpoint(path).state_dict for path in checkpoints]
    for name, tensor in soup.state_dict.items():
        if tensor.is_floating_point():
            expected = (0.25 * states[0][name] + 0.25 * states[1][name] + 0.5 * states[2][name]).to(tensor.dtype)
            assert torch.allclose(tensor, expected, atol=1e-6), name
    assert soup.metrics == {}
    assert [part["weight"] for part in soup.provenance["average_of"]] == [0.25, 0.25, 0.5]
    assert build_network(soup)(torch.zeros(1, 3, 64, 64)).shape == (1, 3, 64, 64)


def test_the_average_of_one_twice_is_itself(checkpoints):
    soup = average_checkpoints([checkpoints[0], checkpoints[0]])
    state = load_checkpoint(checkpoints[0]).state_dict
    assert all(torch.equal(soup.state_dict[name], tensor) for name, tensor in state.items())


def test_others_are_refused_by_name(checkpoints, tmp_path):
    first = load_checkpoint(checkpoints[0])
    other = tmp_path / "other.pth"
    save_checkpoint(other, replace(first, preprocess=PreprocessSpec(size_hw=(128, 128))))
    with pytest.raises(CheckpointError, match=r"other\.pth: its preprocess differs"):
        average_checkpoints([checkpoints[0], other])
    with pytest.raises(ConfigError, match="at least two"):
        average_checkpoints(checkpoints[:1])
    with pytest.raises(ConfigError, match="2 positive numbers"):
        average_checkpoints(checkpoints[:2], [1.0])
    for strange in ("nan", "inf", "-1"):
        with pytest.raises(ConfigError, match="2 positive numbers"):
            average_checkpoints(checkpoints[:2], [float(strange), 1.0])


def test_the_command_writes_what_it_says(checkpoints, tmp_path):
    out = tmp_path / "soup.pth"
    arguments = ["average", *map(str, checkpoints[:2]), str(out), "--weights", "3,1", "--json"]
    result = CliRunner().invoke(data_command, arguments)
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer["average_of"] == [{"file": "0.pth", "weight": 0.75}, {"file": "1.pth", "weight": 0.25}]
    assert load_checkpoint(out).model.name == "ddrnet_23_slim"
    wrong = CliRunner().invoke(data_command, ["average", str(checkpoints[0]), str(tmp_path / "none.pth")])
    assert wrong.exit_code == 1
    assert wrong.stderr.count("\n") == 1
    assert not (tmp_path / "none.pth").exists()


def test_a_forgotten_destination_costs_no_checkpoint(checkpoints, tmp_path):
    last = tmp_path / "c.pth"
    shutil.copy(checkpoints[2], last)
    before = last.read_bytes()
    for sources, text in ((checkpoints[:2], "is there already"), ([checkpoints[0], last], "is one of the sources")):
        result = CliRunner().invoke(data_command, ["average", *map(str, sources), str(last)])
        assert result.exit_code == 1
        assert result.stderr.startswith(f"error: {last}: {text}")
        assert result.stderr.count("\n") == 1
        assert last.read_bytes() == before
