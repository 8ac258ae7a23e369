"""A data set to subclass, as the older engine's users wrote theirs; training takes it like its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from seg_core.errors import ConfigError
from seg_core.label_merge import merge_labels
from seg_core.labels import LabelSet
from seg_core.preprocessing import Preprocessor, normalisation_tables
from seg_core.sample_layouts import list_samples
from seg_core.samples import SamplePair, load_pair
from seg_core.spec import PreprocessSpec
from seg_train.transforms import Compose, Sample

UInt8 = npt.NDArray[np.uint8]
Mode = Literal["train", "val", "test"]

# How names tell the sides of a body apart, as prefix or suffix: first one side, then the other.
_SIDES = (("left_", "right_"), ("l_", "r_"), ("_left", "_right"), ("_l", "_r"))


class SegmentationDataset(Dataset[tuple[Tensor, Tensor]]):
    """Pairs under one root or several, resized to the network and, in mode "train", changed by `trans_train`.

    A subclass says in `classes_name` what the classes are, {index: name} or {name: index}, and may say in `merge` how
    they are grouped (a built-in merge, a JSON file, or {new: [old names]}); `n_classes` is their number after that.
    Classes whose names differ in left and right (or l_ and r_) trade places when a picture is mirrored, unless
    `flip_pairs` lists the names that do. Items are (image uint8 (h, w, C) in the order of `color`, mask uint8 (h, w)),
    which `to_tensor` normalises for those who iterate themselves; training does that on its device.

    Items are keyed by (position in the stream, index), and depend on `seed` and position alone, whichever worker makes
    them; a plain index stands for its place in the current epoch (`set_epoch`).
    """

    classes_name: Mapping[Any, Any] = {}
    merge: str | Mapping[str, list[str]] | None = None
    flip_pairs: tuple[tuple[str, str], ...] | None = None
    ignore_index: int = 255
    color: Literal["rgb", "bgr", "gray"] = "rgb"
    mean: tuple[float, ...] = PreprocessSpec((1, 1)).mean
    std: tuple[float, ...] = PreprocessSpec((1, 1)).std

    def __init__(
        self,
        rootpth: str | Path | Sequence[str | Path],
        n_classes: int,
        cropsize: tuple[int, int],
        mode: Mode = "train",
        resize: tuple[int, int] = (256, 256),
    ) -> None:
        """List the pairs under `rootpth`, or several one after another; `cropsize` and `resize` are (height, width).

        The split that `mode` names is taken where a root holds several. `roots` keeps all of them as paths and
        `rootpth` the first. Raises ConfigError for a wrong mode, size or number of classes, and ImageError when the
        pairs are not as they should be.
        """
        self._check_arguments(cropsize, mode, resize)
        self.roots = (Path(rootpth),) if isinstance(rootpth, (str, Path)) else tuple(map(Path, rootpth))
        if not self.roots:
            raise ConfigError(f"{type(self).__name__}: rootpth: expected a path or several, found none")
        self.rootpth = self.roots[0]
        self.n_classes = n_classes
        self.cropsize = cropsize
        self.mode = mode
        self.resize = resize
        self.seed = 0
        self.epoch = 0
        self.source_labels = self._read_classes()
        self.labels, self._table = self.source_labels, None
        if self.merge is not None:
            self.labels, self._table = merge_labels(self.source_labels, self.merge)
        if self.labels.num_classes != n_classes:
            raise ConfigError(
                f"{type(self).__name__}: n_classes is {n_classes} but there are {self.labels.num_classes}: "
                f"{', '.join(self.labels.names)}"
            )
        self.preprocess = PreprocessSpec(resize, self.color, mean=self.mean, std=self.std)
        self._preprocessor = Preprocessor(self.preprocess)
        self._normalised = torch.from_numpy(normalisation_tables(self.preprocess))
        self.trans_train: Compose | None = None
        self.pairs = self.find_pairs()

    def find_pairs(self) -> list[SamplePair]:
        """Return the pairs; override it for files that lie in no known layout."""
        return [pair for root in self.roots for pair in list_samples(root, split=self.mode)]

    def to_tensor(self, image: UInt8 | Tensor) -> Tensor:
        """Return an item's image uint8 (h, w, C) as float32 (C, h, w), normalised as the network wants it."""
        pixels = torch.as_tensor(image).permute(2, 0, 1).to(torch.int64)
        return torch.stack([table[plane] for table, plane in zip(self._normalised, pixels, strict=True)])

    def set_epoch(self, epoch: int) -> None:
        """Let plain indices draw other changes than in other epochs."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, draw: tuple[int, int] | int) -> tuple[Tensor, Tensor]:
        position, index = draw if isinstance(draw, tuple) else (self.epoch * len(self) + draw, draw)
        if not 0 <= index < len(self):
            raise IndexError(index)
        image_bgr, mask = load_pair(self.pairs[index], self.source_labels)
        if self._table is not None:
            mask = self._table[mask]
        canvas, geometry = self._preprocessor.to_canvas(image_bgr)
        target = self._preprocessor.resize_mask(mask, geometry, self.labels.ignore_index)
        preprocessor = self._preprocessor
        if self.mode == "train" and self.trans_train is not None:
            rng = np.random.default_rng((self.seed, position))
            sample = self.trans_train(Sample(canvas, target, self.labels), rng)
            canvas, target = sample.image_bgr, sample.mask
            size_hw = (target.shape[0], target.shape[1])
            preprocessor = Preprocessor(replace(self.preprocess, size_hw=size_hw))
        pixels = preprocessor.to_pixels(canvas)
        return torch.from_numpy(np.ascontiguousarray(pixels)), torch.from_numpy(np.ascontiguousarray(target))

    def _check_arguments(self, cropsize: object, mode: object, resize: object) -> None:
        place = type(self).__name__
        if mode not in get_args(Mode):
            raise ConfigError(f"{place}: mode: expected train, val or test, found {mode!r}")
        for name, size_hw in (("cropsize", cropsize), ("resize", resize)):
            sides = size_hw if isinstance(size_hw, (tuple, list)) else ()
            if len(sides) != 2 or any(type(side) is not int or side < 1 for side in sides):
                raise ConfigError(f"{place}: {name}: expected (height, width) in pixels, found {size_hw!r}")

    def _read_classes(self) -> LabelSet:
        place = f"{type(self).__name__}.classes_name"
        by_index = {
            (key if isinstance(key, int) else value): (value if isinstance(key, int) else key)
            for key, value in self.classes_name.items()
        }
        if sorted(by_index) != list(range(len(by_index))) or len(by_index) < 2:
            raise ConfigError(f"{place}: expected the indices 0, 1, 2, … each with a name, found {self.classes_name}")
        names = tuple(str(by_index[index]) for index in range(len(by_index)))
        pairs = self.flip_pairs if self.flip_pairs is not None else _sides_of(names)
        strange = [name for pair in pairs for name in pair if name not in names]
        if strange:
            raise ConfigError(f"{type(self).__name__}.flip_pairs: {strange[0]!r} is no class of classes_name")
        flips = tuple((names.index(left), names.index(right)) for left, right in pairs)
        return LabelSet(names, ignore_index=self.ignore_index, flip_pairs=flips)


def _sides_of(names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Return the pairs of names that differ in their side alone."""
    pairs = []
    for left, right in _SIDES:
        for name in names:
            other = ""
            if left.endswith("_") and name.startswith(left):
                other = right + name.removeprefix(left)
            elif left.startswith("_") and name.endswith(left):
                other = name.removesuffix(left) + right
            if other in names:
                pairs.append((name, other))
    return tuple(pairs)
