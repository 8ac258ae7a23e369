"""seg-data preprocess, check and crop-by-mask, from drawn data sets to what training reads."""

import json
import re
import shutil

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from seg_core.errors import ConfigError, ImageError
from seg_core.images import load_image, load_mask, save_image
from seg_core.labels import CELEBAMASK_HQ
from seg_core.sample_layouts import list_samples
from seg_core.samples import load_pair
from seg_train.data_cli import data_command
from seg_train.prepare_crops import bounding_box
from seg_train.prepare_dataset import PrepareOptions, prepare_dataset


def seg_data(*arguments):
    return CliRunner().invoke(data_command, [str(argument) for argument in arguments])


def smooth(height, width, seed=0):
    small = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.fixture
def celebamask(tmp_path):
    """Ten faces, photographs twice as large as their part masks."""
    root = tmp_path / "CelebAMask-HQ"
    for folder in ("CelebA-HQ-img", "CelebAMask-HQ-mask-anno/0"):
        (root / folder).mkdir(parents=True)
    for face in range(10):
        save_image(root / "CelebA-HQ-img" / f"{face}.jpg", smooth(64, 64, face))
        for part, rows in (("skin", slice(8, 24)), ("hair", slice(0, 12))):
            mask = np.zeros((32, 32, 3), np.uint8)
            mask[rows, 4:20] = 255
            save_image(root / f"CelebAMask-HQ-mask-anno/0/{face:05d}_{part}.png", mask)
    return root


@pytest.fixture
def folders(tmp_path):
    root = tmp_path / "data"
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for index in range(4):
        save_image(root / "images" / f"{index}.jpg", smooth(30, 40, index))
        mask = np.zeros((30, 40), np.uint8)
        mask[10:20, 6:16] = 13 if index else 1
        save_image(root / "masks" / f"{index}.png", mask)
    return root


def test_part_masks_become_folders_in_seeded_splits(celebamask, tmp_path):
    out = tmp_path / "faces"
    done = seg_data(
        "preprocess", celebamask, out, "--size", 16, "--split", "0.7,0.3", "--image-format", "png", "--json"
    )
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["splits"] == {"train": 7, "val": 3}
    assert report["problems"] == []
    rows = {row["name"]: row for row in report["classes"]}
    assert rows["hair"]["share"] == pytest.approx(12 * 16 / 32**2)
    assert rows["skin"]["images"] == 10
    assert rows["hat"]["images"] == 0
    train, val = list_samples(out, split="train"), list_samples(out / "val")
    assert {pair.image.stem for pair in train + val} == {str(face) for face in range(10)}
    image, mask = load_pair(val[0], CELEBAMASK_HQ)
    assert image.shape == (16, 16, 3)
    assert mask[:, 4].tolist() == [13] * 6 + [1] * 6 + [0] * 4
    photograph = load_image(celebamask / "CelebA-HQ-img" / f"{val[0].image.stem}.jpg")
    expected = cv2.resize(photograph, (16, 16), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(image, expected)  # straight to its size, not by that of the masks
    again = prepare_dataset(celebamask, tmp_path / "b", PrepareOptions(size_hw=(16, 16), fractions=(0.7, 0.3)))
    assert again.splits == {"train": 7, "val": 3}
    assert [pair.image.stem for pair in list_samples(tmp_path / "b" / "val")] == [pair.image.stem for pair in val]
    other = prepare_dataset(celebamask, tmp_path / "c", PrepareOptions(size_hw=(16, 16), fractions=(0.7, 0.3), seed=1))
    assert other.written == 10
    assert [pair.image.stem for pair in list_samples(tmp_path / "c" / "val")] != [pair.image.stem for pair in val]


def test_a_broken_off_run_goes_on_and_redoes_nothing_finished(celebamask, tmp_path):
    out = tmp_path / "faces"
    options = PrepareOptions(size_hw=(16, 16))
    assert prepare_dataset(celebamask, out, options).written == 10
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.*") if path.parent.name in ("images", "masks")}
    (out / "masks" / "3.png").unlink()
    (out / "images" / "5.jpg").unlink()
    report = prepare_dataset(celebamask, out, options)
    assert report.written == 2
    assert report.splits == {"all": 10}
    assert report.images_with[13] == 10
    after = {path: path.stat().st_mtime_ns for path in before}
    assert {path.stem for path in before if before[path] != after[path]} == {"3", "5"}
    with pytest.raises(ConfigError, match=r"faces: was made with size_hw \[16, 16\], not \[8, 8\]; choose another"):
        prepare_dataset(celebamask, out, PrepareOptions(size_hw=(8, 8)))


def test_pairs_without_splits_are_not_written_into_each(folders, tmp_path):
    done = seg_data("preprocess", folders, tmp_path / "out", "--split", "own")
    assert done.exit_code == 1
    assert f"error: {folders}: has no splits of its own; share it out, as with --split 0.9,0.1" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_source_that_has_grown_puts_no_picture_into_two_splits(celebamask, tmp_path):
    out = tmp_path / "faces"
    late = celebamask / "CelebA-HQ-img" / "9.jpg"
    kept = late.read_bytes()
    masks = {path: path.read_bytes() for path in celebamask.rglob("00009_*.png")}
    for path in (late, *masks):
        path.unlink()
    options = PrepareOptions(size_hw=(16, 16), fractions=(0.6, 0.4))
    assert prepare_dataset(celebamask, out, options).written == 9
    before = sorted(out.rglob("*"))
    for path, content in {late: kept, **masks}.items():
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"faces: holds \d+ files that this run would not .* \w+/images/"):
        prepare_dataset(celebamask, out, options)
    assert sorted(out.rglob("*")) == before


