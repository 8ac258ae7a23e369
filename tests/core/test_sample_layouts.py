"""Data sets in every layout, drawn small, and what is said about those that are not as they should be."""

import cv2
import numpy as np
import pytest

from seg_core.errors import ConfigError, ImageError
from seg_core.labels import CAMVID_11, CELEBAMASK_HQ, CITYSCAPES_19
from seg_core.mask_formats import CELEBAMASK_PARTS, cityscapes_table
from seg_core.sample_layouts import detect_layout, find_samples, list_samples
from seg_core.samples import BadPairError, SamplePair, load_pair


def write(path, pixels=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.zeros((4, 6), np.uint8) if pixels is None else pixels)
    return path


def picture(height=4, width=6, value=7):
    return np.full((height, width, 3), value, np.uint8)


def part_mask(*rows, size=(4, 6)):
    """A colour file with white rows, as CelebAMask-HQ stores its parts."""
    mask = np.zeros((*size, 3), np.uint8)
    mask[list(rows)] = 255
    return mask


@pytest.fixture
def celebamask(tmp_path):
    root = tmp_path / "CelebAMask-HQ"
    for face in (0, 3, 2000):
        write(root / "CelebA-HQ-img" / f"{face}.jpg", picture(8, 12))
        anno = root / "CelebAMask-HQ-mask-anno" / str(face // 2000)
        write(anno / f"{face:05d}_skin.png", part_mask(0, 1, 2))
        write(anno / f"{face:05d}_hair.png", part_mask(0))
        write(anno / f"{face:05d}_l_eye.png", part_mask(1))
    rows = ["idx orig_idx orig_file", "0 119613 119614.jpg", "3 162771 162772.jpg", "2000 190000 190001.jpg"]
    (root / "CelebA-HQ-to-CelebA-mapping.txt").write_text("\n".join(rows))
    return root


def test_part_masks_become_index_masks_with_later_classes_on_top(celebamask):
    pairs = list_samples(celebamask)
    assert [pair.image.name for pair in pairs] == ["0.jpg", "3.jpg", "2000.jpg"]
    image_bgr, mask = load_pair(pairs[2], CELEBAMASK_HQ)
    assert mask[:, 0].tolist() == [13, 4, 1, 0]  # hair over skin, an eye over skin, skin, background
    assert image_bgr.shape == (4, 6, 3)  # the photograph has twice the size of its masks


def test_the_parts_are_named_as_the_classes():
    shown = dict(zip(CELEBAMASK_PARTS, CELEBAMASK_HQ.names[1:], strict=True))
    assert shown == {
        "skin": "skin", "nose": "nose", "eye_g": "eye_glasses", "l_eye": "left_eye", "r_eye": "right_eye",
        "l_brow": "left_brow", "r_brow": "right_brow", "l_ear": "left_ear", "r_ear": "right_ear",
        "mouth": "inner_mouth", "u_lip": "upper_lip", "l_lip": "lower_lip", "hair": "hair", "hat": "hat",
        "ear_r": "earring", "neck_l": "necklace", "neck": "neck", "cloth": "cloth",
    }  # fmt: skip


def test_celebas_own_splits_come_from_its_mapping(celebamask):
    found = {split: [pair.image.stem for pair in list_samples(celebamask, split=split)] for split in ("train", "val")}
    assert found == {"train": ["0"], "val": ["3"]}
    assert [pair.image.stem for pair in list_samples(celebamask, split="test")] == ["2000"]
    with pytest.raises(ImageError, match=r"the split 'dev' is empty \(layout celebamask_hq\)$"):
        list_samples(celebamask, split="dev")
    (celebamask / "CelebA-HQ-to-CelebA-mapping.txt").unlink()
    with pytest.raises(ImageError, match=r"mapping\.txt: needed to tell the split 'train' and not there"):
        list_samples(celebamask, split="train")


def test_faces_without_parts_and_parts_without_face_are_told_apart(celebamask):
    write(celebamask / "CelebA-HQ-img" / "7.jpg", picture())
    write(celebamask / "CelebAMask-HQ-mask-anno" / "0" / "00009_skin.png")
    with pytest.raises(ImageError, match=r"1 of 4 files have no part masks CelebAMask-HQ-mask-anno/.*: 7\.jpg$"):
        list_samples(celebamask)
    listing = find_samples(celebamask)
    assert len(listing.pairs) == 3
    assert [problem.path.name for problem in listing.problems] == ["7.jpg", "00009_skin.png"]


def test_parts_of_other_sizes_are_named(celebamask):
    pair = list_samples(celebamask)[0]
    write(celebamask / "CelebAMask-HQ-mask-anno" / "0" / "00000_hair.png", part_mask(0, size=(5, 6)))
    with pytest.raises(BadPairError, match=r"00000_hair\.png: is 5×6 \(height×width\) but 00000_skin\.png is 4×6"):
        load_pair(pair)


@pytest.fixture
def camvid(tmp_path):
    root = tmp_path / "CamVid"
    for split, names in (("train", "ab"), ("val", "c")):
        for name in names:
            write(root / split / f"{name}.png", picture())
            write(root / f"{split}annot" / f"{name}.png", np.full((4, 6), 11, np.uint8))
    return root


def test_camvid_is_read_by_split_and_by_the_folder_of_one(camvid):
    assert detect_layout(camvid) == detect_layout(camvid / "val") == "camvid"
    assert [pair.image.name for pair in list_samples(camvid, split="train")] == ["a.png", "b.png"]
    (pair,) = list_samples(camvid / "val")
    assert pair.mask == camvid / "valannot" / "c.png"
    assert (load_pair(pair, CAMVID_11)[1] == 11).all()
    with pytest.raises(ImageError, match=r"CamVid: holds several splits; name one: .*CamVid/train or .*CamVid/val$"):
        list_samples(camvid)
    with pytest.raises(ImageError, match=r"CamVid: has no split 'test'; name one: "):
        list_samples(camvid, split="test")


def test_camvids_list_files_find_their_files_on_another_machine(camvid):
    (camvid / "valannot").rename(camvid / "truth")
    (camvid / "val.txt").write_text("/SegNet/CamVid/val/c.png /SegNet/CamVid/truth/c.png\n")
    expected = [SamplePair(camvid / "val" / "c.png", camvid / "truth" / "c.png")]
    assert list_samples(camvid, split="val") == expected
    assert list_samples(camvid / "val.txt") == expected


@pytest.fixture
def cityscapes(tmp_path):
    for split, city, name in (("train", "aachen", "aachen_000000_000019"), ("val", "bonn", "bonn_000001_000019")):
        write(tmp_path / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png", picture())
        ids = np.array([[7, 33, 24, 0, 5, 20]] * 4, np.uint8)
        write(tmp_path / "gtFine" / split / city / f"{name}_gtFine_labelIds.png", ids)
        write(tmp_path / "gtFine" / split / city / f"{name}_gtFine_color.png", picture())
    return tmp_path


def test_cityscapes_ids_become_train_ids(cityscapes):
    for path, split in ((cityscapes, "val"), (cityscapes / "leftImg8bit" / "val", None)):
        (pair,) = list_samples(path, split=split)
        assert pair.kind == "cityscapes_ids"
        assert load_pair(pair, CITYSCAPES_19)[1][0].tolist() == [0, 18, 11, 255, 255, 7]


def test_cityscapes_train_ids_are_taken_as_they_are_and_preferred(cityscapes):
    train_ids = write(cityscapes / "gtFine/val/bonn/bonn_000001_000019_gtFine_labelTrainIds.png")
    assert list_samples(cityscapes, split="val")[0].mask == train_ids
    assert sorted(set(cityscapes_table().tolist())) == [*range(19), 255]


def test_cityscapes_ids_out_of_range_and_frames_without_truth_are_named(cityscapes):
    (pair,) = list_samples(cityscapes, split="train")
    write(pair.mask, np.full((4, 6), 34, np.uint8))
    with pytest.raises(ImageError, match=r"labelIds\.png: holds the id 34; label ids of Cityscapes are 0\.\.33"):
        load_pair(pair)
    pair.mask.unlink()
    with pytest.raises(ImageError, match=r"1 of 1 files have no mask gtFine/train/<city>/<name>_gtFine_labelTrainIds"):
        list_samples(cityscapes, split="train")


@pytest.mark.parametrize(
    ("name", "line"), [("a.txt", "i.png m.png"), ("b.csv", '"i, x.png",m x.png,note'), ("c.lst", "i x.png\tm.png")]
)
def test_lists_take_spaces_tabs_and_commas(tmp_path, name, line):
    for stem in ("i x", "i, x", "i", "m x", "m"):
        write(tmp_path / f"{stem}.png", picture())
    file = tmp_path / name
    file.write_text(f"# a comment\nimage,mask\n\n{line}\n")
    ((image, mask),) = [(pair.image.name, pair.mask.name) for pair in list_samples(file)]
    assert image in line
    assert mask in line


def test_a_line_that_is_no_pair_is_named(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("\ni x.png m x.png\n")
    with pytest.raises(ImageError, match=r"a\.txt: line 2 is 'i x\.png m x\.png'; expected an image and its mask"):
        list_samples(file)


def test_missing_files_of_a_list_are_counted_and_the_first_is_named(tmp_path):
    write(tmp_path / "i.png", picture())
    file = tmp_path / "list.txt"
    file.write_text("i.png i.png\ni.png gone.png\nlost.png i.png\n")
    with pytest.raises(
        ImageError, match=r"list\.txt: 2 of 3 pairs lack a file; first gone\.png \(line 2 of list\.txt\)"
    ):
        list_samples(file)
    assert len(find_samples(file).problems) == 2


def test_folders_may_lie_in_a_folder_of_their_split(tmp_path):
    for split in ("train", "val"):
        write(tmp_path / split / "images" / f"{split}.png", picture())
        write(tmp_path / split / "masks" / f"{split}.png")
    assert [pair.image.stem for pair in list_samples(tmp_path, split="val")] == ["val"]
    assert [pair.image.stem for pair in list_samples(tmp_path / "train")] == ["train"]
    with pytest.raises(ImageError, match=r"did you mean .*train or .*val\?"):
        list_samples(tmp_path)


def test_an_unknown_layout_lists_what_was_looked_for(tmp_path):
    (tmp_path / "stuff").mkdir()
    looked_for = (
        r"not a known data set layout; looked for .*images/ and masks/ \(folders\); CelebA-HQ-img/ .*\(camvid\)"
    )
    with pytest.raises(ImageError, match=looked_for):
        list_samples(tmp_path)
    with pytest.raises(ImageError, match=r"CelebA-HQ-img: no such directory; the layout celebamask_hq has"):
        list_samples(tmp_path, "celebamask_hq")
    with pytest.raises(ConfigError, match=r"layout: unknown 'voc'; known: auto, folders"):
        list_samples(tmp_path, "voc")
    with pytest.raises(ImageError, match=r"nowhere: no such file or directory"):
        list_samples(tmp_path / "nowhere")
