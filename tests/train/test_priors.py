"""What training shows as the previous frame's mask."""

import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from seg_core.config.loader import load_train_config
from seg_core.config.schema import PriorSection
from seg_core.labels import CAMVID_11, CELEBAMASK_HQ
from seg_core.prior import UNKNOWN, even_values
from seg_train.build import build_datasets, build_preprocess, build_specs
from seg_train.priors import PriorMaker

CONFIG = Path(__file__).parents[2] / "configs" / "face_ddrnet23_slim_256_video.yaml"

NOTHING = {"drop": 0.0, "wrong": 0.0, "perturb": 1.0, "shift": 0.0, "rotate_deg": 0.0, "zoom": 1.0, "morph": 0.0,
           "coarse": 0.0, "confuse": 0.0, "occlude": 0.0}  # fmt: skip


def face(size=256):
    """A mask with hair, skin, two eyes and a mouth on background, and a row of ignored pixels at the top."""
    mask = np.zeros((size, size), np.uint8)
    at = lambda share: round(share * size)  # noqa: E731
    for label, centre, axes in (
        (13, (0.5, 0.45), (0.35, 0.42)),
        (1, (0.5, 0.5), (0.27, 0.35)),
        (4, (0.4, 0.45), (0.05, 0.02)),
        (5, (0.6, 0.45), (0.05, 0.02)),
        (12, (0.5, 0.7), (0.1, 0.03)),
    ):
        cv2.ellipse(mask, tuple(map(at, centre)), tuple(map(at, axes)), 0, 0, 360, (label,), -1)
    mask[:8] = 255
    return mask


def make(options, target=None, seed=0, labels=CELEBAMASK_HQ):
    maker = PriorMaker(PriorSection(**{**NOTHING, **options}), labels)
    return maker(face() if target is None else target, np.random.default_rng(seed))


def differing(options, seeds=20):
    truth = face()
    return [float((make(options, truth, seed) != truth).mean()) for seed in range(seeds)]


def test_with_everything_off_it_is_the_truth():
    np.testing.assert_array_equal(make({}), face())
    np.testing.assert_array_equal(make({"perturb": 0.0, "shift": 0.5, "morph": 1.0}), face())


def test_a_dropped_prior_is_none():
    assert make({"drop": 1.0}) is None


def test_ignored_pixels_are_unknown_whatever_their_value():
    target = np.full((16, 16), 11, np.uint8)  # CamVid's void
    target[:, :8] = 3
    prior = make({}, target, labels=CAMVID_11)
    assert (prior[:, :8] == 3).all()
    assert (prior[:, 8:] == UNKNOWN).all()


@pytest.mark.parametrize(
    ("options", "least", "most"),
    [
        ({"shift": 0.08}, 0.005, 0.3),
        ({"rotate_deg": 10.0}, 0.002, 0.2),
        ({"zoom": 1.2}, 0.002, 0.25),
        ({"morph": 1.0}, 0.003, 0.25),
        ({"coarse": 1.0}, 0.003, 0.1),
        ({"confuse": 1.0}, 0.001, 0.7),
        ({"occlude": 1.0}, 0.003, 0.25),
        ({"wrong": 1.0}, 0.2, 1.0),
    ],
)
def test_each_change_changes_something_and_not_everything(options, least, most):
    shares = differing(options)
    assert least < np.mean(shares)
    assert max(shares) <= most


def test_small_moves_are_the_rule():
    shares = np.array(differing({"shift": 0.1}, 60))
    assert np.median(shares) < 0.5 * np.quantile(shares, 0.9)


def test_labels_are_never_invented():
    known = {*np.unique(face()).tolist(), UNKNOWN}
    everything = {"shift": 0.1, "rotate_deg": 20.0, "zoom": 1.3, "morph": 1.0, "coarse": 0.5, "confuse": 0.5,
                  "occlude": 0.5, "wrong": 0.2}  # fmt: skip
    for seed in range(40):
        assert set(np.unique(make(everything, seed=seed)).tolist()) <= known


def test_what_leaves_the_frame_leaves_unknown_behind():
    target = np.full((64, 64), 2, np.uint8)
    moved = [make({"shift": 0.3}, target, seed) for seed in range(10)]
    assert all(set(np.unique(prior)) <= {2, UNKNOWN} for prior in moved)
    assert any((prior == UNKNOWN).any() for prior in moved)


