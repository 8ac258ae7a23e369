"""How far a student's answer is from its teacher's: by pixel, by channel and in an inner feature map.

Everything is float32, has static shapes and no branch on values, so that it compiles into one graph. `counted` is 1
where a position counts and 0 where it does not, (N, h, w); where none does the distance is 0.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

#: A score whose exponential is 0 in float32 beside any score of a network, and whose own arithmetic stays finite.
_LOWEST = -1e4


def masked_mean(values: Tensor, counted: Tensor) -> Tensor:
    """Return the mean of `values` where `counted` is 1; both (N, h, w)."""
    return (values * counted).sum() / counted.sum().clamp(min=1.0)


def logits_divergence(student: Tensor, teacher: Tensor, counted: Tensor, temperature: float) -> Tensor:
    """Return T² KL(teacher ‖ student) of the classes at temperature T, the mean over the counted pixels.

    T² keeps the gradient as strong as that of hard labels (Hinton et al., 2015, https://arxiv.org/abs/1503.02531,
    section 2). Both are logits (N, C, h, w).
    """
    wanted, found = ((logits / temperature).log_softmax(dim=1) for logits in (teacher, student))
    return temperature**2 * masked_mean((wanted.exp() * (wanted - found)).sum(dim=1), counted)


def channel_divergence(student: Tensor, teacher: Tensor, counted: Tensor, temperature: float) -> Tensor:
    """Return T² / C times the sum over classes of KL(teacher ‖ student) of where in the image a class is.

    Each channel becomes a distribution over the counted positions; the mean is over the images (CWD: Shu et al., ICCV
    2021, https://arxiv.org/abs/2011.13256, equations 4 and 5). Both are logits (N, C, h, w).
    """
    hidden = counted[:, None] == 0
    wanted, found = (
        (logits / temperature).masked_fill(hidden, _LOWEST).flatten(2).log_softmax(dim=2)
        for logits in (teacher, student)
    )
    return temperature**2 * (wanted.exp() * (wanted - found)).sum(dim=2).mean()


def cosine_distance(student: Tensor, teacher: Tensor, counted: Tensor) -> Tensor:
    """Return 1 - the cosine between the feature vectors, the mean over the counted positions; both (N, C, h, w)."""
    return masked_mean(1 - F.cosine_similarity(student, teacher, dim=1), counted)


def standardised_distance(student: Tensor, teacher: Tensor, counted: Tensor) -> Tensor:
    """Return the mean squared difference to the teacher's features, brought to mean 0 and variance 1 in each channel.

    Unscaled, a channel with large values would hide all others (FitNets compare them so: Romero et al., 2015,
    https://arxiv.org/abs/1412.6550). Statistics are of the batch. Both are (N, C, h, w).
    """
    variance, mean = torch.var_mean(teacher, dim=(0, 2, 3), keepdim=True, correction=0)
    difference = student - (teacher - mean) * (variance + 1e-5).rsqrt()
    return masked_mean(difference.square().mean(dim=1), counted)


FEATURE_DISTANCES = {"cosine": cosine_distance, "mse": standardised_distance}
