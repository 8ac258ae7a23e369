"""Weights of one network as the start of another."""

import json
import shutil

import pytest
import small_runs
import torch
from click.testing import CliRunner

from seg_core.errors import CheckpointError, ConfigError
from seg_core.labels import LabelSet
from seg_core.models import build_model
from seg_core.models.checkpoint import Checkpoint, save_checkpoint
from seg_core.spec import ModelSpec, PostprocessSpec, PreprocessSpec
from seg_train.cli import train_command
from seg_train.data_cli import data_command
from seg_train.engine import Trainer
from seg_train.warm_start import load_matching_weights

OPTIONS = {"aux_head": True, "upsample": True}
FIRST = "conv1.0.weight"


def build(num_classes=3, in_channels=3, seed=1):
    torch.manual_seed(seed)
    return build_model(ModelSpec("ddrnet_23_slim", num_classes, in_channels, OPTIONS))


@pytest.fixture(scope="module")
def source():
    return build(seed=0).eval()


@pytest.fixture(scope="module")
def saved(source, tmp_path_factory):
    path = tmp_path_factory.mktemp("warm") / "colour.pth"
    spec = ModelSpec("ddrnet_23_slim", 3, options=OPTIONS)
    labels = LabelSet(("background", "skin", "hair"))
    save_checkpoint(path, Checkpoint(spec, PreprocessSpec((64, 64)), PostprocessSpec(), labels, source.state_dict()))
    return path


def test_the_same_network_is_taken_over_whole(source, saved):
    network = build().eval()
    report = load_matching_weights(network, saved)
    assert set(report.loaded) == set(network.state_dict())
    assert (report.adapted, report.missing, report.unused) == ((), (), ())
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(network(image), source(image))


def test_a_prior_is_added_to_the_first_convolution_and_changes_nothing_at_first(source, saved):
    network = build(in_channels=4).eval()
    report = load_matching_weights(network, saved)
    assert report.adapted == (FIRST,)
    assert report.missing == ()
    assert str(report).endswith("1 widened by the prior (conv1.0.weight)")
    image, prior = torch.rand(1, 3, 64, 64), torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        assert torch.allclose(network(torch.cat([image, prior], 1)), source(image), atol=1e-5)


def test_the_widened_kernel_learns(saved):
    network = build(in_channels=4).train()
    load_matching_weights(network, saved)
    network(torch.rand(2, 4, 64, 64)).square().mean().backward()
    assert network.conv1[0].weight.grad[:, 3].abs().max() > 0


def test_other_classes_keep_their_new_heads(source, saved):
    network = build(num_classes=5)
    before = network.final_layer.conv2.weight.detach().clone()
    report = load_matching_weights(network, saved)
    assert set(report.missing) == {f"{head}.conv2.{kind}" for head in ("seghead_extra", "final_layer")
                                   for kind in ("weight", "bias")}  # fmt: skip
    assert set(report.unused) == set(report.missing)
    assert "4 left at their initial values" in str(report)
    assert torch.equal(network.final_layer.conv2.weight, before)
    assert torch.equal(network.conv1[0].weight, source.conv1[0].weight)


def test_two_channels_more_are_not_a_prior(saved):
    assert FIRST in load_matching_weights(build(in_channels=5), saved).missing


def test_a_bare_part_of_a_network_finds_its_place(source, tmp_path):
    path = tmp_path / "part.pth"
    torch.save({f"module.{name}": value for name, value in source.state_dict().items() if "layer" in name}, path)
    network = build()
    report = load_matching_weights(network, path)
    assert set(report.loaded) == {name for name in network.state_dict() if "layer" in name}
    assert FIRST in report.missing


