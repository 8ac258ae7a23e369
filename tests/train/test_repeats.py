"""Pictures with rare classes come more often."""

import cv2
import numpy as np
import pytest

from seg_core.labels import LabelSet
from seg_core.mask_reading import MaskReading
from seg_train.pair_source import Places, open_source
from seg_train.repeats import repeat_factors, repeat_rare


def test_factors_follow_the_rarest_class_of_a_picture():
    presence = np.zeros((100, 4), bool)
    presence[:, 0] = True  # everywhere
    presence[:4, 1] = True  # in 4 %: sqrt(0.36 / 0.04) = 3
    presence[3:12, 2] = True  # in 9 %: sqrt(0.36 / 0.09) = 2
    factors = repeat_factors(presence, 0.36)
    assert factors.tolist() == [3] * 4 + [2] * 8 + [1] * 88


def test_a_low_threshold_changes_nothing():
    presence = np.eye(5, dtype=bool)
    assert repeat_factors(presence, 0.2).tolist() == [1] * 5


@pytest.mark.parametrize("keep", [False, "masks", True])
def test_a_source_is_repeated_whatever_lies_in_memory(tmp_path, keep):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for index in range(9):
        mask = np.zeros((8, 8), np.uint8)
        mask[0, 0] = 2 if index == 4 else 255
        cv2.imwrite(str(tmp_path / "images" / f"{index}.png"), np.full((8, 8, 3), index, np.uint8))
        cv2.imwrite(str(tmp_path / "masks" / f"{index}.png"), mask)
    labels = LabelSet(("background", "never", "rare"))
    source = open_source(Places((tmp_path,)), MaskReading(labels), keep)
    repeated = repeat_rare(source, 0.45)  # sqrt(0.45 * 9) = 2.01
    assert [pair.image.stem for pair in repeated.pairs] == list("0123445678")
    for values in (repeated.decoded, repeated.masks):
        assert values is None or len(values) == 10
    if repeated.decoded is not None:
        assert repeated.decoded[4][0] is repeated.decoded[5][0]
