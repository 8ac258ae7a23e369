"""The interval of a mean IoU over pictures, against resampling done the slow way."""

import numpy as np
import pytest

from seg_core import bootstrap
from seg_core.bootstrap import Interval
from seg_core.errors import SegError
from seg_core.metrics import ConfusionMatrix


def draw_counts(images=30, num_classes=4, seed=0):
    """Return counts of predictions whose noise differs from picture to picture."""
    rng = np.random.default_rng(seed)
    per_image = []
    for _ in range(images):
        target = rng.integers(0, num_classes, (12, 12), dtype=np.uint8)
        wrong = rng.random(target.shape) < rng.uniform(0.1, 0.6)
        prediction = np.where(wrong, rng.integers(0, num_classes, target.shape), target).astype(np.uint8)
        matrix = ConfusionMatrix(num_classes)
        matrix.update(prediction, target)
        per_image.append(matrix.counts)
    return np.stack(per_image)


def miou_interval(per_image, ignore_index=255, level=0.95, seed=0) -> Interval:
    """Return the interval of pictures whose confusion matrices are given."""
    areas = []
    for counts in per_image:
        matrix = ConfusionMatrix(len(counts), ignore_index)
        matrix.counts = counts
        areas.append((matrix.class_intersections(), matrix.class_unions()))
    intersections, unions = np.moveaxis(np.array(areas), 1, 0)
    found = bootstrap.miou_interval(intersections, unions, level, seed)
    assert found is not None
    return found


def resampled_slowly(per_image, seed, ignore_index=255):
    rng = np.random.default_rng(seed)
    means = []
    for _ in range(bootstrap.RESAMPLES):
        matrix = ConfusionMatrix(per_image.shape[1], ignore_index)
        matrix.counts = per_image[rng.integers(0, len(per_image), len(per_image))].sum(axis=0)
        means.append(matrix.mean_iou())
    return np.quantile(means, [0.025, 0.975])


def test_it_is_what_resampling_pictures_and_scoring_them_gives():
    per_image = draw_counts()
    found = miou_interval(per_image)
    # Two bootstraps of 2000 draws: their ends differ by chance, by far less than the interval is wide.
    np.testing.assert_allclose(
        (found.low, found.high), resampled_slowly(per_image, 5), atol=0.1 * (found.high - found.low)
    )
    whole = ConfusionMatrix(4)
    whole.counts = per_image.sum(axis=0)
    assert found.low < whole.mean_iou() < found.high


def test_a_class_of_one_picture_counts_in_the_data_sets_that_drew_it():
    found_always = np.diag([100, 100, 0])
    missed_once = np.array([[100, 0, 0], [0, 100, 0], [1, 0, 0]])
    found = miou_interval(np.stack([missed_once, *[found_always] * 9]))
    # One data set in three misses that picture and has two classes, both perfect; the others have a third, never found.
    assert found.low == pytest.approx(2 / 3, abs=0.01)
    assert found.high == 1


def test_more_pictures_make_it_narrower_and_a_lower_level_too():
    def width(images, level=0.95):
        low, high, _ = miou_interval(draw_counts(images), level=level)
        return high - low

    assert width(160) < 0.7 * width(20)
    assert width(30, 0.5) < 0.6 * width(30)


def test_the_same_seed_gives_the_same_interval():
    per_image = draw_counts()
    assert miou_interval(per_image, seed=3) == miou_interval(per_image, seed=3)
    assert miou_interval(per_image, seed=3) != miou_interval(per_image, seed=4)


def test_an_ignored_class_is_left_out():
    per_image = draw_counts()
    found, slow = miou_interval(per_image, ignore_index=1), resampled_slowly(per_image, 5, ignore_index=1)
    np.testing.assert_allclose((found.low, found.high), slow, atol=0.1 * (found.high - found.low))


def test_there_is_none_of_one_picture_or_of_nothing_counted():
    one, nothing = np.full((1, 3), 7), np.zeros((5, 3), np.int64)
    assert bootstrap.miou_interval(one, one) is None
    assert bootstrap.miou_interval(nothing, nothing) is None


@pytest.mark.parametrize(
    ("shape", "other", "level", "text"),
    [
        ((3, 2), (3, 4), 0.95, r"found \(3, 2\) and \(3, 4\)"),
        ((3,), (3,), 0.95, "images, classes"),
        ((3, 2), (3, 2), 95, "found 95"),
    ],
)
def test_wrong_arguments_are_named(shape, other, level, text):
    with pytest.raises(SegError, match=text):
        bootstrap.miou_interval(np.ones(shape, np.int64), np.ones(other, np.int64), level)
