"""The dense CRF against its own definition, summed over all pairs of pixels, and its place in the contract."""

import json
import math

import cv2
import numpy as np
import pytest

from seg_core import (
    CrfSpec,
    ImageError,
    Postprocessor,
    PostprocessSpec,
    PreprocessSpec,
    Roi,
    SegError,
    SpecError,
    TensorSpec,
    load_image,
    plan_geometry,
)
from seg_core.crf import refine_scores, score_labels
from seg_core.permutohedral import PermutohedralLattice
from seg_core.spec import from_json, to_json

SIDE = 48
FULL = CrfSpec(5, smoothness_weight=1.0, smoothness_sigma_px=1.5, appearance_weight=3.0, scale=1)


@pytest.fixture(scope="module")
def face(samples_dir):
    """An eye and its brow, BGR (48, 48, 3): edges, textures and smooth skin."""
    image = load_image(samples_dir / "astronaut.png")
    return cv2.resize(image[60:220, 140:300], (SIDE, SIDE), interpolation=cv2.INTER_AREA)


@pytest.fixture(scope="module")
def scores():
    """Blurred noise as logits of five classes: many edges, of which none lies on an edge of the picture."""
    noise = np.random.default_rng(0).normal(size=(5, SIDE, SIDE)).astype(np.float32)
    return np.stack([cv2.GaussianBlur(plane, (0, 0), 4) for plane in noise]) * 40


def exact_mean(points, values):
    """Return what a lattice's `mean` approximates, float64, from all pairs of the points (d, N)."""
    points = points.astype(np.float64)
    squares = (points**2).sum(axis=0)
    kernel = np.exp(np.minimum(0.0, points.T @ points - 0.5 * squares[:, None] - 0.5 * squares))
    return (values @ kernel) / kernel.sum(axis=0)


def positions(size_hw):
    return np.stack(np.mgrid[: size_hw[0], : size_hw[1]]).reshape(2, -1).astype(np.float32)


def softmax(energy):
    raised = np.exp(energy - energy.max(axis=0))
    return raised / raised.sum(axis=0)


def exact_crf(scores, image_bgr, spec):
    """The mean-field marginals (C, N) by the definition in seg_core.crf, all classes and all pairs, float64."""
    place = positions(image_bgr.shape[:2])
    colour = image_bgr.reshape(-1, 3).T / spec.appearance_sigma_bgr
    unary = scores.reshape(len(scores), -1).astype(np.float64)
    marginals = softmax(unary)
    for _ in range(spec.iterations):
        near = exact_mean(place / spec.smoothness_sigma_px, marginals)
        alike = exact_mean(np.concatenate([place / spec.appearance_sigma_px, colour]), marginals)
        marginals = softmax(unary + spec.smoothness_weight * near + spec.appearance_weight * alike)
    return marginals


# ---- the lattice


@pytest.mark.parametrize(("sigma_px", "sigma_bgr"), [(3.0, 12.0), (5.0, 12.0), (10.0, 13.0), (10.0, 40.0)])
def test_the_lattice_is_near_the_sum_over_all_pairs(face, scores, sigma_px, sigma_bgr):
    # Measured: mean error 0.008 to 0.010, 99th percentile 0.05 to 0.06, largest 0.40 (on pixels with few like them);
    # the message differs from its input by 0.06 to 0.17 on average.
    points = np.concatenate([positions((SIDE, SIDE)) / sigma_px, face.reshape(-1, 3).T / np.float32(sigma_bgr)])
    values = softmax(scores.reshape(5, -1)).astype(np.float32)
    wanted = exact_mean(points, values)
    error = np.abs(PermutohedralLattice(points.astype(np.float32)).mean(values) - wanted)
    assert error.mean() < 0.012
    assert np.quantile(error, 0.99) < 0.07
    assert np.abs(wanted - values).mean() > 5 * error.mean()


