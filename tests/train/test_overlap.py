"""Scores on training images are told to be such."""

import pytest
import small_runs
from click.testing import CliRunner

from seg_train.cli import train_command
from seg_train.data_cli.rehearse import rehearse_command
from seg_train.engine import Trainer
from seg_train.overlap import describe_overlap

pytestmark = pytest.mark.usefixtures("small_network")


@pytest.fixture
def root(tmp_path):
    small_runs.draw_data(tmp_path)
    return tmp_path


def overlap_of(root, **data):
    trainer = Trainer(small_runs.config_of(root, data=data))
    return describe_overlap(trainer.train_set, trainer.val_set)


def test_different_images_of_the_same_names_are_no_overlap(root):
    assert overlap_of(root) is None


def test_the_same_folder_twice_is_one(root):
    assert overlap_of(root, val=str(root / "train")) == (
        f"data.val: 8 of 8 validation images are training images too, such as {root / 'train' / 'images' / '0.png'}; "
        "scores on them tell nothing of other images"
    )


def test_a_link_to_a_training_image_is_one(root):
    image = root / "val" / "images" / "1.png"
    image.unlink()
    image.symlink_to(root / "train" / "images" / "4.png")
    assert "data.val: 1 of 3 validation images are training images too, such as" in overlap_of(root)


def test_a_data_set_without_pairs_cannot_be_looked_into():
    assert describe_overlap(object(), object()) is None


@pytest.mark.parametrize("command", [train_command, rehearse_command])
def test_it_is_said_once(root, command):
    config = small_runs.write_config(root, data={"val": str(root / "train")})
    arguments = ["--config", str(config)] if command is train_command else [str(config)]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, result.output
    assert result.stderr.count("note: data.val: 8 of 8 validation images are training images too") == 1
    if command is train_command:
        assert "note: data.val: 8 of 8" in (root / "run" / "train.log").read_text()
