"""Each distance against its formula in numpy."""

import numpy as np
import pytest
import torch

from seg_train.distill_losses import (
    FEATURE_DISTANCES,
    channel_divergence,
    cosine_distance,
    logits_divergence,
    standardised_distance,
)

DIVERGENCES = {"logits": logits_divergence, "channel": channel_divergence}
SHAPE = (2, 3, 4, 5)


@pytest.fixture
def maps():
    generator = torch.Generator().manual_seed(0)
    student, teacher = (3 * torch.randn(SHAPE, generator=generator) for _ in range(2))
    counted = (torch.rand((2, 4, 5), generator=generator) > 0.3).float()
    return student, teacher, counted


def softmax(values, axis):
    powers = np.exp(values - values.max(axis=axis, keepdims=True))
    return powers / powers.sum(axis=axis, keepdims=True)


def as_float64(*tensors):
    return [tensor.double().numpy() for tensor in tensors]


def test_soft_targets_are_the_pixels_mean_divergence_times_the_square_of_the_temperature(maps):
    student, teacher, counted = as_float64(*maps)
    wanted, found = softmax(teacher / 2.5, 1), softmax(student / 2.5, 1)
    by_pixel = (wanted * np.log(wanted / found)).sum(1)
    expected = 2.5**2 * by_pixel[counted == 1].mean()
    assert float(logits_divergence(*maps, 2.5)) == pytest.approx(expected, rel=1e-5)


def test_channel_wise_distance_compares_places_class_by_class(maps):
    student, teacher, counted = as_float64(*maps)
    expected = 0.0
    for image in range(SHAPE[0]):
        places = counted[image] == 1
        for channel in range(SHAPE[1]):
            wanted = softmax(teacher[image, channel][places] / 4, 0)
            found = softmax(student[image, channel][places] / 4, 0)
            expected += 4**2 / SHAPE[1] * (wanted * np.log(wanted / found)).sum() / SHAPE[0]
    assert float(channel_divergence(*maps, 4.0)) == pytest.approx(expected, rel=1e-5)


def test_feature_vectors_are_compared_by_angle(maps):
    student, teacher, counted = as_float64(*maps)
    lengths = np.linalg.norm(student, axis=1) * np.linalg.norm(teacher, axis=1)
    expected = (1 - (student * teacher).sum(1) / lengths)[counted == 1].mean()
    assert float(cosine_distance(*maps)) == pytest.approx(expected, rel=1e-5)
    assert float(cosine_distance(7 * maps[0], *maps[1:])) == pytest.approx(expected, rel=1e-5)


def test_feature_values_are_compared_after_standardising_the_teachers_channels(maps):
    student, teacher, counted = as_float64(*maps)
    mean, variance = (statistic(teacher, axis=(0, 2, 3), keepdims=True) for statistic in (np.mean, np.var))
    by_place = ((student - (teacher - mean) / np.sqrt(variance + 1e-5)) ** 2).mean(1)
    assert float(standardised_distance(*maps)) == pytest.approx(by_place[counted == 1].mean(), rel=1e-5)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_equal_answers_are_at_distance_0_and_shifted_ones_too(maps, name):
    _, teacher, counted = maps
    # What leaves the softmax as it is: the same number on all classes of a pixel, or on all places of a class.
    shift = torch.randn((2, 1, 4, 5) if name == "logits" else (2, 3, 1, 1), generator=torch.Generator().manual_seed(1))
    for student in (teacher, teacher + shift):
        assert float(DIVERGENCES[name](student, teacher, counted, 2.0)) == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_what_lies_in_uncounted_pixels_changes_nothing(maps, name):
    student, teacher, counted = maps
    noise = 5 * torch.randn(SHAPE, generator=torch.Generator().manual_seed(2)) * (1 - counted[:, None])
    plain = DIVERGENCES[name](student, teacher, counted, 2.0)
    noisy = DIVERGENCES[name](student + noise, teacher - noise, counted, 2.0)
    assert float(noisy) == pytest.approx(float(plain), rel=1e-6)


@pytest.mark.parametrize("name", [*DIVERGENCES, *FEATURE_DISTANCES])
def test_a_batch_of_nothing_but_void_is_worth_0_and_teaches_nothing(maps, name):
    student, teacher, counted = maps
    student.requires_grad_()
    arguments = (student, teacher, torch.zeros_like(counted))
    loss = DIVERGENCES[name](*arguments, 2.0) if name in DIVERGENCES else FEATURE_DISTANCES[name](*arguments)
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert not student.grad.any()


@pytest.mark.parametrize("name", DIVERGENCES)
def test_temperature_squared_keeps_the_gradient_of_small_logits(maps, name):
    """Section 2.1 of Hinton et al.: in the limit of high temperatures the gradient no longer depends on it."""
    _, teacher, counted = maps
    gradients = []
    for temperature in (50.0, 100.0):
        student = torch.zeros(SHAPE, requires_grad=True)
        DIVERGENCES[name](student, teacher, counted, temperature).backward()
        gradients.append(student.grad)
    strongest = float(gradients[1].abs().max())
    assert strongest > 0
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=0.05 * strongest)
