"""Things of other pictures are laid over a picture at their place, with their labels."""

import cv2
import numpy as np
import pytest

from seg_core.config.loader import load_train_config
from seg_core.config.schema import AugmentSection
from seg_core.errors import ConfigError, ImageError
from seg_core.labels import LabelSet
from seg_core.mask_reading import MaskReading
from seg_core.spec import PreprocessSpec
from seg_train.augment import Augmenter
from seg_train.data import PairDataset
from seg_train.pair_source import Places, open_source
from seg_train.pasting import Paster, build_paster

LABELS = LabelSet(("background", "hat", "left_ear", "right_ear", "never"), flip_pairs=((2, 3),))
PLAIN = AugmentSection(
    flip=0, scale=(1, 1), translate=0, rotate_deg=0, brightness=0, contrast=0, saturation=0, hue_deg=0,
    grayscale=0, blur=0, jpeg=0, low_resolution=0,
)  # fmt: skip
HAT = (slice(2, 6), slice(4, 12))
EAR = (slice(8, 12), slice(1, 3))


@pytest.fixture
def data(tmp_path):
    """Three grey pictures of 16x16: "0" shows nothing, "1" a hat of 200, "2" a hat of 220 and a left ear of 240."""
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for name in "012":
        image, mask = np.full((16, 16, 3), 10 * (1 + int(name)), np.uint8), np.zeros((16, 16), np.uint8)
        if name != "0":
            image[HAT], mask[HAT] = 180 + 20 * int(name), 1
        if name == "2":
            image[EAR], mask[EAR] = 240, 2
        cv2.imwrite(str(tmp_path / "images" / f"{name}.png"), image)
        cv2.imwrite(str(tmp_path / "masks" / f"{name}.png"), mask)
    return tmp_path


def shown(data, options, keep=False):
    source = open_source(Places((data,)), MaskReading(LABELS), keep)
    return PairDataset(
        source, PreprocessSpec((16, 16)), Augmenter(options, LABELS), paster=build_paster(options, source)
    )


def asking(*classes, paste=1.0, **others):
    return PLAIN.model_copy(update={"paste": paste, "paste_classes": classes, **others})


@pytest.mark.parametrize("keep", [False, "masks", True])
def test_pixels_and_labels_come_from_the_donor_and_the_rest_stays(data, keep):
    image, mask = (tensor.numpy() for tensor in shown(data, asking("left_ear"), keep)[5, 0])
    expected = np.full((16, 16, 3), 10, np.uint8)
    expected[EAR] = 240
    np.testing.assert_array_equal(image, expected)
    np.testing.assert_array_equal(mask, np.where(expected[:, :, 0] == 240, 2, 0))


def test_what_lies_in_memory_is_not_changed(data):
    dataset = shown(data, asking("left_ear"), keep=True)
    for position in range(4):
        dataset[position, 0]
    image, mask = dataset._source.decoded[0]
    assert (image == 10).all()
    assert (mask == 0).all()


def test_a_mirrored_thing_is_on_the_other_side_with_the_other_side_s_label(data):
    image, mask = (tensor.numpy() for tensor in shown(data, asking("left_ear", flip=1.0))[5, 0])
    expected = np.zeros((16, 16), np.uint8)
    expected[EAR] = 3
    np.testing.assert_array_equal(mask, expected[:, ::-1])
    assert (image[mask == 3] == 240).all()


def test_the_donor_goes_through_the_move_of_the_picture(data):
    """With the donor as its own picture nothing changes, wherever the move takes it."""
    moved = {"scale": (0.7, 1.4), "rotate_deg": 20.0, "translate": 0.1, "flip": 0.5}
    plain, pasted = shown(data, PLAIN.model_copy(update=moved)), shown(data, asking("left_ear", **moved))
    for position in range(8):
        for before, after in zip(plain[position, 2], pasted[position, 2], strict=True):
            np.testing.assert_array_equal(before.numpy(), after.numpy())


def test_classes_are_drawn_evenly_and_so_are_their_pictures():
    paster = Paster(0.5, (7, 3), (np.array([4]), np.array([0, 1, 2])))
    rng = np.random.default_rng(0)
    drawn = [paster.draw(rng) for _ in range(6000)]
    counts = {key: drawn.count(key) for key in set(drawn)}
    assert set(counts) == {None, (7, 4), (3, 0), (3, 1), (3, 2)}
    assert counts[None] == pytest.approx(3000, abs=150)
    assert counts[7, 4] == pytest.approx(1500, abs=120)
    for index in range(3):
        assert counts[3, index] == pytest.approx(500, abs=80)


def test_only_pictures_that_show_the_class_are_donors(data):
    source = open_source(Places((data,)), MaskReading(LABELS))
    paster = build_paster(asking("hat", "left_ear", paste=0.3), source)
    assert paster.probability == 0.3
    assert paster.classes == (1, 2)
    assert [donors.tolist() for donors in paster.donors] == [[1, 2], [2]]


def test_nothing_is_read_or_drawn_without_it(data):
    source = open_source(Places((data,)), MaskReading(LABELS))
    (data / "masks" / "0.png").write_bytes(b"")
    assert build_paster(PLAIN, source) is None


def test_the_same_position_shows_the_same_whoever_makes_it(data):
    first, second = shown(data, asking("hat", paste=0.5)), shown(data, asking("hat", paste=0.5))
    drawn = [first[position, 0] for position in range(12)]
    for position in reversed(range(12)):
        for one, other in zip(drawn[position], second[position, 0], strict=True):
            np.testing.assert_array_equal(one.numpy(), other.numpy())
    assert {int(image.max()) for image, _ in drawn} == {10, 200, 220}  # none, and either donor


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("hatt", ConfigError, r"^augment\.paste_classes: unknown class 'hatt'; did you mean 'hat'\?$"),
        ("xyz", ConfigError, r"^augment\.paste_classes: unknown class 'xyz'; classes: background, hat, left_ear"),
        ("never", ImageError, r"^augment\.paste_classes: no training picture shows never; leave it out$"),
    ],
)
def test_a_class_that_cannot_be_pasted_is_named(data, name, error, said):
    with pytest.raises(error, match=said):
        shown(data, asking(name))


def test_a_configuration_that_names_nothing_is_refused(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("data: {train: a, val: b}\naugment: {paste: 0.5}\n")
    with pytest.raises(ConfigError, match=r"augment.*name what is laid over other pictures in paste_classes"):
        load_train_config(path)
