"""A run goes on with the pictures and files it began with, or says that they are others."""

import hashlib
import json
import shutil

import cv2
import numpy as np
import pytest
import small_runs
import torch
from click.testing import CliRunner

from seg_core.errors import CheckpointError, ImageError
from seg_core.labels import LabelSet
from seg_core.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from seg_core.models.weights_file import read_weights_file, write_weights_file
from seg_core.samples import SamplePair
from seg_core.spec import ModelSpec, PostprocessSpec, PreprocessSpec, from_json
from seg_train.cli import train_command
from seg_train.engine import Trainer
from seg_train.fingerprint import describe_images, hash_config

pytestmark = pytest.mark.usefixtures("small_network")


@pytest.fixture
def root(tmp_path):
    """Data, and a run over 3 of 4 epochs that was stopped."""
    small_runs.draw_data(tmp_path)
    trainer = Trainer(small_runs.config_of(tmp_path, **CHANGES))
    trainer.steps = 12
    trainer.run()
    return tmp_path


CHANGES = {"solver": {"epochs": 4, "deterministic": True}, "save_every": "epoch", "eval_every": "epoch"}


def remove(root, split, index):
    for folder in ("images", "masks"):
        (root / split / folder / f"{index}.png").unlink()


def test_pictures_that_moved_are_the_same(root, tmp_path_factory):
    other = tmp_path_factory.mktemp("moved")
    for split in ("train", "val"):
        shutil.copytree(root / split, other / split)
    shutil.copy(root / "labels.json", other)
    data = {"train": str(other / "train"), "val": str(other / "val")}
    assert Trainer(small_runs.config_of(root, **CHANGES, data=data)).state.step == 12


@pytest.mark.parametrize(("split", "use", "counts"), [("train", "training", "8 then, 7 now"),
                                                      ("val", "validation", "3 then, 2 now")])  # fmt: skip
