"""Pairing pictures with masks, and the messages for folders that are not as they should be."""

import cv2
import numpy as np
import pytest

from seg_core.errors import ImageError
from seg_core.labels import LabelSet
from seg_core.samples import SamplePair, list_pairs, load_pair

LABELS = LabelSet(("a", "b", "c"), ignore_index=9)


def write(path, pixels=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.zeros((4, 6), np.uint8) if pixels is None else pixels)


@pytest.fixture
def data(tmp_path):
    for stem, suffix in (("b", ".jpg"), ("a", ".webp"), ("c.v2", ".png")):
        write(tmp_path / "images" / (stem + suffix), np.zeros((4, 6, 3), np.uint8))
        write(tmp_path / "masks" / f"{stem}.png")
    return tmp_path


def test_pairs_match_by_stem_whatever_the_suffix_and_are_sorted(data):
    assert [(pair.image.name, pair.mask.name) for pair in list_pairs(data)] == [
        ("a.webp", "a.png"),
        ("b.jpg", "b.png"),
        ("c.v2.png", "c.v2.png"),
    ]


def test_other_files_are_not_taken_for_pictures(data):
    (data / "images" / "notes.txt").write_text("x")
    (data / "masks" / ".hidden.png").write_text("x")
    assert len(list_pairs(data)) == 3


def test_files_without_partner_are_named_and_counted(data):
    for stem in "vwxyz":
        write(data / "images" / f"{stem}.png")
    with pytest.raises(ImageError, match=r"5 of 8 files have no mask masks/<name>\.png: v\.png, w\.png, x\.png, …$"):
        list_pairs(data)
    for stem in "vwxyz":
        (data / "images" / f"{stem}.png").unlink()
    write(data / "masks" / "q.png")
    with pytest.raises(ImageError, match=r"1 of 4 files have no image images/<name>\.\*: q\.png$"):
        list_pairs(data)


def test_two_pictures_for_one_mask_are_refused(data):
    write(data / "images" / "b.png")
    with pytest.raises(ImageError, match=r"b\.png: has the same stem as b\.jpg"):
        list_pairs(data)


def test_missing_folders_say_what_is_expected(data, tmp_path):
    with pytest.raises(ImageError, match=r"nowhere: no such directory; expected one that holds images/ and masks/"):
        list_pairs(tmp_path / "nowhere")
    (data / "masks").rename(data / "labels")
    with pytest.raises(ImageError, match=r"has no folder masks/"):
        list_pairs(data)


def test_the_split_folder_is_suggested(data):
    inner = data / "val"
    inner.mkdir()
    (data / "images").rename(inner / "images")
    with pytest.raises(ImageError, match=r"has no folder images/.*did you mean .*val\?"):
        list_pairs(data)


def test_empty_folders_are_named(data):
    for path in (data / "masks").iterdir():
        path.rename(path.with_suffix(".bmp"))
    with pytest.raises(ImageError, match=r"masks: no \.png masks"):
        list_pairs(data)
    for path in (data / "images").iterdir():
        path.unlink()
    with pytest.raises(ImageError, match=r"images"):
        list_pairs(data)


def test_a_pair_is_read_as_bgr_and_indices(tmp_path):
    pair = SamplePair(tmp_path / "i.png", tmp_path / "m.png")
    write(pair.image, np.full((2, 3, 3), (1, 2, 3), np.uint8))
    write(pair.mask, np.array([[0, 1, 2], [9, 0, 0]], np.uint8))
    image_bgr, mask = load_pair(pair, LABELS)
    assert image_bgr[0, 0].tolist() == [1, 2, 3]
    assert mask.tolist() == [[0, 1, 2], [9, 0, 0]]


def test_sizes_that_differ_name_both_files(tmp_path):
    pair = SamplePair(tmp_path / "i.png", tmp_path / "m.png")
    write(pair.image, np.zeros((2, 3, 3), np.uint8))
    write(pair.mask)
    with pytest.raises(ImageError, match=r"m\.png: the mask is 4×6 .*i\.png is 2×3"):
        load_pair(pair)


def test_labels_that_are_no_classes_are_named_unless_nobody_asked(tmp_path):
    pair = SamplePair(tmp_path / "i.png", tmp_path / "m.png")
    write(pair.image, np.zeros((1, 3, 3), np.uint8))
    write(pair.mask, np.array([[0, 3, 255]], np.uint8))
    assert load_pair(pair)[1].max() == 255
    with pytest.raises(ImageError, match=r"m\.png: the mask holds 3, 255; expected classes 0\.\.2 or 9 \(ignored\)"):
        load_pair(pair, LABELS)
