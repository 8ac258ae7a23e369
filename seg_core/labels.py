"""Class names, colours and symmetries of a segmentation task."""

from __future__ import annotations

import colorsys
import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field

from seg_core.errors import ConfigError, SpecError


@dataclass(frozen=True)
class LabelSet:
    """The classes of a task, indexed as in the masks.

    `palette` holds one (red, green, blue) triple of 0..255 a class. `flip_pairs` lists the class indices
    that trade places when an image is mirrored, such as left and right eye. Pixels equal to
    `ignore_index` in a mask count neither in losses nor in metrics.
    """

    names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...] = ()
    ignore_index: int = 255
    flip_pairs: tuple[tuple[int, int], ...] = field(default=())

    def __post_init__(self) -> None:
        """Fill a missing palette and refuse contradictions; raises SpecError naming the field."""
        if len(set(self.names)) != len(self.names) or len(self.names) < 2:
            raise SpecError("labels.names: expected at least two distinct names")
        if not self.palette:
            object.__setattr__(self, "palette", make_palette(len(self.names)))
        if len(self.palette) != len(self.names):
            raise SpecError(f"labels.palette: {len(self.names)} names but {len(self.palette)} colours")
        if any(not 0 <= value <= 255 for colour in self.palette for value in colour):
            raise SpecError("labels.palette: colours must be 0..255")
        if not 0 <= self.ignore_index <= 255:
            raise SpecError(f"labels.ignore_index: expected 0..255, found {self.ignore_index}")
        flat = [index for pair in self.flip_pairs for index in pair]
        if len(set(flat)) != len(flat) or any(not 0 <= index < len(self.names) for index in flat):
            raise SpecError("labels.flip_pairs: indices must be distinct classes")

    @property
    def num_classes(self) -> int:
        """Number of classes, `ignore_index` not counted."""
        return len(self.names)


def find_classes(names: Sequence[str], labels: LabelSet, where: str = "classes") -> tuple[int, ...]:
    """Return the indices of `names`; raises ConfigError that says `where` an unknown one stands, and the nearest."""
    for name in names:
        if name not in labels.names:
            near = difflib.get_close_matches(name, labels.names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"classes: {', '.join(labels.names)}"
            raise ConfigError(f"{where}: unknown class {name!r}; {hint}")
    return tuple(labels.names.index(name) for name in names)


def make_palette(num_classes: int) -> tuple[tuple[int, int, int], ...]:
    """Return `num_classes` well-separated RGB colours; class 0 is black, as background usually is."""
    colours = [(0, 0, 0)]
    for index in range(1, num_classes):
        hue = (index * 0.618033988749895) % 1.0  # golden-ratio steps never repeat a hue
        lightness = 0.5 if index % 2 else 0.65
        colours.append(tuple(round(255 * c) for c in colorsys.hls_to_rgb(hue, lightness, 0.75)))  # type: ignore[arg-type]
    return tuple(colours)


#: CelebAMask-HQ's 19 classes (Lee et al., MaskGAN, CVPR 2020) in the index order of its usual index masks.
CELEBAMASK_HQ = LabelSet(
    names=(
        "background", "skin", "nose", "eye_glasses", "left_eye", "right_eye", "left_brow", "right_brow",
        "left_ear", "right_ear", "inner_mouth", "upper_lip", "lower_lip", "hair", "hat", "earring",
        "necklace", "neck", "cloth",
    ),
    palette=(
        (0, 0, 0), (255, 214, 64), (255, 138, 76), (60, 120, 216), (44, 160, 80), (120, 210, 100), (140, 86, 75),
        (196, 156, 148), (255, 187, 120), (219, 152, 60), (150, 20, 40), (232, 62, 110), (255, 105, 150),
        (94, 60, 153), (188, 189, 34), (23, 190, 207), (158, 218, 229), (247, 182, 210), (90, 110, 130),
    ),
    flip_pairs=((4, 5), (6, 7), (8, 9)),
)  # fmt: skip

#: The 11-class SegNet split of CamVid (Brostow et al. 2009; Badrinarayanan et al. 2017); 11 is void.
CAMVID_11 = LabelSet(
    names=(
        "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist",
    ),
    palette=(
        (128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0),
        (192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192),
    ),
    ignore_index=11,
)  # fmt: skip

#: Cityscapes' 19 evaluated classes by train id (Cordts et al., CVPR 2016), with its published colours.
CITYSCAPES_19 = LabelSet(
    names=(
        "road", "sidewalk", "building", "wall", "fence", "pole", "traffic_light", "traffic_sign", "vegetation",
        "terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
    ),
    palette=(
        (128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153),
        (250, 170, 30), (220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60), (255, 0, 0),
        (0, 0, 142), (0, 0, 70), (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32),
    ),
)  # fmt: skip

#: Label sets that a configuration may name.
LABEL_SETS = {"celebamask_hq": CELEBAMASK_HQ, "camvid_11": CAMVID_11, "cityscapes_19": CITYSCAPES_19}
