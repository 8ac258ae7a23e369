"""Runs that take moments: a network of three layers and drawn pictures, also as a program of their own.

As a program this is `seg-train` with that network registered, in one thread.
"""

import json

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from seg_core.config.schema import TrainConfig
from seg_core.models import MODELS, SegmentationModel

NETWORK = "small_network"
LABELS = {"names": ["background", "left", "right"], "palette": [[0, 0, 0], [255, 0, 0], [0, 0, 255]],
          "ignore_index": 255, "flip_pairs": [[1, 2]]}  # fmt: skip


class SmallNetwork(SegmentationModel):
    size_divisor = 4
    output_stride = 4

    def __init__(self, num_classes=3, in_channels=3, width=8, norm=True, dropout=0.0):
        super().__init__()
        layers = []
        for before, stride in ((in_channels, 2), (width, 2), (width, 1)):
            layers += [nn.Conv2d(before, width, 3, stride, padding=1)]
            layers += [nn.BatchNorm2d(width)] if norm else []
            layers += [nn.ReLU(), nn.Dropout2d(dropout)]
        self.body = nn.Sequential(*layers)
        self.scores = nn.Conv2d(width, num_classes, 1)

    def forward_heads(self, image):
        scores = self.scores(self.body(image))
        return {"main": scores if self.training else F.interpolate(scores, scale_factor=4.0, mode="bilinear")}


def register():
    MODELS._entries.setdefault(NETWORK, SmallNetwork)


def draw_pair(seed):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 60, (64, 64, 3), dtype=np.uint8)
    mask = np.zeros((64, 64), np.uint8)
    top = int(rng.integers(5, 30))
    for label, left, colour in ((1, 4, (255, 40, 40)), (2, 36, (40, 40, 255))):
        image[top : top + 24, left : left + 22] = colour
        mask[top : top + 24, left : left + 22] = label
    return image, mask


def draw_data(root, train=8, val=3):
    for split, count in (("train", train), ("val", val)):
        for index in range(count):
            image, mask = draw_pair(index + (100 if split == "val" else 0))
            for folder, pixels in (("images", image), ("masks", mask)):
                (root / split / folder).mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(root / split / folder / f"{index}.png"), pixels)
    (root / "labels.json").write_text(json.dumps(LABELS))


def tree_of(root, **changes):
    """Return a configuration as plain values; `changes` are merged into its sections."""
    tree = {
        "data": {"train": str(root / "train"), "val": str(root / "val"), "labels": str(root / "labels.json"),
                 "workers": 0},
        "model": {"name": NETWORK, "options": {}},
        "preprocess": {"size_hw": [64, 64]},
        "solver": {"steps": 4, "batch_size": 2, "warmup_steps": 1, "precision": "fp32", "lr": 1e-3},
        "output": str(root / "run"), "eval_every": 2, "save_every": 2, "log_every": 1, "device": "cpu",
    }  # fmt: skip
    for key, value in changes.items():
        tree[key] = tree[key] | value if isinstance(tree.get(key), dict) else value
    return tree


def config_of(root, **changes):
    return TrainConfig.model_validate(tree_of(root, **changes))


def write_config(root, **changes):
    path = root / "run.yaml"
    path.write_text(json.dumps(tree_of(root, **changes)))  # JSON is YAML
    return path


if __name__ == "__main__":
    from seg_train.cli import train_command

    torch.set_num_threads(1)
    register()
    train_command()
