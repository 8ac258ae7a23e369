import numpy as np
import pytest

from seg_core.config.schema import AugmentSection
from seg_core.geometry import plan_geometry
from seg_core.labels import CELEBAMASK_HQ
from seg_core.mask_reading import swap_table
from seg_core.preprocessing import Preprocessor
from seg_core.spec import PreprocessSpec
from seg_train.augment import Augmenter, contract_matrix

NOTHING = AugmentSection(
    flip=0, scale=(1, 1), translate=0, rotate_deg=0, brightness=0, contrast=0, saturation=0, hue_deg=0,
    grayscale=0, blur=0, jpeg=0, low_resolution=0, erase=0,
)  # fmt: skip


def pair(height=96, width=64, seed=0):
    rng = np.random.default_rng(seed)
    image = np.kron(rng.integers(0, 256, (height // 8, width // 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    mask = np.kron(rng.integers(0, 19, (height // 8, width // 8)), np.ones((8, 8))).astype(np.uint8)
    return image, mask


def augment(options, image, mask, spec, seed=0):
    geometry = plan_geometry(image.shape[:2], spec)
    return Augmenter(options, CELEBAMASK_HQ)(image, mask, geometry, np.random.default_rng(seed))


@pytest.mark.parametrize("policy", ["stretch", "letterbox", "center_crop"])
def test_with_everything_off_a_pair_is_what_evaluation_sees(policy):
    image, mask = pair()
    spec = PreprocessSpec(size_hw=(64, 64), resize=policy)
    preprocess = Preprocessor(spec)
    canvas, geometry = preprocess.to_canvas(image)
    expected = preprocess.resize_mask(mask, geometry, CELEBAMASK_HQ.ignore_index)
    got, target = augment(NOTHING, image, mask, spec)
    # INTER_NEAREST takes the pixel at or left of the sample place, the affine map the one nearest to it, so the
    # tiles' edges may lie one pixel apart; a map that is off by a pixel would agree better when rolled back.
    agreement = (target == expected).mean()
    assert agreement > 0.9
    for shift, axis in ((1, 0), (-1, 0), (1, 1), (-1, 1)):
        assert (np.roll(target, shift, axis) == expected).mean() < agreement
    assert np.abs(got.astype(int) - canvas).mean() < 3


def test_a_mirrored_pair_exchanges_left_and_right():
    image, mask = pair()
    spec = PreprocessSpec(size_hw=(96, 64))
    plain, target = augment(NOTHING, image, mask, spec)
    mirrored, mirrored_target = augment(NOTHING.model_copy(update={"flip": 1.0}), image, mask, spec)
    np.testing.assert_array_equal(mirrored, plain[:, ::-1])
    np.testing.assert_array_equal(mirrored_target, swap_table(CELEBAMASK_HQ)[target[:, ::-1]])
    assert (mirrored_target != target[:, ::-1]).any()


def test_swap_table_is_its_own_inverse_and_moves_only_the_pairs():
    table = swap_table(CELEBAMASK_HQ)
    np.testing.assert_array_equal(table[table], np.arange(256))
    assert sorted(np.flatnonzero(table != np.arange(256))) == [4, 5, 6, 7, 8, 9]


def test_what_comes_from_outside_the_source_teaches_nothing():
    image, mask = pair()
    options = NOTHING.model_copy(update={"scale": (0.5, 0.5)})
    canvas, target = augment(options, image, mask, PreprocessSpec(size_hw=(96, 64)))
    assert (target[:20] == CELEBAMASK_HQ.ignore_index).all()
    assert (canvas[:20] == 114).all()
    assert (target[40:56, 24:40] != CELEBAMASK_HQ.ignore_index).all()


def test_the_same_generator_gives_the_same_pair_and_leaves_its_input_alone():
    image, mask = pair()
    before = image.copy(), mask.copy()
    options = AugmentSection(blur=1, jpeg=1, low_resolution=1, erase=1, grayscale=0.5)
    spec = PreprocessSpec(size_hw=(64, 64))
    first, second, third = (augment(options, image, mask, spec, seed) for seed in (3, 3, 4))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (first[0] != third[0]).any()
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(mask, before[1])
    assert set(np.unique(first[1])) <= {*range(19), 255}


def test_contract_matrix_maps_the_centre_of_the_box_to_the_centre_of_its_place():
    geometry = plan_geometry((480, 640), PreprocessSpec(size_hw=(256, 256), resize="letterbox"))
    x, y, _ = contract_matrix(geometry) @ [319.5, 239.5, 1.0]
    assert (x, y) == pytest.approx((127.5, 127.5))


def framed_points(options, seed=0, size_hw=(60, 80)):
    """Return the move drawn, and where it takes the corners and the centre of what is framed, as (x, y)."""
    move = Augmenter(options, CELEBAMASK_HQ).draw_move(size_hw, np.random.default_rng(seed))
    height, width = size_hw
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1], [width / 2, height / 2, 1]]).T
    half = np.array([[0.5], [0.5], [0.0]])  # the matrix speaks of pixel centres, a size of their edges
    return move, (move.matrix @ (corners - half) + half)[:2].T


