"""What a configuration's `data` section makes of files: layouts, merged classes, bad pairs left out."""

import json

import cv2
import numpy as np
import pytest
import torch

from seg_core.config.schema import TrainConfig
from seg_core.errors import ConfigError, ImageError
from seg_core.images import save_image
from seg_core.labels import CELEBAMASK_HQ
from seg_core.mask_reading import MaskReading
from seg_core.models.checkpoint import load_checkpoint
from seg_train import build
from seg_train.engine import Trainer
from seg_train.events import StartEvent
from seg_train.pair_source import Places, open_source, read_stems

HALVES = (slice(0, 16), slice(16, 32))


@pytest.fixture
def root(tmp_path):
    """Folders of two splits: the left half of each mask is left_eye (4), the right one right_eye (5)."""
    for split, count in (("train", 6), ("val", 2)):
        for index in range(count):
            image = np.random.default_rng(index).integers(0, 256, (32, 32, 3), dtype=np.uint8)
            mask = np.zeros((32, 32), np.uint8)
            mask[:, HALVES[0]], mask[:, HALVES[1]] = 4, 5
            for folder, pixels in (("images", image), ("masks", mask)):
                (tmp_path / split / folder).mkdir(parents=True, exist_ok=True)
                save_image(tmp_path / split / folder / f"{index}.png", pixels)
    return tmp_path


def config_of(root, **data):
    return TrainConfig.model_validate(
        {
            "data": {"train": root, "val": root, "workers": 0} | data,
            "preprocess": {"size_hw": (64, 64)},
            "solver": {"steps": 1, "batch_size": 2, "warmup_steps": 0, "precision": "fp32"},
            "output": root / "run",
            "device": "cpu",
        }
    )


def datasets_of(config):
    labels = build.build_labels(config.data.labels, config.data.merge)
    _, preprocess = build.build_specs(config, labels)
    return build.build_datasets(config, preprocess, labels)


def spoil(root):
    """Of six pairs leave three: one truncated, one with a strange label, one of another size; and a lonely image."""
    train = root / "train"
    broken = train / "images" / "1.png"
    broken.write_bytes(broken.read_bytes()[:200])
    save_image(train / "masks" / "2.png", np.full((32, 32), 99, np.uint8))
    save_image(train / "masks" / "3.png", np.zeros((32, 31), np.uint8))
    save_image(train / "images" / "lonely.png", np.zeros((32, 32, 3), np.uint8))


def test_one_path_for_both_gives_each_its_own_split(root):
    train, val = datasets_of(config_of(root))
    assert (len(train), len(val)) == (6, 2)
    assert train.pairs[0].image.parts[-3] == "train"
    train, _ = datasets_of(config_of(root, train=[root / "train", root / "val"], val=root / "val"))
    assert len(train) == 8


def test_sides_are_put_right_before_classes_are_merged(root, tmp_path):
    merge = tmp_path / "merge.json"
    rest = [name for name in CELEBAMASK_HQ.names if name != "left_eye" and name != "right_eye"]
    merge.write_text(json.dumps({"rest": rest, "right": ["right_eye"], "left": ["left_eye"]}))
    (tmp_path / "swapped.txt").write_text("1\n")
    config = config_of(root, merge=str(merge), swap_left_right=tmp_path / "swapped.txt")
    train, val = datasets_of(config)
    assert train.labels.names == val.labels.names == ("rest", "right", "left")
    assert train.labels.flip_pairs == ((1, 2),)
    for dataset, index, left in ((train, 0, 2), (train, 1, 1), (val, 1, 2)):
        _, mask = dataset._source.reading.read(dataset.pairs[index])
        assert [set(mask[:, half].ravel()) for half in HALVES] == [{left}, {3 - left}]


def test_a_list_of_stems_is_read_by_lines_and_keeps_blanks_and_dots(tmp_path):
    listing = tmp_path / "mirrored.txt"
    listing.write_text("\ufeffIMG 0001\n face.v2 \n\nDSC_1.JPG\r\nimages/a.b.png\n", encoding="utf-8")
    assert read_stems(listing) == {"IMG 0001", "face.v2", "DSC_1", "a.b"}


