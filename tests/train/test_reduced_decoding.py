"""JPEGs decoded at a fraction of their size where the zoom allows: the same picture at the same place."""

import cv2
import numpy as np
import pytest

from seg_core.config.schema import AugmentSection
from seg_core.errors import ImageError
from seg_core.images import load_image, save_image
from seg_core.labels import LabelSet
from seg_core.mask_reading import MaskReading
from seg_core.samples import SamplePair, load_pair
from seg_core.spec import PreprocessSpec
from seg_train.augment import Augmenter, allowed_reduction, enlargement
from seg_train.data import PairDataset
from seg_train.pair_source import Places, open_source

LABELS = LabelSet(("dark", "light"))
PLAIN = AugmentSection(
    flip=0, scale=(1, 1), translate=0, rotate_deg=0, brightness=0, contrast=0, saturation=0, hue_deg=0,
    grayscale=0, blur=0, jpeg=0, low_resolution=0,
)  # fmt: skip


@pytest.fixture
def data(tmp_path):
    """A smooth picture of odd size, and where it is light."""
    small = np.random.default_rng(0).integers(0, 256, (6, 8), dtype=np.uint8)
    grey = cv2.resize(small, (199, 151), interpolation=cv2.INTER_CUBIC)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    save_image(tmp_path / "images" / "a.jpg", cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR))
    save_image(tmp_path / "masks" / "a.png", (grey > 127).astype(np.uint8))
    return tmp_path


def datasets(data, options, size_hw):
    source = open_source(Places((data,)), MaskReading(LABELS))
    augmenter = Augmenter(options, LABELS)
    return [PairDataset(source, PreprocessSpec(size_hw), augmenter, reduced=reduced) for reduced in (False, True)]


@pytest.mark.parametrize("size_hw", [(75, 99), (36, 48), (18, 24), (151, 199)])
def test_it_is_the_same_picture_at_the_same_place(data, size_hw):
    full, reduced = datasets(data, PLAIN.model_copy(update={"rotate_deg": 10.0}), size_hw)
    for position in range(4):
        (image, mask), (fast, fast_mask) = full[position, 0], reduced[position, 0]
        np.testing.assert_array_equal(mask, fast_mask)
        image, fast = image.numpy().astype(int), fast.numpy().astype(int)
        inside = mask.numpy() != 255
        inside[[0, -1]] = inside[:, [0, -1]] = False
        error = np.abs(image - fast)[inside].mean()
        assert error < 4
        for shift, axis in ((1, 0), (-1, 0), (1, 1), (-1, 1)):
            assert np.abs(image - np.roll(fast, shift, axis))[inside].mean() > error


def test_pictures_are_decoded_only_as_small_as_they_are_shown(data, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "seg_core.samples.load_image", lambda path, reduce=1: seen.append(reduce) or load_image(path, reduce)
    )
    for scale, expected in (((1, 1), 2), ((1.05, 1.05), 1), ((0.45, 0.45), 4), ((0.2, 0.2), 8)):
        _, reduced = datasets(data, PLAIN.model_copy(update={"scale": scale}), (75, 99))
        reduced[0, 0]
        assert seen.pop() == expected
    full, _ = datasets(data, PLAIN, (75, 99))
    full[0, 0]
    assert seen.pop() == 1


def test_what_may_be_reduced_is_said_by_the_largest_scale():
    assert [allowed_reduction(np.diag([scale, 0.1, 1.0])) for scale in (1.0, 0.51, 0.5, 0.3, 0.25, 0.12)] == [
        1,
        1,
        2,
        2,
        4,
        8,
    ]
    np.testing.assert_allclose(enlargement(2) @ [0, 0, 1], [0.5, 0.5, 1])  # the first pixel of two covers both


def test_other_formats_and_sizes_that_differ(data):
    pair = SamplePair(data / "images" / "a.jpg", data / "masks" / "a.png")
    assert load_pair(pair, LABELS, lambda _: 2)[0].shape == (76, 100, 3)
    png = SamplePair(data / "images" / "b.png", pair.mask)
    save_image(png.image, load_image(pair.image))
    assert load_pair(png, LABELS, lambda _: 2)[0].shape == (151, 199, 3)
    save_image(pair.mask, np.zeros((150, 190), np.uint8))
    with pytest.raises(ImageError, match=r"a\.png: the mask is 150×190"):
        load_pair(pair, LABELS, lambda _: 2)
