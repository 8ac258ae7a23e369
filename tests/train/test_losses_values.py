"""Each term against its published definition, computed here in plain numpy, and its slope against differences."""

import itertools

import numpy as np
import pytest
import torch

from seg_core.config.schema import LossSection
from seg_train.losses import LOSSES, list_losses
from seg_train.losses.edges import CERTAIN_EDGE, EDGE_RADIUS, FAINT, label_edges
from seg_train.losses.region import SMOOTH
from seg_train.losses.scores import Scores

VOID = 255
CLASSES = 4
WEIGHTS = (1.0, 2.0, 0.5, 3.0)


@pytest.fixture
def logits():
    return torch.randn(2, CLASSES, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) * 2


@pytest.fixture
def target():
    """Class 3 is absent; two pixels are void."""
    labels = torch.randint(0, 3, (2, 6, 5), generator=torch.Generator().manual_seed(4))
    labels[0, 1, 2] = labels[1, 5, 4] = VOID
    return labels


@pytest.fixture
def edge():
    return torch.randn(2, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(5)) * 3


def make_scores(logits, target, weights=None, edge=None):
    weights = None if weights is None else torch.tensor(weights, dtype=logits.dtype)
    return Scores(logits.log_softmax(dim=1), target, target != VOID, weights, edge)


def value_of(name, scores, **options):
    return LOSSES.get(name)(scores, LossSection(**options)).item()


def pixels(logits, target):
    """Return the probabilities (pixels, C) and the labels (pixels,) of what counts, as numpy has them."""
    scores = logits.numpy().transpose(0, 2, 3, 1).reshape(-1, logits.shape[1])
    labels = target.numpy().ravel()
    scores = np.exp(scores[labels != VOID])
    return scores / scores.sum(axis=1, keepdims=True), labels[labels != VOID]


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_is_torchs(logits, target, weights, smoothing):
    wanted = torch.nn.functional.cross_entropy(
        logits,
        target,
        None if weights is None else torch.tensor(weights, dtype=torch.float64),
        ignore_index=VOID,
        label_smoothing=smoothing,
    )
    found = value_of("cross_entropy", make_scores(logits, target, weights), label_smoothing=smoothing)
    assert found == pytest.approx(wanted.item(), rel=1e-12)


@pytest.mark.parametrize(
    ("threshold", "share", "kept"), [(0.3, 0.0625, None), (0.0, 0.25, 15), (1.0, 0.0, 58), (0.0, 1.0, 58)]
)
def test_ohem_keeps_the_hardest(logits, target, threshold, share, kept):
    probability, labels = pixels(logits, target)
    own = np.sort(probability[np.arange(len(labels)), labels])
    number = kept or max(int((own < threshold).sum()), int(np.ceil(share * len(own))))
    assert 0 < number <= len(own)
    found = value_of("ohem", make_scores(logits, target), ohem_threshold=threshold, ohem_min_kept=share)
    assert found == pytest.approx(-np.log(own[:number]).mean(), rel=1e-9)


def test_ohem_of_every_pixel_is_cross_entropy(logits, target):
    scores = make_scores(logits, target, WEIGHTS)
    found = value_of("ohem", scores, ohem_threshold=1.0)
    assert found == pytest.approx(value_of("cross_entropy", scores), rel=1e-12)


@pytest.mark.parametrize("gamma", [0.5, 2.0, 3.0])
def test_focal_is_the_papers(logits, target, gamma):
    probability, labels = pixels(logits, target)
    own, weights = probability[np.arange(len(labels)), labels], np.array(WEIGHTS)[labels]
    wanted = (-weights * (1 - own) ** gamma * np.log(own)).sum() / weights.sum()
    assert value_of("focal", make_scores(logits, target, WEIGHTS), focal_gamma=gamma) == pytest.approx(wanted, rel=1e-9)


