"""A run on a data set of every layout, by the command, to a checkpoint with the classes of its masks."""

import json
import re

import cv2
import numpy as np
import pytest
import small_runs
from click.testing import CliRunner

from seg_core.cli.datasets import LAYOUTS
from seg_core.labels import LABEL_SETS
from seg_core.models.checkpoint import load_checkpoint
from seg_train.cli import train_command

pytestmark = pytest.mark.usefixtures("small_network")

SPLITS = (("train", 4), ("val", 2))


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


def draw(index, values):
    """A picture of stripes with a mask that holds each of `values`."""
    mask = np.repeat(np.roll(np.array(values, np.uint8), index), 64 // len(values))
    mask = np.ascontiguousarray(np.broadcast_to(np.resize(mask, 64), (64, 64)))
    return np.dstack([mask * 40, 255 - mask * 30, mask * 20]).astype(np.uint8), mask


def pairs(values):
    for split, count in SPLITS:
        for index in range(count):
            name = f"{split}{index}"
            yield split, name, *draw(index, values)


def folders(root):
    for split, name, image, mask in pairs((0, 1, 2)):
        write(root / split / "images" / f"{name}.jpg", image)
        write(root / split / "masks" / f"{name}.png", mask)
    return root, root, small_runs.LABELS


def lists(root):
    for split, name, image, mask in pairs((0, 1, 2)):
        write(root / f"{name}.png", image)
        write(root / f"{name}_mask.png", mask)
        with (root / f"{split}.csv").open("a") as stream:
            stream.write(f"{name}.png,{name}_mask.png\n")
    return root / "train.csv", root / "val.csv", small_runs.LABELS


def camvid(root):
    for split, name, image, mask in pairs((0, 4, 10, 11)):  # 11 is void
        write(root / split / f"{name}.png", image)
        write(root / f"{split}annot" / f"{name}.png", mask)
    return root, root, "camvid_11"


def cityscapes(root):
    for split, name, image, mask in pairs((7, 33, 24, 0)):  # road, bicycle, person, unlabelled
        write(root / "leftImg8bit" / split / "bonn" / f"bonn_{name}_leftImg8bit.png", image)
        write(root / "gtFine" / split / "bonn" / f"bonn_{name}_gtFine_labelIds.png", mask)
    return root, root, "cityscapes_19"


def celebamask_hq(root):
    rows = ["idx orig_idx orig_file"]
    for number, (split, _, image, mask) in enumerate(pairs((0, 1, 13))):
        write(root / "CelebA-HQ-img" / f"{number}.jpg", image)
        for part, value in (("skin", 1), ("hair", 13)):
            white = np.where(mask == value, 255, 0).astype(np.uint8)
            write(root / "CelebAMask-HQ-mask-anno" / "0" / f"{number:05d}_{part}.png", np.dstack([white] * 3))
        rows.append(f"{number} {1000 if split == 'train' else 170000} x.jpg")  # by CelebA's own split
    (root / "CelebA-HQ-to-CelebA-mapping.txt").write_text("\n".join(rows))
    return root, root, "celebamask_hq"


DRAWN = {"folders": folders, "list": lists, "camvid": camvid, "cityscapes": cityscapes, "celebamask_hq": celebamask_hq}

SEEN = {
    "folders": {"background", "left", "right"},
    "list": {"background", "left", "right"},
    "camvid": {"sky", "pavement", "bicyclist"},
    "cityscapes": {"road", "person", "bicycle"},
    "celebamask_hq": {"background", "skin", "hair"},
}


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "auto"])
@pytest.mark.parametrize("stated", [False, True])
def test_a_run(layout, stated, tmp_path):
    root = tmp_path / "data"
    root.mkdir()
    train, val, labels = DRAWN[layout](root)
    if not isinstance(labels, str):
        (root / "labels.json").write_text(json.dumps(labels))
        names, labels = labels["names"], str(root / "labels.json")
    else:
        names = LABEL_SETS[labels].names
    data = {"train": str(train), "val": str(val), "labels": labels, "layout": layout if stated else "auto"}
    config = small_runs.write_config(tmp_path, data=data, solver={"steps": 2})
    done = CliRunner().invoke(train_command, ["--config", str(config), "--json"])
    assert done.exit_code == 0, done.output
    assert "training on cpu: 4 images, 2 for validation" in done.stderr
    checkpoint = load_checkpoint(tmp_path / "run" / "best.pth")
    assert checkpoint.labels.names == tuple(names)
    pixels = re.findall(r"^  (\w+) +IoU: .* pixels: (\d+)$", done.stderr, re.MULTILINE)
    assert {name for name, count in pixels if int(count)} == SEEN[layout]


def test_every_layout_is_drawn():
    assert {"auto", *DRAWN} == set(LAYOUTS)
