"""The class that users subclass, and the page that shows how."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from seg_core.errors import ConfigError, ImageError
from seg_core.images import load_image, save_image
from seg_core.label_merge import MERGES, merge_labels
from seg_core.labels import CELEBAMASK_HQ
from seg_core.models.checkpoint import load_checkpoint
from seg_core.preprocessing import Preprocessor
from seg_core.spec import PreprocessSpec
from seg_train.segmentation_dataset import SegmentationDataset
from seg_train.transforms import Compose, HorizontalFlip

PAGE = (Path(__file__).parents[2] / "docs/how-to/bring-your-own-dataset.md").read_text(encoding="utf-8")


class Eyes(SegmentationDataset):
    classes_name: Mapping[str, int] = {"bg": 0, "l_eye": 1, "r_eye": 2}

    def __init__(self, rootpth, n_classes=3, cropsize=(16, 16), mode="train", resize=(32, 32)):
        super().__init__(rootpth, n_classes, cropsize, mode, resize)
        self.trans_train = Compose([HorizontalFlip(p=1.0)])


@pytest.fixture
def root(tmp_path):
    rng = np.random.default_rng(0)
    for index in range(4):
        image = np.kron(rng.integers(0, 256, (5, 6, 3)), np.ones((8, 8, 1))).astype(np.uint8)
        mask = np.kron(rng.integers(0, 3, (5, 6)), np.ones((8, 8))).astype(np.uint8)
        for folder, pixels in (("images", image), ("masks", mask)):
            (tmp_path / folder).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / folder / f"{index}.png"), pixels)
    return tmp_path


def doc_class():
    code = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    space = {}
    exec(code[0], space)
    return space, code[1], code[2]


def test_the_page_does_what_it_says(root):
    space, use, _ = doc_class()
    exec(use.replace('"DATA"', repr(str(root))), space)
    faces, image, mask, tensor = (space[name] for name in ("faces", "image", "mask", "tensor"))
    assert (image.dtype, tuple(image.shape)) == (torch.uint8, (224, 224, 3))
    assert (mask.dtype, tuple(mask.shape)) == (torch.uint8, (224, 224))
    assert (tensor.dtype, tuple(tensor.shape)) == (torch.float32, (3, 224, 224))
    assert faces.labels.names == tuple(MERGES["face_6"])
    assert set(np.unique(mask)) <= {*range(6), 255}


@pytest.fixture
def portraits(tmp_path, samples_dir):
    """The bundled photographs, with faces drawn where they roughly are."""
    for split in ("train", "val"):
        for name in ("astronaut.png", "grace_hopper.png", "obama.jpg"):
            image = load_image(samples_dir / name)
            height, width = image.shape[:2]
            mask = np.zeros((height, width), np.uint8)
            cv2.ellipse(mask, (width // 2, height // 4), (width // 6, height // 5), 0, 0, 360, 1, -1)
            for folder in ("images", "masks"):
                (tmp_path / split / folder).mkdir(parents=True, exist_ok=True)
            save_image(tmp_path / split / "images" / name, image)
            save_image(tmp_path / split / "masks" / f"{name.split('.')[0]}.png", mask)
    return tmp_path


def test_the_page_trains(portraits, capsys):
    space, _, train = doc_class()
    config = portraits / "config.yaml"
    config.write_text(
        f"data: {{train: x, val: x, workers: 0}}\noutput: {portraits / 'run'}\ndevice: cpu\n"
        "preprocess: {size_hw: [256, 256]}\nsolver: {steps: 1, batch_size: 2, precision: fp32, warmup_steps: 0}\n"
    )
    exec(train.replace('"DATA"', repr(str(portraits))).replace('"CONFIG"', repr(str(config))), space)
    assert "train_images=3" in capsys.readouterr().out
    labels = load_checkpoint(portraits / "run" / "last.pth").labels
    assert labels.names == space["FaceMask"](portraits).labels.names
    with pytest.raises(ConfigError, match=r"FaceMask: its classes are background, skin, brows.*data\.merge make"):
        exec(
            train.replace('"DATA"', repr(str(portraits)))
            .replace('"CONFIG"', repr(str(config)))
            .replace("face_6", "face_8"),
            space,
        )


def test_the_pages_tables_are_what_the_code_knows():
    rows = dict(re.findall(r"^\| `(face_\d+)` \| (.*) \|$", PAGE, re.MULTILINE))
    assert rows.keys() == MERGES.keys()
    for name, text in rows.items():
        shown = [part.strip() for part in re.sub(r"\([^)]*\)", "", text).split(",")]
        assert tuple(shown) == merge_labels(CELEBAMASK_HQ, name)[0].names
    (groups,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    merged, table = merge_labels(CELEBAMASK_HQ, json.loads(groups))
    assert merged.names == ("background", "face", "eyes")
    assert table[10] == 255


def test_evaluation_sees_the_pair_as_the_contract_makes_it(root):
    data = Eyes(root, mode="val")
    image, mask = data[1]
    spec = PreprocessSpec((32, 32))
    pixels = cv2.imread(str(root / "images" / "1.png"))
    canvas, geometry = Preprocessor(spec).to_canvas(pixels)
    np.testing.assert_array_equal(image, canvas[..., ::-1])
    truth = cv2.imread(str(root / "masks" / "1.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(mask, geometry.project_labels(truth, 255))
    expected = Preprocessor(spec).to_tensor(canvas)[0]
    np.testing.assert_array_equal(data.to_tensor(image), expected)


def test_mirroring_exchanges_the_sides_that_the_names_tell(root):
    data = Eyes(root)
    assert data.labels.flip_pairs == ((1, 2),)
    image, mask = data[0]
    plain_image, plain_mask = Eyes(root, mode="val")[0]
    np.testing.assert_array_equal(image, plain_image.numpy()[:, ::-1])
    swap = np.array([0, 2, 1, *range(3, 256)], np.uint8)
    np.testing.assert_array_equal(mask, swap[plain_mask.numpy()[:, ::-1]])


def test_items_depend_on_seed_and_position_alone(root):
    space, _, _ = doc_class()
    data = space["FaceMask"](root)
    first, again, later = data[7, 2], data[7, 2], data[8, 2]
    assert torch.equal(first[0], again[0])
    assert not torch.equal(first[0], later[0])
    plain = data[2][0]
    data.set_epoch(1)
    assert not torch.equal(plain, data[2][0])
    assert torch.equal(data[2][0], data[1 * 4 + 2, 2][0])
    data.seed = 1
    assert not torch.equal(first[0], data[7, 2][0])


def test_a_plain_loop_over_it_ends_and_batches(root):
    batches = list(DataLoader(Eyes(root), batch_size=2))
    assert [tuple(image.shape) for image, _ in batches] == [(2, 32, 32, 3)] * 2
    assert len(list(Eyes(root))) == 4


def test_the_split_is_chosen_by_the_mode(root, tmp_path):
    whole = tmp_path / "whole"
    for split in ("train", "val"):
        (whole / split).mkdir(parents=True)
        for folder in ("images", "masks"):
            (whole / split / folder).symlink_to(root / folder)
    assert Eyes(whole, mode="val").pairs[0].image.parts[-3] == "val"
    with pytest.raises(ImageError, match=r"whole: has no folder test/"):
        Eyes(whole, mode="test")


def test_several_roots_are_read_one_after_another(root, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    for folder in ("images", "masks"):
        (other / folder).mkdir()
        (other / folder / "9.png").symlink_to(root / folder / "3.png")
    data = Eyes([str(other), root], mode="val")
    assert [pair.image.name for pair in data.pairs] == ["9.png", "0.png", "1.png", "2.png", "3.png"]
    assert torch.equal(data[0][0], data[4][0])
    with pytest.raises(ConfigError, match="Eyes: rootpth: expected a path or several, found none"):
        Eyes([])


@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        ({}, {"resize": 32}, r"Eyes: resize: expected \(height, width\) in pixels, found 32"),
        ({}, {"cropsize": (16,)}, r"Eyes: cropsize: expected \(height, width\) in pixels, found \(16,\)"),
        ({}, {"mode": "training"}, r"Eyes: mode: expected train, val or test, found 'training'"),
        ({}, {"n_classes": 2}, r"Eyes: n_classes is 2 but there are 3: bg, l_eye, r_eye"),
        ({"classes_name": {0: "a", 2: "b"}}, {}, r"Eyes\.classes_name: expected the indices 0, 1, 2, …"),
        ({"classes_name": {}}, {}, r"Eyes\.classes_name: expected the indices"),
        ({"flip_pairs": (("l_eye", "r_ear"),)}, {}, r"Eyes\.flip_pairs: 'r_ear' is no class"),
        ({"merge": {"eyes": ["l_eye", "r_eye"], "rest": []}}, {}, r"data\.merge: rest: has no old classes"),
    ],
)
def test_contradictions_are_named(root, monkeypatch, changes, arguments, message):
    for name, value in changes.items():
        monkeypatch.setattr(Eyes, name, value)
    with pytest.raises(ConfigError, match=message):
        Eyes(root, **arguments)