def test_focal_of_gamma_0_is_cross_entropy(logits, target):
    scores = make_scores(logits, target, WEIGHTS)
    assert value_of("focal", scores, focal_gamma=0.0) == pytest.approx(value_of("cross_entropy", scores), rel=1e-12)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0])
def test_focal_of_a_certain_pixel_has_a_finite_slope(gamma):
    logits = torch.tensor([[[[90.0]], [[-90.0]]]], requires_grad=True)
    scores = make_scores(logits, torch.zeros(1, 1, 1, dtype=torch.int64))
    LOSSES.get("focal")(scores, LossSection(focal_gamma=gamma)).backward()
    assert bool(logits.grad.isfinite().all())


@pytest.mark.parametrize("name", ["dice", "iou"])
def test_regions_by_hand(logits, target, name):
    probability, labels = pixels(logits, target)
    ratios = []
    for label in range(CLASSES):
        own = labels == label
        overlap, predicted, truth = probability[own, label].sum(), probability[:, label].sum(), own.sum()
        if truth:
            dice = (2 * overlap + SMOOTH) / (predicted + truth + SMOOTH)
            iou = (overlap + SMOOTH) / (predicted + truth - overlap + SMOOTH)
            ratios.append(dice if name == "dice" else iou)
    assert len(ratios) == 3
    assert value_of(name, make_scores(logits, target)) == pytest.approx(1 - np.mean(ratios), rel=1e-12)


