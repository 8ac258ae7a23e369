"""Pictures with rare classes come more often."""

import cv2
import numpy as np
import pytest
import small_runs

from seg_core import samples
from seg_core.labels import LabelSet
from seg_core.mask_reading import MaskReading
from seg_core.samples import BadPairError
from seg_train import build
from seg_train.pair_source import Places, open_source
from seg_train.repeats import look_at_masks, repeat_factors, repeat_rare


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


@pytest.mark.parametrize(("keep", "masks_read"), [(False, 9), ("masks", 0), (True, 0)])
def test_masks_are_looked_at_once_and_no_picture_for_their_sake(tmp_path, monkeypatch, keep, masks_read):
    small_runs.draw_data(tmp_path, train=9)
    augment = {"paste": 0.5, "paste_classes": ["left"]}
    options = {"on_bad": "skip", "repeat_rare": 0.5, "cache": keep}
    read = {"images": 0, "masks": 0}

    def counted(load, kind):
        def wrapper(path, *arguments):
            read[kind] += "train" in path.parts
            return load(path, *arguments)

        return wrapper

    monkeypatch.setattr(samples, "load_image", counted(samples.load_image, "images"))
    monkeypatch.setattr(samples, "load_mask", counted(samples.load_mask, "masks"))
    config = small_runs.config_of(tmp_path, data=options, augment=augment)
    labels = build.build_labels(config.data.labels)
    build.build_datasets(config, build.build_specs(config, labels)[1], labels)
    assert read == {"images": 9, "masks": 9 + masks_read}  # once all of them, to find out which are bad


def test_looking_at_masks_names_a_bad_one_and_tells_how_far_it_is(tmp_path):
    small_runs.draw_data(tmp_path, train=4)
    reading, told = MaskReading(LabelSet(("background", "left", "right"))), []
    source = open_source(Places((tmp_path / "train",)), reading)
    looked = look_at_masks(source, lambda done, total: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert looked.presence.tolist() == [[True] * 3] * 4
    assert look_at_masks(looked) is looked
    cv2.imwrite(str(tmp_path / "train" / "masks" / "2.png"), np.full((64, 64), 7, np.uint8))
    with pytest.raises(BadPairError, match=r"2\.png: the mask holds 7"):
        look_at_masks(source)
    (tmp_path / "train" / "masks" / "2.png").write_bytes(b"")
    with pytest.raises(BadPairError, match=r"2\.png"):
        look_at_masks(source)