def test_a_picture_less_is_told_in_one_line_that_says_how_to_go_on(root, split, use, counts):
    remove(root, split, 1)
    config = small_runs.write_config(root, **CHANGES)
    before = {path: path.read_bytes() for path in (root / "run").iterdir()}
    done = CliRunner().invoke(train_command, ["--config", str(config)])
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {root / 'run' / 'resume.pth'}: belongs to a run with other {use} images ({counts})")
    assert "--restart" in line
    assert {path: path.read_bytes() for path in (root / "run").iterdir()} == before
    onward = [f"output={root / 'onward'}", f"model.weights={root / 'run' / 'last.pth'}"]
    assert onward[1] in line
    onward = [argument for change in onward for argument in ("-o", change)]
    done = CliRunner().invoke(train_command, ["--config", str(config), *onward, "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["steps"] == (12 if split == "train" else 16)
    assert load_checkpoint(root / "onward" / "last.pth").provenance["train_images"] == (7 if split == "train" else 8)
    assert Trainer(small_runs.config_of(root, **CHANGES), restart=True).state.step == 0


@pytest.mark.parametrize("folder", ["images", "masks"])
def test_a_file_that_was_replaced_is_noticed(root, folder):
    pixels = np.zeros((64, 64) if folder == "masks" else (64, 64, 3), np.uint8)
    cv2.imwrite(str(root / "train" / folder / "3.png"), pixels)
    with pytest.raises(CheckpointError, match=r"other training images \(as many, but not the same files\)"):
        Trainer(small_runs.config_of(root, **CHANGES))


def test_two_folders_in_another_order_are_other_pictures(root):
    for name in ("a", "b"):
        shutil.copytree(root / "train", root / name)
    remove(root, "b", 1)
    first, second = (
        Trainer(small_runs.config_of(root, **CHANGES, data={"train": [str(root / name) for name in order]}, output=out))
        for order, out in (("ab", str(root / "first")), ("ba", str(root / "second")))
    )
    first, second = (trainer.files._fingerprint.data["training"] for trainer in (first, second))
    assert first.count == second.count == 15
    assert first.digest != second.digest


def test_a_state_from_before_pictures_were_recorded_goes_on(root):
    path = root / "run" / "resume.pth"
    state = read_weights_file(path)
    assert state.pop("data")["training"][0] == 8
    write_weights_file(path, state)
    remove(root, "train", 1)
    assert Trainer(small_runs.config_of(root, **CHANGES)).state.step == 12


def write_older_state(root):
    """Replace the state by what was written before the exchange had a format, when paths counted."""
    path = root / "run" / "resume.pth"
    state = read_weights_file(path)
    state = {key: value for key, value in state.items() if key not in ("inputs", "starts")}
    tree = json.loads(small_runs.config_of(root, **CHANGES).model_dump_json())
    for key in ("output", "device", "log_every", "save_every", "tensorboard"):
        del tree[key]
    left_out = {"data": ("workers", "cache", "train", "val"), "solver": ("compile", "compile_options", "exchange")}
    for section, keys in left_out.items():
        for key in keys:
            del tree[section][key]
    then = json.dumps(tree, separators=(",", ":"), ensure_ascii=False)
    write_weights_file(path, state | {"fingerprint": hashlib.sha256(then.encode()).hexdigest()})


def test_a_state_from_before_the_exchange_had_a_format_goes_on(root):
    write_older_state(root)
    assert Trainer(small_runs.config_of(root, **CHANGES)).state.step == 12
    with pytest.raises(CheckpointError, match="another configuration"):
        Trainer(small_runs.config_of(root, **CHANGES | {"eval_every": 7}))


def test_an_older_state_of_other_classes_is_one_line(root):
    write_older_state(root)
    write_labels(root, names=[*small_runs.LABELS["names"], "hair"], palette=[])
    done = CliRunner().invoke(train_command, ["--config", str(small_runs.write_config(root, **CHANGES))])
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {root / 'run' / 'resume.pth'}: does not fit what this run is made of (")
    assert "scores.bias" in line
    assert "--restart" in line


def write_labels(root, **changes):
    (root / "labels.json").write_text(json.dumps(small_runs.LABELS | changes))


def test_classes_are_known_by_what_they_are_not_by_their_file(root):
    colours = [[9, 9, 9], [1, 2, 3], [4, 5, 6]]
    (root / "copy.json").write_text(json.dumps(small_runs.LABELS | {"palette": colours}, indent=3))
    data = {"labels": str(root / "copy.json")}
    assert Trainer(small_runs.config_of(root, **CHANGES, data=data)).state.step == 12


@pytest.mark.parametrize(
    "changes",
    [
        {"names": ["background", "right", "left"]},
        {"names": ["background", "left", "right", "hair"], "palette": []},
        {"flip_pairs": []},
        {"ignore_index": 254},
    ],
)
def test_other_classes_in_the_same_file_are_another_run(root, changes):
    write_labels(root, **changes)
    with pytest.raises(
        CheckpointError, match=r"resume\.pth: belongs to a run for which data\.labels held something"
    ) as no:
        Trainer(small_runs.config_of(root, **CHANGES))
    assert "--restart" in str(no.value)
    assert "\n" not in str(no.value)


def save_teacher(path, seed):
    torch.manual_seed(seed)
    network, labels = small_runs.SmallNetwork().eval(), from_json(LabelSet, small_runs.LABELS, "labels")
    spec = ModelSpec(small_runs.NETWORK, 3)
    state = network.state_dict()
    save_checkpoint(path, Checkpoint(spec, PreprocessSpec((64, 64)), PostprocessSpec(), labels, state))


def write_inputs(root, which=()):
    """Write what a configuration may name besides pictures and classes; `which` of them otherwise."""
    groups = {"nothing": ["background"], "sides": ["left", "right"]}
    if "data.merge" in which:
        groups = dict(reversed(groups.items()))
    (root / "merge.json").write_text(json.dumps(groups))
    (root / "swap.txt").write_text("2\n" if "data.swap_left_right" in which else "1\n")


@pytest.mark.parametrize("key", ["data.merge", "data.swap_left_right", "distill.teacher"])
def test_another_content_of_a_named_file_is_another_run_and_a_copy_is_not(root, key):
    section, name = key.split(".")
    file, other = {"merge": ("merge.json", "m.json"), "swap_left_right": ("swap.txt", "s.txt"),
                   "teacher": ("teacher.pth", "t.pth")}[name]  # fmt: skip
    save_teacher(root / "teacher.pth", 1)
    write_inputs(root)
    changes = {"output": str(root / "other"), "solver": {"steps": 2}}

    def trainer(path):
        return Trainer(small_runs.config_of(root, **changes, **{section: {name: str(path)}}))

    trainer(root / file).run()
    shutil.copy(root / file, root / other)
    assert trainer(root / other).state.step == 2
    write_inputs(root, key)
    save_teacher(root / "teacher.pth", 2)
    with pytest.raises(CheckpointError, match=f"belongs to a run for which {key} held something else"):
        trainer(root / file)


def test_the_format_of_the_exchange_counts_where_there_is_one(tmp_path):
    plain, short = (small_runs.config_of(tmp_path, solver={"exchange": exchange}) for exchange in ("fp32", "bf16"))
    assert hash_config(plain) == hash_config(short)
    assert hash_config(plain, 2) != hash_config(short, 2)


class Pictures(torch.utils.data.Dataset):
    def __init__(self, count, pairs=None):
        self.count = count
        if pairs is not None:
            self.pairs = pairs

    def __len__(self):
        return self.count


def test_data_sets_without_files_are_known_by_their_length(tmp_path):
    assert describe_images(Pictures(3)) == describe_images(Pictures(3)) != describe_images(Pictures(4))
    gone = tmp_path / "gone.jpg"
    with pytest.raises(ImageError, match=r"gone\.jpg: cannot be read \(No such file or directory\)"):
        describe_images(Pictures(1, [SamplePair(gone, gone)]))


def test_part_masks_count_by_which_there_are(tmp_path):
    image = tmp_path / "0.jpg"
    image.write_bytes(b"picture")
    first, second = (
        describe_images(Pictures(1, [SamplePair(image, tmp_path / "00000", "parts", parts)]))
        for parts in ((1, 2), (1,))
    )
    assert first != second