@pytest.mark.parametrize("dimensions", [1, 2, 3, 5])
def test_a_constant_stays_and_a_mean_stays_between_the_extremes(dimensions):
    rng = np.random.default_rng(dimensions)
    lattice = PermutohedralLattice((rng.normal(size=(dimensions, 500)) * 3).astype(np.float32))
    constant = lattice.mean(np.full((1, 500), 7.0, np.float32))
    np.testing.assert_allclose(constant, 7.0, rtol=1e-5)
    values = rng.random((3, 500)).astype(np.float32)
    means = lattice.mean(values)
    assert means.dtype == np.float32
    assert (means >= values.min() - 1e-5).all()
    assert (means <= values.max() + 1e-5).all()


def test_far_points_do_not_mix_and_equal_points_do():
    points = np.array([[0.0, 0.0, 50.0]], np.float32)
    np.testing.assert_allclose(
        PermutohedralLattice(points).mean(np.array([[1, 3, 9]], np.float32)), [[2, 2, 9]], rtol=1e-6
    )


def test_points_too_far_apart_are_refused_in_one_line():
    points = np.random.default_rng(0).normal(size=(5, 50)).astype(np.float32) * 1e4
    with pytest.raises(SegError, match="spread too far"):
        PermutohedralLattice(points)


# ---- the CRF


def test_marginals_and_labels_are_those_of_the_exact_crf(face, scores):
    # Measured: mean error of a marginal 0.0028, labels agree on 99.4 %; the CRF changes 8.6 % of the labels.
    wanted = exact_crf(scores, face, FULL)
    found = refine_scores(scores, face, FULL).reshape(5, -1)
    assert np.abs(found - wanted).mean() < 0.005
    agreement = (found.argmax(axis=0) == wanted.argmax(axis=0)).mean()
    changed = (wanted.argmax(axis=0) != scores.reshape(5, -1).argmax(axis=0)).mean()
    assert agreement > 0.99
    assert 1 - agreement < changed / 4


def test_smoothness_alone_is_exact(face, scores):
    spec = CrfSpec(3, smoothness_weight=2.0, smoothness_sigma_px=1.5, appearance_weight=0.0, scale=1)
    place = positions((SIDE, SIDE)) / 1.5
    unary = scores.reshape(5, -1).astype(np.float64)
    wanted = softmax(unary)
    for _ in range(3):
        wanted = softmax(unary + 2.0 * exact_mean(place, wanted))
    found = refine_scores(scores, face, spec).reshape(5, -1)
    assert np.abs(found - wanted).max() < 2e-3  # OpenCV cuts its Gaussian off at four sigmas


def test_an_edge_moves_to_the_edge_of_the_picture():
    image = np.zeros((32, 32, 3), np.uint8)
    image[:, 16:] = 200
    slope = np.tile(np.arange(32, dtype=np.float32) - 13.5, (32, 1)) * 0.3  # equal scores at column 13.5
    refined = refine_scores(np.stack([-slope, slope]), image, CrfSpec(5, appearance_sigma_px=8.0, scale=1))
    assert (slope > 0)[:, 14:16].all()
    np.testing.assert_array_equal(refined.argmax(axis=0), (image[..., 0] > 0).astype(int))


def test_it_is_deterministic_and_leaves_its_inputs_alone(face, scores):
    kept = scores.copy(), face.copy()
    first = refine_scores(scores, face, FULL)
    np.testing.assert_array_equal(first, refine_scores(scores, face, FULL))
    np.testing.assert_array_equal(scores, kept[0])
    np.testing.assert_array_equal(face, kept[1])
    np.testing.assert_allclose(first.sum(axis=0), 1.0, rtol=1e-5)
    assert first.dtype == np.float32


def test_classes_that_cannot_win_change_nothing_but_the_time(face, scores):
    # Without the pruning their share, here below e^-6, would be spread over the others.
    faint = np.concatenate([scores, np.full((14, SIDE, SIDE), -30, np.float32) + scores.max(axis=0)])
    refined = refine_scores(faint, face, FULL)
    np.testing.assert_array_equal(refined[5:], 0)
    np.testing.assert_array_equal(refined[:5], refine_scores(scores, face, FULL))