def test_a_picture_that_stays_as_it_is_is_not_compressed_again(folders, tmp_path):
    prepare_dataset(folders, tmp_path / "out", PrepareOptions())
    assert (tmp_path / "out/images/0.jpg").read_bytes() == (folders / "images/0.jpg").read_bytes()
    prepare_dataset(folders, tmp_path / "png", PrepareOptions(suffix=".png"))
    np.testing.assert_array_equal(load_image(tmp_path / "png/images/0.png"), load_image(folders / "images/0.jpg"))
    original = (folders / "images/1.jpg").rename(folders / "images/1.JPEG")
    prepare_dataset(folders, tmp_path / "renamed", PrepareOptions())
    assert (tmp_path / "renamed/images/1.jpg").read_bytes() == original.read_bytes()


def spoil(folders):
    """One truncated picture, one mask of another size, one strange label, one picture without mask."""
    picture = folders / "images" / "0.jpg"
    picture.write_bytes(picture.read_bytes()[:-300])
    save_image(folders / "masks" / "1.png", np.zeros((30, 41), np.uint8))
    save_image(folders / "masks" / "2.png", np.full((30, 40), 77, np.uint8))
    save_image(folders / "images" / "lonely.jpg", smooth(30, 40))


def test_bad_pairs_are_listed_and_fail_in_the_end_unless_skipped(folders, tmp_path):
    spoil(folders)
    arguments = ("preprocess", folders, tmp_path / "out", "--labels", "celebamask_hq", "--json")
    done = seg_data(*arguments)
    assert done.exit_code == 1, done.exception
    found = {problem["kind"]: problem["path"] for problem in json.loads(done.stdout)["problems"]}
    assert found.keys() == {"unreadable", "size", "labels", "unpaired"}
    assert found["labels"].endswith("masks/2.png")
    assert done.stderr.splitlines()[-1].startswith("error: 4 pairs cannot be used; mend them, or leave them out")
    assert [path.name for path in (tmp_path / "out/images").iterdir()] == ["3.jpg"]
    assert seg_data(*arguments, "--on-bad", "skip").exit_code == 0