def test_a_crop_is_a_random_piece_of_what_is_framed():
    options = NOTHING.model_copy(update={"crop_hw": (24, 40)})
    places = []
    for seed in range(60):
        move, points = framed_points(options, seed)
        assert move.size_hw == (24, 40)
        left, top = points[0]
        np.testing.assert_allclose(points[3] - points[0], (80, 60))  # nothing is zoomed
        assert -40 <= left <= 0 + 1e-9
        assert -36 <= top <= 0 + 1e-9
        places.append((left, top))
    spread = np.ptp(places, axis=0)
    assert spread[0] > 34
    assert spread[1] > 30


def test_a_crop_that_is_larger_shows_all_that_is_framed_somewhere():
    options = NOTHING.model_copy(update={"crop_hw": (100, 90)})
    for seed in range(20):
        _, points = framed_points(options, seed)
        assert points.min() >= -1e-9
        assert points[:, 0].max() <= 90 + 1e-9
        assert points[:, 1].max() <= 100 + 1e-9


def test_a_crop_holds_the_pixels_of_its_place():
    image, mask = pair()
    spec = PreprocessSpec(size_hw=(96, 64))
    options = NOTHING.model_copy(update={"crop_hw": (32, 24)})
    full, full_target = augment(NOTHING, image, mask, spec)
    canvas, target = augment(options, image, mask, spec, seed=5)
    assert canvas.shape == (32, 24, 3)
    assert target.shape == (32, 24)
    fits = [
        (top, left)
        for top in range(96 - 32 + 1)
        for left in range(64 - 24 + 1)
        if (full_target[top : top + 32, left : left + 24] == target).mean() > 0.9
    ]
    assert fits
    top, left = fits[len(fits) // 2]
    assert np.abs(full[top : top + 32, left : left + 24].astype(int) - canvas).mean() < 25


def test_stretching_changes_the_aspect_and_not_the_area():
    options = NOTHING.model_copy(update={"stretch": (0.5, 2.0)})
    aspects = []
    for seed in range(40):
        _, points = framed_points(options, seed)
        width, height = points[3] - points[0]
        assert width * height == pytest.approx(60 * 80)
        assert points[4] == pytest.approx((40, 30))
        aspects.append(width / height / (80 / 60))
    assert min(aspects) == pytest.approx(0.5, abs=0.15)
    assert max(aspects) == pytest.approx(2.0, abs=0.4)


def test_zoom_turn_and_shift_are_about_the_centre():
    options = NOTHING.model_copy(update={"scale": (0.5, 0.5), "rotate_deg": 180.0, "translate": 0.25})
    _, points = framed_points(options, 3)
    sides = np.linalg.norm(points[1] - points[0]), np.linalg.norm(points[2] - points[0])
    assert sides == pytest.approx((40, 30))
    assert np.all(np.abs(points[4] - (40, 30)) <= (20 + 1e-9, 15 + 1e-9))
    assert np.abs(points[4] - (40, 30)).max() > 1