def test_classes_shrink_in_favour_of_their_neighbours():
    grown = shrunk = 0
    truth = (face() == 1).sum()
    for seed in range(30):
        found = (make({"morph": 1.0}, seed=seed) == 1).sum()
        grown, shrunk = grown + int(found > truth), shrunk + int(found < truth)
    assert grown > 3
    assert shrunk > 3


def test_equal_seeds_give_equal_priors_and_the_truth_stays():
    options = {"shift": 0.1, "morph": 1.0, "confuse": 0.5, "occlude": 0.5}
    target = face()
    first, second = make(options, target, 5), make(options, target, 5)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(target, face())
    assert not np.array_equal(first, make(options, target, 6))


def test_masks_without_a_known_pixel_and_tiny_ones_pass():
    everything = {"shift": 0.1, "morph": 1.0, "coarse": 1.0, "confuse": 1.0, "occlude": 1.0}
    for target in (np.full((32, 32), 255, np.uint8), np.zeros((1, 3), np.uint8)):
        for seed in range(5):
            assert make(everything, target, seed).shape == target.shape
            make({"wrong": 1.0}, target, seed)


def test_the_defaults_drop_move_and_keep_about_as_often_as_they_say():
    maker = PriorMaker(PriorSection(), CELEBAMASK_HQ)
    target = face(64)
    drawn = [maker(target, np.random.default_rng(seed)) for seed in range(400)]
    assert 0.24 < np.mean([prior is None for prior in drawn]) < 0.36
    assert 0.05 < np.mean([prior is not None and np.array_equal(prior, target) for prior in drawn]) < 0.2


@pytest.fixture
def video_config(tmp_path):
    """The configuration that ships, on two small pairs."""
    for stem in ("a", "b"):
        for kind, pixels in (("images", np.full((80, 80, 3), 90, np.uint8)), ("masks", face(80))):
            (tmp_path / kind).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / kind / f"{stem}.png"), pixels)
    changes = (f"data.train={tmp_path}", f"data.val={tmp_path}", "preprocess.size_hw=[64, 64]", "prior.drop=0.5")
    return load_train_config(CONFIG, changes)


def test_the_shipped_configuration_gives_a_contract_with_a_prior(video_config):
    model, preprocess = build_specs(video_config, CELEBAMASK_HQ)
    assert (model.in_channels, preprocess.channels, preprocess.version) == (4, 4, 2)
    assert preprocess.prior_values == even_values(19)
    assert (preprocess.mean[3], preprocess.std[3]) == (0.0, 0.25)


def test_training_is_shown_priors_and_validation_is_not(video_config):
    _, preprocess = build_specs(video_config, CELEBAMASK_HQ)
    train, val = build_datasets(video_config, preprocess, CELEBAMASK_HQ)
    values = {0, *preprocess.prior_values}
    shown = [train[(position, position % 2)][0].numpy() for position in range(40)]
    assert shown[0].shape == (64, 64, 4)
    assert all(set(np.unique(pixels[..., 3])) <= values for pixels in shown)
    told = [bool(pixels[..., 3].any()) for pixels in shown]
    assert 8 < sum(told) < 32
    for index in range(2):
        pixels, target = val[index]
        assert not pixels[..., 3].any()
        assert len(np.unique(target)) > 3
    np.testing.assert_array_equal(train[(7, 1)][0], shown[7])


def test_own_statistics_of_the_prior_are_taken(video_config):
    section = video_config.preprocess.model_copy(update={"mean": (0.5,) * 4, "std": (0.2,) * 4})
    assert build_preprocess(section, CELEBAMASK_HQ).std == (0.2,) * 4


if __name__ == "__main__":  # how long one takes, for a look by hand
    timed = PriorMaker(PriorSection(drop=0.0, wrong=0.0, perturb=1.0), CELEBAMASK_HQ)
    mask, generator = face(), np.random.default_rng(0)
    cv2.setNumThreads(1)
    started = time.perf_counter()
    for _ in range(1000):
        timed(mask, generator)
    print(f"{time.perf_counter() - started:.3f} ms")  # noqa: T201