def test_check_lists_every_problem_and_preprocess_check_writes_nothing(folders, tmp_path):
    assert seg_data("check", folders, "--labels", "celebamask_hq").exit_code == 0
    spoil(folders)
    for arguments in (("check", folders), ("preprocess", folders, "--check")):
        done = seg_data(*arguments, "--labels", "celebamask_hq", "--json")
        assert done.exit_code == 1
        report = json.loads(done.stdout)
        assert report["pairs"] == 1
        assert sorted(problem["kind"] for problem in report["problems"]) == ["labels", "size", "unpaired", "unreadable"]
        assert "0.jpg" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_splits_of_the_data_set_itself_are_kept(folders, tmp_path):
    root = tmp_path / "whole"
    for split in ("train", "val"):
        shutil.copytree(folders, root / split)
    done = seg_data("preprocess", root, tmp_path / "out", "--split", "own", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["splits"] == {"train": 4, "val": 4}
    shutil.rmtree(root / "train")
    done = seg_data("preprocess", root, tmp_path / "alone", "--split", "own", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["splits"] == {"val": 4}


@pytest.mark.parametrize("split", ["0.9", "0.9,0.2", "1,0", "a,b", "0.2,0.2,0.2,0.4"])
def test_wrong_fractions_are_usage_errors(folders, split):
    assert seg_data("preprocess", folders, folders / "out", "--split", split).exit_code == 2


def test_the_source_is_never_overwritten(folders):
    with pytest.raises(ConfigError, match=r"data: is the source itself"):
        prepare_dataset(folders, folders, PrepareOptions())
    done = seg_data("crop-by-mask", folders, folders, "--classes", "skin", "--labels", "celebamask_hq")
    assert done.exit_code == 1
    assert "holds the source itself" in done.stderr
    assert load_image(folders / "images" / "0.jpg").shape == (30, 40, 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [("[1]", "holds no options"), ("{", "not valid JSON"), ("[" * 9999, "not valid JSON (nested too deeply)")],
)
def test_a_strange_record_is_named(folders, tmp_path, content, message):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "preprocess.json").write_text(content)
    done = seg_data("preprocess", folders, tmp_path / "out")
    assert done.exit_code == 1
    assert re.match(rf"error: .*preprocess\.json: {re.escape(message)}.*\n$", done.stderr)


def test_two_pictures_of_one_name_are_refused(folders, tmp_path):
    shutil.copytree(folders, tmp_path / "more")
    listing = tmp_path / "list.txt"
    listing.write_text("data/images/0.jpg data/masks/0.png\nmore/images/0.jpg more/masks/0.png\n")
    with pytest.raises(ImageError, match=r"more/images/0\.jpg: would get the same name as .*data/images/0\.jpg"):
        prepare_dataset(listing, tmp_path / "out", PrepareOptions())


def test_pictures_are_cropped_to_the_classes_asked_for(folders, tmp_path):
    arguments = ("crop-by-mask", folders, tmp_path / "out", "--labels", "celebamask_hq", "--classes", "hair", "--json")
    done = seg_data(*arguments, "--margin", "0.1")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["cropped"] == 3
    assert [path.rsplit("/", 1)[1] for path in report["without"]] == ["0.jpg"]
    mask = load_mask(tmp_path / "out/masks/1.png")
    np.testing.assert_array_equal(mask, load_mask(folders / "masks/1.png")[9:21, 5:17])
    image, original = load_image(tmp_path / "out/images/1.jpg"), load_image(folders / "images/1.jpg")[9:21, 5:17]
    assert np.abs(image.astype(int) - original).mean() < 4
    done = seg_data(*arguments[:-2], "hare")
    assert "error: classes: unknown class 'hare'; did you mean 'hair'?" in done.stderr


def test_crops_of_two_runs_do_not_mix(folders, tmp_path):
    arguments = ("crop-by-mask", folders, tmp_path / "out", "--labels", "celebamask_hq", "--classes")
    for _ in range(2):
        assert seg_data(*arguments, "hair").exit_code == 0
    done = seg_data(*arguments, "skin")
    assert done.exit_code == 1
    assert "out: was made with classes ['hair'], not ['skin']; choose another directory" in done.stderr
    (folders / "images" / "3.jpg").unlink()
    (folders / "masks" / "3.png").unlink()
    done = seg_data(*arguments, "hair")
    assert "out: holds 2 files that this run would not write, the first images/3.jpg" in done.stderr


@pytest.mark.parametrize(
    ("margin", "square", "expected"),
    [(0, False, (2, 3, 4, 10)), (0.5, False, (0, 0, 8, 18)), (0, True, (0, 3, 9, 10)), (9, False, (0, 0, 20, 30))],
)
def test_boxes_grow_by_their_margin_and_stay_in_the_picture(margin, square, expected):
    mask = np.zeros((20, 30), np.uint8)
    mask[2:6, 3:13] = 5
    box = bounding_box(mask, [5, 6], margin, square)
    assert (box.top, box.left, box.height, box.width) == expected
    assert bounding_box(mask, [7], margin) is None


def test_labels_are_asked_for_where_a_layout_names_none(folders, tmp_path):
    done = seg_data("crop-by-mask", folders, tmp_path / "out", "--classes", "hair")
    assert done.exit_code == 1
    assert "the layout folders names no classes; add --labels" in done.stderr
