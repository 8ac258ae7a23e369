"""Every registered network learns: its first steps move all of it, and a few more fit it to two pictures."""

import math

import pytest
import torch

from seg_core.config.schema import LossSection, SolverSection
from seg_core.models import build_model, list_models
from seg_core.spec import ModelSpec
from seg_train.losses import SegmentationLoss
from seg_train.optim import build_optimizer

pytestmark = pytest.mark.slow

NUM_CLASSES = 3
#: The largest number of steps that any network may take to halve its loss; most take fewer than ten.
MOST_STEPS = 40


@pytest.fixture(params=list_models())
def network(request):
    torch.manual_seed(0)
    return build_model(ModelSpec(request.param, NUM_CLASSES)).train()


@pytest.fixture
def batch(network):
    """Two pictures of two coloured rectangles each, at the smallest size from 64 on that the network takes."""
    step = network.size_divisor
    side = -(-max(64, network.minimum_side) // step) * step
    generator = torch.Generator().manual_seed(1)
    images = torch.randn((2, 3, side, side), generator=generator) * 0.2
    target = torch.zeros((2, side, side), dtype=torch.int64)
    half = side // 2
    for index in range(2):
        target[index, index * half // 2 :, :half] = 1
        target[index, :half, half + index * 8 :] = 2
        for label in (1, 2):
            images[index, label, target[index] == label] += 2.0
    target[:, :2] = 255
    return images, target


def make_parts(network):
    loss = SegmentationLoss(LossSection(), ignore_index=255, num_classes=NUM_CLASSES)
    return loss, build_optimizer(network, SolverSection(steps=MOST_STEPS, lr=1e-3), fused=False)


def take_step(network, batch, loss, optimizer):
    images, target = batch
    losses = loss(network.forward_heads(images), target)
    optimizer.zero_grad(set_to_none=True)
    losses["loss"].backward()
    optimizer.step()
    return {name: value.item() for name, value in losses.items()}


def test_a_step_is_finite_and_two_reach_every_kernel(network, batch):
    loss, optimizer = make_parts(network)
    losses = take_step(network, batch, loss, optimizer)
    assert {"loss", "main"} < set(losses)
    assert all(math.isfinite(value) for value in losses.values())
    # Residual branches that start silent pass a gradient on from the second step. Biases before a BatchNorm never do.
    take_step(network, batch, loss, optimizer)
    kernels = {name: parameter for name, parameter in network.named_parameters() if parameter.ndim > 1}
    assert [name for name, kernel in kernels.items() if not kernel.grad.abs().max() > 0] == []


def test_overfits_two_pictures(network, batch):
    loss, optimizer = make_parts(network)
    first = take_step(network, batch, loss, optimizer)
    for _ in range(MOST_STEPS):
        last = take_step(network, batch, loss, optimizer)
        if last["loss"] < 0.5 * first["loss"] and last["main"] < 0.5 * first["main"]:
            break
    assert last["loss"] < 0.5 * first["loss"], (first, last)
    assert last["main"] < 0.5 * first["main"], (first, last)


@pytest.mark.parametrize("name", ["ddrnet_23_slim", "bisenet_v1", "bisenet_v2", "deeplabv3plus_mobilenet_v2"])
def test_an_edge_head_learns_where_classes_meet(name):
    torch.manual_seed(0)
    network = build_model(ModelSpec(name, NUM_CLASSES, 3, {"edge_head": True})).train()
    generator = torch.Generator().manual_seed(1)
    images = torch.randn((2, 3, 112, 112), generator=generator) * 0.1
    target = torch.zeros((2, 112, 112), dtype=torch.int64)
    target[:, 40:, :56] = 1
    images[:, 1] += 2.0 * (target == 1)
    loss = SegmentationLoss(LossSection(edge=20.0, boundary=1.0), ignore_index=255, num_classes=NUM_CLASSES)
    optimizer = build_optimizer(network, SolverSection(lr=2e-3), fused=False)
    values = [take_step(network, (images, target), loss, optimizer)["edge"] for _ in range(21)]
    assert values[-1] < 0.75 * values[0], values
    edge = network.forward_heads(images)["edge"].detach()
    edge = torch.nn.functional.interpolate(edge, size=target.shape[-2:], mode="bilinear")[:, 0]
    upright, plain, inside = edge[:, 50:, 54:58].mean(), edge[:, 50:, 80:].mean(), edge[:, 50:, :40].mean()
    assert upright > max(plain, inside) + 1.5