def test_more_classes_of_equal_scores_than_one_can_win_all_take_part():
    refined = refine_scores(np.zeros((150, 8, 8), np.float32), np.zeros((8, 8, 3), np.uint8), FULL)
    np.testing.assert_allclose(refined, 1 / 150, rtol=1e-5)


def test_no_weights_leave_the_softmax(face, scores):
    spec = CrfSpec(smoothness_weight=0.0, appearance_weight=0.0)
    np.testing.assert_allclose(refine_scores(scores, face, spec), softmax(scores), atol=1e-6)


def test_labels_become_scores():
    labels = np.zeros((20, 40), np.uint8)
    labels[:, 20:], labels[:4, :4] = 5, 3
    shares = np.exp(score_labels(labels, CrfSpec(scale=2)))
    assert shares.shape == (6, 20, 40)
    np.testing.assert_array_equal(shares[:, 5:].argmax(axis=0), labels[5:])
    np.testing.assert_allclose(shares[:, 16, 2], [0.8, 1e-6, 1e-6, 0.1, 1e-6, 0.1], rtol=1e-3)
    np.testing.assert_allclose(shares[[0, 3, 5]].sum(axis=0), 1.0, rtol=1e-5)
    # Beside an edge, half a pixel off, with a sigma of 0.75 pixels of the network, which is 1.5 of these.
    normal = 0.5 * (1 + math.erf((0.5 / 1.5) / math.sqrt(2)))
    np.testing.assert_allclose(shares[5, 15, 20], 0.7 * normal + 0.1, atol=0.01)
    assert np.isfinite(score_labels(np.zeros((2, 2), np.uint8), CrfSpec())).all()


def test_a_picture_of_another_size_is_refused(face, scores):
    with pytest.raises(ImageError, match="wants an image uint8"):
        refine_scores(scores, face[:40], FULL)


def test_sigmas_too_small_for_the_lattice_are_named():
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    spec = CrfSpec(appearance_sigma_px=0.1, appearance_sigma_bgr=0.1, scale=1)
    with pytest.raises(SpecError, match=r"appearance_sigma_bgr 0\.1 are too small for 64x64 pixels"):
        refine_scores(np.zeros((2, 64, 64), np.float32), image, spec)


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 9), (9, 1)])
def test_the_smallest_pictures(size_hw):
    scores = np.random.default_rng(0).normal(size=(3, *size_hw)).astype(np.float32)
    refined = refine_scores(scores, np.zeros((*size_hw, 3), np.uint8), CrfSpec())
    np.testing.assert_allclose(refined.sum(axis=0), 1.0, rtol=1e-5)


# ---- in the postprocessor


def logits_spec(shape):
    return TensorSpec("logits", "logits", shape, "float32", "nchw")


@pytest.mark.parametrize("resize", ["labels", "logits"])
@pytest.mark.parametrize("policy", ["stretch", "letterbox", "center_crop"])
def test_labels_come_back_in_place_through_every_geometry(resize, policy):
    image = np.zeros((60, 80, 3), np.uint8)
    image[20:48, 30:57] = (40, 80, 200)
    roi = Roi(10, 12, 44, 60)
    way = plan_geometry((60, 80), PreprocessSpec((12, 12), resize=policy), roi)
    inside = np.zeros((60, 80), np.uint8)
    inside[20:48, 30:57] = 1
    rough = way.project_labels(inside, 0).astype(np.float32) * 2 - 1  # at 12×12: edges off by several pixels
    scores = np.stack([-rough, rough])[None]
    spec = PostprocessSpec(
        resize, outside_label=9, crf=CrfSpec(10, appearance_weight=8.0, appearance_sigma_px=2.0, scale=4)
    )
    refined = Postprocessor(spec)(scores, logits_spec(scores.shape), way, image)
    plain = Postprocessor(PostprocessSpec(resize, 9))(scores, logits_spec(scores.shape), way)
    box = way.box.slices
    assert (np.delete(refined, np.arange(way.box.top, way.box.top + way.box.height), axis=0) == 9).all()
    # A pixel that straddles the outline after resizing may fall to either side; nothing farther away may be wrong.
    cross = np.ones((3, 3), np.uint8)
    far = cv2.dilate(inside, cross) == cv2.erode(inside, cross)
    assert (far & (plain != inside))[box].any()
    assert not (far & (refined != inside))[box].any()


