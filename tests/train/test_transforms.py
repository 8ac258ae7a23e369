import numpy as np
import pytest

from seg_core.errors import ConfigError
from seg_core.labels import LabelSet
from seg_train.transforms import ColorJitter, Compose, HorizontalFlip, RandomCrop, RandomScale, Sample

LABELS = LabelSet(("bg", "left_eye", "right_eye"), ignore_index=9, flip_pairs=((1, 2),))


def rng(seed=0):
    return np.random.default_rng(seed)


def sample(height=20, width=30):
    """A picture that says where its pixels were, and a mask with the left half 1 and the right half 2."""
    rows, columns = np.mgrid[:height, :width]
    image = np.stack([rows, columns, np.full_like(rows, 50)], -1).astype(np.uint8)
    return Sample(image, np.where(columns < width // 2, 1, 2).astype(np.uint8), LABELS)


def test_the_flip_mirrors_both_and_exchanges_left_and_right():
    before = sample()
    after = HorizontalFlip(p=1.0)(before, rng())
    np.testing.assert_array_equal(after.image_bgr, before.image_bgr[:, ::-1])
    np.testing.assert_array_equal(after.mask, before.mask)  # halves trade places, and so do their names
    assert HorizontalFlip(p=0.0)(before, rng()) is before


def test_scaling_interpolates_colours_and_never_labels():
    before = sample()
    after = RandomScale([1.5])(before, rng())
    assert after.mask.shape == after.image_bgr.shape[:2] == (30, 45)
    assert set(np.unique(after.mask)) == {1, 2}
    seen = {RandomScale((0.5, 1.0, 2.0))(before, rng(seed)).mask.shape for seed in range(20)}
    assert seen == {(10, 15), (20, 30), (40, 60)}


def test_a_crop_takes_the_same_place_of_both():
    before = sample()
    seen = set()
    for seed in range(20):
        after = RandomCrop((8, 10))(before, rng(seed))
        top, left = (int(value) for value in after.image_bgr[0, 0, :2])
        np.testing.assert_array_equal(after.image_bgr, before.image_bgr[top : top + 8, left : left + 10])
        np.testing.assert_array_equal(after.mask, before.mask[top : top + 8, left : left + 10])
        seen.add((top, left))
    assert len(seen) > 10


@pytest.mark.parametrize("size_hw", [(24, 40), (24, 10), (8, 40)])
def test_what_a_crop_lacks_is_grey_and_ignored(size_hw):
    before = sample()
    after = RandomCrop(size_hw)(before, rng(3))
    assert after.mask.shape == after.image_bgr.shape[:2] == size_hw
    inside = after.mask != 9
    assert inside.sum() == min(20, size_hw[0]) * min(30, size_hw[1])
    assert (after.image_bgr[~inside] == 114).all()
    assert (after.image_bgr[inside][:, 2] == 50).all()


def test_colours_change_and_masks_do_not():
    before = sample()
    kept = before.image_bgr.copy()
    after = ColorJitter(brightness=0.5, contrast=0.5, saturation=0.5)(before, rng())
    assert after.mask is before.mask
    assert (after.image_bgr != before.image_bgr).any()
    np.testing.assert_array_equal(before.image_bgr, kept)
    np.testing.assert_array_equal(ColorJitter()(before, rng()).image_bgr, kept)


def test_each_colour_factor_does_what_its_name_says():
    image = np.zeros((8, 8, 3), np.uint8)
    image[:4], image[4:] = (40, 60, 80), (100, 120, 140)
    before = Sample(image, np.zeros((8, 8), np.uint8), LABELS)

    def after(seed=0, **most):
        return ColorJitter(**most)(before, rng(seed)).image_bgr.astype(float)

    ratio = after(brightness=0.5) / image
    assert ratio.std() < 0.01  # one factor for all
    assert abs(ratio.mean() - 1) > 0.02
    assert after(contrast=0.9).mean() == pytest.approx(image.mean(), abs=1.5)  # about the mean, which stays
    assert after(contrast=0.9).std() != pytest.approx(image.std(), abs=2)
    grey = image @ (0.114, 0.587, 0.299)
    coloured = after(saturation=0.9)
    assert coloured @ (0.114, 0.587, 0.299) == pytest.approx(grey, abs=1)
    assert np.ptp(coloured, axis=-1).mean() != pytest.approx(np.ptp(image, axis=-1).mean(), abs=2)


def test_a_chain_is_decided_by_its_generator():
    chain = Compose([ColorJitter(0.4, 0.4, 0.4), HorizontalFlip(), RandomScale((0.75, 1.5)), RandomCrop((16, 16))])
    first, second, third = (chain(sample(), rng(seed)) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first.image_bgr, second.image_bgr)
    np.testing.assert_array_equal(first.mask, second.mask)
    assert (first.image_bgr != third.image_bgr).any()
    assert chain(sample()).mask.shape == (16, 16)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ColorJitter(contrast=-1), r"ColorJitter: contrast: expected at least 0, found -1"),
        (lambda: RandomScale(()), r"RandomScale: expected positive factors"),
        (lambda: RandomScale((1, 0)), r"RandomScale: expected positive factors"),
        (lambda: RandomCrop((0, 4)), r"RandomCrop: expected \(height, width\), found \(0, 4\)"),
    ],
)
def test_wrong_parameters_are_named(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