@pytest.mark.parametrize("name", ["dice", "iou", "lovasz", "focal", "cross_entropy", "ohem"])
def test_certainty_is_0_when_right_and_the_worst_when_wrong(name):
    target = (torch.arange(400).reshape(1, 20, 20) // 100) % 2
    right = 60.0 * torch.nn.functional.one_hot(target, 2).permute(0, 3, 1, 2).double()
    assert value_of(name, make_scores(right, target)) == pytest.approx(0, abs=1e-9)
    worst = value_of(name, make_scores(-right, target))
    wanted = {"dice": 1 - SMOOTH / (400 + SMOOTH), "iou": 1 - SMOOTH / (400 + SMOOTH), "lovasz": 1.0}
    assert worst == pytest.approx(wanted.get(name, 60.0), rel=1e-9)


def jaccard_loss(wrong, truth):
    """Return 1 - IoU of a class whose pixels are `truth`, when those in `wrong` are mispredicted (Berman, eq. 6)."""
    return 1 - (truth & ~wrong).sum() / (truth | wrong).sum()


def test_lovasz_is_the_integral_of_the_jaccard_loss_over_thresholds(logits, target):
    probability, labels = pixels(logits, target)
    losses = []
    for label in range(CLASSES):
        truth = labels == label
        errors = np.where(truth, 1 - probability[:, label], probability[:, label])
        levels = np.sort(np.append(errors, 0.0))
        # The extension of a set function is its integral over the sets {errors >= t} (Berman, section 3.1).
        integral = sum(
            (high - low) * jaccard_loss(errors >= high, truth) for low, high in itertools.pairwise(levels) if high > low
        )
        if truth.any():
            losses.append(integral)
    assert len(losses) == 3
    assert value_of("lovasz", make_scores(logits, target)) == pytest.approx(np.mean(losses), rel=1e-9)


def test_lovasz_of_hard_predictions_is_1_minus_iou():
    generator = torch.Generator().manual_seed(0)
    target, guess = (torch.randint(0, 3, (1, 7, 7), generator=generator) for _ in range(2))
    certain = 80.0 * torch.nn.functional.one_hot(guess, 3).permute(0, 3, 1, 2).double()
    ious = [((guess == c) & (target == c)).sum() / ((guess == c) | (target == c)).sum() for c in range(3)]
    assert value_of("lovasz", make_scores(certain, target)) == pytest.approx(1 - np.mean(ious), rel=1e-6)


def numpy_edges(labels):
    """Return which pixels see another class within the radius, void aside; labels (H, W)."""
    height, width = labels.shape
    edges = np.zeros(labels.shape, bool)
    for y in range(height):
        for x in range(width):
            near = labels[max(0, y - EDGE_RADIUS) : y + EDGE_RADIUS + 1, max(0, x - EDGE_RADIUS) : x + EDGE_RADIUS + 1]
            edges[y, x] = labels[y, x] != VOID and (~np.isin(near, [labels[y, x], VOID])).any()
    return edges


def test_edges_of_labels_are_four_pixels_thick_and_stop_at_void():
    target = torch.zeros(1, 12, 12, dtype=torch.int64)
    target[:, :, 6:] = 1
    target[:, 9:] = VOID
    found = label_edges(make_scores(torch.zeros(1, 2, 12, 12), target))[0].numpy()
    assert found[0].tolist() == [False] * 4 + [True] * 4 + [False] * 4
    assert not found[9:].any()
    assert (found == numpy_edges(target[0].numpy())).all()


def test_edge_loss_is_balanced_cross_entropy(logits, edge):
    target = torch.zeros(2, 6, 5, dtype=torch.int64)
    target[0, 4:] = 1
    target[1, 0] = VOID
    edges = np.stack([numpy_edges(labels) for labels in target.numpy()])
    counted = target.numpy() != VOID
    assert 0 < edges.sum() < counted.sum() / 2
    probability = 1 / (1 + np.exp(-edge.numpy()))
    entropy = -np.where(edges, np.log(probability), np.log(1 - probability))
    share = edges.sum() / counted.sum()
    wanted = (entropy * np.where(edges, 1 - share, share) * counted).sum() / counted.sum()
    assert value_of("edge", make_scores(logits, target, edge=edge)) == pytest.approx(wanted, rel=1e-9)


def numpy_boundaries(region):
    """Return 1/sqrt(2) of the length of the Sobel slope of a map (H, W), outer pixels repeated."""
    import cv2

    across, down = (cv2.Sobel(region, cv2.CV_64F, *axes, ksize=3, borderType=cv2.BORDER_REPLICATE) / 4
                    for axes in ((1, 0), (0, 1)))  # fmt: skip
    return np.sqrt((across**2 + down**2) / 2)


def test_boundary_is_the_papers_two_dual_task_terms(logits, target, edge):
    probability = torch.softmax(logits, dim=1).numpy()
    labels = target.numpy()
    unknown = np.stack([np.pad(image == VOID, 1) for image in labels])
    unknown = np.stack([unknown[:, y : y + 6, x : x + 5] for y in range(3) for x in range(3)]).any(axis=0)
    differences = []
    for image in range(2):
        for label in range(CLASSES):
            found = numpy_boundaries(probability[image, label])
            true = numpy_boundaries((labels[image] == label).astype(float))
            places = ~unknown[image] & (np.maximum(found, true) > FAINT)
            differences.append(np.abs(found - true)[places])
    certain = (1 / (1 + np.exp(-edge.numpy())) > CERTAIN_EDGE) & (labels != VOID)
    assert 0 < certain.sum() < certain.size / 2
    entropies = [-np.log(probability[i, labels[i, y, x], y, x]) for i, y, x in zip(*np.nonzero(certain), strict=True)]
    wanted = np.concatenate(differences).mean() + np.mean(entropies)
    # The root is taken of a slope that is never quite 0.
    assert value_of("boundary", make_scores(logits, target, edge=edge)) == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("name", list_losses())
def test_slopes_are_those_of_the_value(logits, target, edge, name):
    options = LossSection(label_smoothing=0.1, ohem_threshold=0.4)

    def value(logits, edge):
        return LOSSES.get(name)(make_scores(logits, target, WEIGHTS, edge), options)

    # Those of the boundary's second term and of nothing else but `edge` would reach the edge head.
    inputs = (logits.requires_grad_(), edge.requires_grad_(name == "edge"))
    assert torch.autograd.gradcheck(value, inputs, eps=1e-7, atol=1e-5)