def test_a_label_output_is_refined_too(face):
    rough = np.zeros((1, 12, 12), np.int32)
    rough[0, 3:9, 3:9] = 4
    spec = TensorSpec("labels", "labels", rough.shape, "int32", "nhw")
    image = np.zeros((48, 48, 3), np.uint8)
    image[14:34, 14:34] = 220
    way = plan_geometry((48, 48), PreprocessSpec((12, 12)))
    post = Postprocessor(PostprocessSpec(crf=CrfSpec(appearance_sigma_px=4.0, scale=4, label_confidence=0.7)))
    np.testing.assert_array_equal(post(rough, spec, way, image), np.where(image[..., 0] > 0, 4, 0))


def test_without_a_picture_it_says_what_it_needs():
    scores = np.zeros((1, 2, 8, 8), np.float32)
    way = plan_geometry((20, 30), PreprocessSpec((8, 8)))
    post = Postprocessor(PostprocessSpec(crf=CrfSpec()))
    with pytest.raises(ImageError, match=r"crf: needs the BGR image \(20, 30, 3\), found none"):
        post(scores, logits_spec(scores.shape), way)
    with pytest.raises(ImageError, match=r"found \(20, 20, 3\)"):
        post(scores, logits_spec(scores.shape), way, np.zeros((20, 20, 3), np.uint8))
    with pytest.raises(SpecError, match="asks for no CRF"):
        Postprocessor(PostprocessSpec()).refine(scores, logits_spec(scores.shape), way, None)


def test_a_predictor_with_a_crf_says_how_long_it_took(colour_predictor):
    image = np.zeros((40, 40, 3), np.uint8)
    image[..., 2] = 200
    assert "crf" not in colour_predictor.predict(image).timings_ms
    colour_predictor.postprocessor = Postprocessor(PostprocessSpec(crf=CrfSpec()))
    prediction = colour_predictor.predict(image)
    assert (prediction.labels == 0).all()
    assert 0 < prediction.timings_ms["crf"] < prediction.timings_ms["postprocess"] < prediction.timings_ms["total"]


# ---- in the contract


def test_a_contract_without_a_crf_is_written_as_before():
    assert to_json(PostprocessSpec()) == {"resize": "labels", "outside_label": 0}
    assert from_json(PostprocessSpec, {"resize": "labels", "outside_label": 0}) == PostprocessSpec()


def test_a_crf_survives_json_with_every_field():
    spec = PostprocessSpec(crf=CrfSpec(7, 0.5, 2.5, 6.0, 30.0, 8.0, 3, 0.6))
    written = json.loads(json.dumps(to_json(spec)))
    assert from_json(PostprocessSpec, written) == spec
    assert set(written["crf"]) == set(CrfSpec.__dataclass_fields__)


@pytest.mark.parametrize(
    ("crf", "message"),
    [
        ({"iteration": 3}, r"PostprocessSpec\.crf\.iteration: unknown field"),
        ({"iterations": 0}, r"crf\.iterations: expected 1\.\.100, found 0"),
        ({"iterations": 2.5}, r"crf\.iterations: expected int"),
        ({"scale": 5}, r"crf\.scale: expected 1\.\.4, found 5"),
        ({"appearance_weight": -1}, r"crf\.appearance_weight: expected 0\.\.1000"),
        ({"appearance_sigma_px": 0}, r"crf\.appearance_sigma_px: expected 0\.1"),
        ({"label_confidence": 1}, r"crf\.label_confidence: expected a number between 0 and 1"),
        ({"smoothness_weight": float("nan")}, "finite"),
    ],
)
def test_a_wrong_crf_is_named(crf, message):
    with pytest.raises(SpecError, match=message):
        from_json(PostprocessSpec, {"resize": "labels", "outside_label": 0, "crf": crf})