def test_files_of_no_use_are_named(saved, tmp_path):
    with pytest.raises(ConfigError, match=r"model\.weights: nothing in .*colour\.pth"):
        load_matching_weights(torch.nn.Linear(3, 3), saved)
    with pytest.raises(CheckpointError, match=r"absent\.pth: no such file"):
        load_matching_weights(build(), tmp_path / "absent.pth")
    empty = tmp_path / "empty.pth"
    torch.save({"weights": 3}, empty)
    with pytest.raises(CheckpointError, match=r"empty\.pth: holds no state dict"):
        load_matching_weights(build(), empty)
    other = tmp_path / "other.pth"
    torch.save({"format": "something else"}, other)
    with pytest.raises(CheckpointError, match="not one of our checkpoints"):
        load_matching_weights(build(), other)


def test_a_run_says_once_what_it_begins_with(tmp_path, small_network):
    small_runs.draw_data(tmp_path)
    donor = small_runs.SmallNetwork().state_dict()
    donor["scores.weight"] = torch.zeros(5, 8, 1, 1)  # of other classes
    torch.save({name: value for name, value in donor.items() if name != "scores.bias"}, tmp_path / "donor.pth")
    config = small_runs.write_config(tmp_path, model={"weights": str(tmp_path / "donor.pth")})
    done = CliRunner().invoke(train_command, ["--config", str(config)])
    assert done.exit_code == 0, done.output
    note = (
        f"note: model.weights: {tmp_path / 'donor.pth'}: 21 tensors taken over, 2 left at their initial values (scores."
    )
    assert done.stderr.count(note) == (tmp_path / "run" / "train.log").read_text().count(note) == 1
    again = CliRunner().invoke(train_command, ["--config", str(config)])
    assert "resumed at step 4" in again.stderr
    assert "note:" not in again.stderr


def test_a_stopped_run_needs_what_it_began_with_no_more(tmp_path, small_network):
    small_runs.draw_data(tmp_path)
    donor = tmp_path / "donor.pth"

    def trainer(path, **changes):
        return Trainer(small_runs.config_of(tmp_path, model={"weights": str(path)}, **changes))

    def save_donor(seed):
        torch.manual_seed(seed)
        torch.save(small_runs.SmallNetwork().state_dict(), donor)

    save_donor(1)
    trainer(donor).run()
    shutil.copy(donor, tmp_path / "copy.pth")
    assert trainer(tmp_path / "copy.pth").state.step == 4
    save_donor(2)  # as of a run that has gone on since
    assert trainer(donor).state.step == 4
    with pytest.raises(CheckpointError, match=r"belongs to a run for which model\.weights held something else"):
        trainer(shutil.copy(donor, tmp_path / "other.pth"))
    donor.unlink()
    assert trainer(donor).state.step == 4
    with pytest.raises(CheckpointError, match=r"donor\.pth: no such file"):
        trainer(donor, output=str(tmp_path / "anew"))


def test_what_is_assumed_of_a_teacher_from_elsewhere_is_said(tmp_path, small_network):
    small_runs.draw_data(tmp_path)
    torch.save({"state_dict": build().state_dict()}, tmp_path / "theirs.pth")
    names = json.dumps({"names": ["class_0", "class_1", "class_2"]})
    (tmp_path / "labels.json").write_text(names)
    told = {}
    for size_hw in (None, (64, 64)):
        distill = {"teacher": str(tmp_path / "theirs.pth"), "teacher_size_hw": size_hw}
        config = small_runs.write_config(
            tmp_path, distill=distill, solver={"steps": 1}, output=str(tmp_path / str(size_hw))
        )
        arguments = ["test-cfg", str(config)] if size_hw is None else ["--config", str(config)]
        told[size_hw] = CliRunner().invoke(data_command if size_hw is None else train_command, arguments)
        assert told[size_hw].exit_code == 0, told[size_hw].output
    said = f"note: distill.teacher: {tmp_path / 'theirs.pth'}: assumed preprocess rgb with ImageNet statistics"
    assert f"{said}, size_hw [512, 1024]; state what" in told[None].stderr
    assert f"{said}; state what" in told[64, 64].stderr