def test_a_list_of_stems_that_no_training_picture_has_is_refused(root):
    listing = root / "mirrored.txt"
    listing.write_text("3\n0012\n")  # of other splits, too
    datasets_of(config_of(root, swap_left_right=listing))
    listing.write_text("0011\n0012\n")
    with pytest.raises(ConfigError, match=r"mirrored\.txt: .* none of its 2 stems, such as '0011', .* such as '0';"):
        datasets_of(config_of(root, swap_left_right=listing))


def test_the_checkpoint_carries_the_merged_classes(root):
    told = []
    Trainer(config_of(root, merge="face_6")).run(told.append)
    labels = load_checkpoint(root / "run" / "last.pth").labels
    assert labels.names == ("background", "skin", "brows", "eyes", "mouth", "hair")
    assert next(event for event in told if isinstance(event, StartEvent)).skipped == 0


@pytest.mark.parametrize("cache", [True, False, "masks"])
def test_bad_pairs_stop_the_run_or_are_left_out_and_counted(root, cache):
    spoil(root)
    with pytest.raises(ImageError, match=r"1 of 7 files have no mask masks/<name>\.png: lonely\.png"):
        datasets_of(config_of(root, cache=cache))
    train, val = datasets_of(config_of(root, cache=cache, on_bad="skip"))
    assert [pair.image.stem for pair in train.pairs] == ["0", "4", "5"]
    assert (train.skipped, val.skipped) == (4, 0)
    assert sorted(problem.kind for problem in train.problems) == ["labels", "size", "unpaired", "unreadable"]
    image, target = train[11, 2]
    assert image.shape == (64, 64, 3)
    assert set(np.unique(target)) <= {4, 5, 255}


def test_what_is_left_out_does_not_depend_on_memory_being_used(root):
    spoil(root)
    kept, masks, read = (
        datasets_of(config_of(root, cache=cache, on_bad="skip", merge="face_6"))[0] for cache in (True, "masks", False)
    )
    assert kept.pairs == masks.pairs == read.pairs
    for dataset in (kept, masks):
        for a, b in zip(dataset[5, 1], read[5, 1], strict=True):
            assert torch.equal(a, b)
    masks.pairs[1].mask.unlink()
    assert masks[5, 1][1].shape == (64, 64)  # it is in memory
    with pytest.raises(ImageError, match="no such file"):
        read[5, 1]


def test_a_bad_pair_is_met_at_once_when_pairs_are_kept_and_named_later_otherwise(root):
    save_image(root / "train" / "masks" / "3.png", np.zeros((32, 31), np.uint8))
    with pytest.raises(ImageError, match=r"3\.png: the mask is 32×31 .* but its image"):
        datasets_of(config_of(root, cache=True))
    train, _ = datasets_of(config_of(root, cache=False))
    with pytest.raises(ImageError, match=r"3\.png: the mask is 32×31 .* but its image"):
        train[0, 3]


def test_a_split_without_a_usable_pair_is_named(root):
    for mask in (root / "val" / "masks").iterdir():
        save_image(mask, np.full((32, 32), 99, np.uint8))
    with pytest.raises(ImageError, match=r"val.*: none of 2 pairs can be used; first .*0\.png: the mask holds 99"):
        datasets_of(config_of(root, val=root / "val", train=root / "train", on_bad="skip"))


def test_several_layouts_are_read_one_after_another(root, tmp_path):
    listing = tmp_path / "more.csv"
    listing.write_text("image,mask\nval/images/0.png,val/masks/0.png\n")
    camvid = tmp_path / "CamVid"
    (camvid / "train").mkdir(parents=True)
    (camvid / "trainannot").mkdir()
    cv2.imwrite(str(camvid / "train" / "a.png"), np.zeros((8, 8, 3), np.uint8))
    cv2.imwrite(str(camvid / "trainannot" / "a.png"), np.zeros((8, 8), np.uint8))
    source = open_source(Places((root / "train", listing, camvid / "train")), MaskReading(CELEBAMASK_HQ))
    assert [pair.image.name for pair in source.pairs[-3:]] == ["5.png", "0.png", "a.png"]


def test_a_merge_that_does_not_fit_is_named(root):
    with pytest.raises(ConfigError, match=r"data\.merge: background: unknown class 'background'"):
        datasets_of(config_of(root, merge="face_6", labels="camvid_11"))
