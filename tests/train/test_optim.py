"""Optimisers by name, the groups they treat differently, and the moving average of weights."""

import copy
import io

import pytest
import torch
from pydantic import ValidationError
from torch.optim.swa_utils import AveragedModel

from seg_core.config.schema import SolverSection
from seg_core.errors import ConfigError
from seg_core.models import build_placeholder, list_models
from seg_core.spec import ModelSpec
from seg_train.average import MovingAverage, build_average
from seg_train.optim import build_optimizer, list_optimizers, parameter_groups


@pytest.fixture
def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.BatchNorm2d(8), torch.nn.ReLU(), torch.nn.Conv2d(8, 2, 1)
    )


def take_steps(network, optimizer, steps=5):
    images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    target = (images[:, 0] > 0).long()
    losses = []
    for _ in range(steps):
        loss = torch.nn.functional.cross_entropy(network(images), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def goes_on(network, name):
    """Whether the optimiser learns, and a copy loaded from its saved state takes the very same steps."""
    options = SolverSection(optimizer=name, lr=1e-3)
    optimizer = build_optimizer(network, options, fused=False)
    losses = take_steps(network, optimizer)
    stream = io.BytesIO()
    torch.save(optimizer.state_dict(), stream)
    stream.seek(0)
    twin = copy.deepcopy(network)
    resumed = build_optimizer(twin, options, fused=False)
    resumed.load_state_dict(torch.load(stream, weights_only=True))
    return losses[-1] < losses[0] and take_steps(twin, resumed, 2) == take_steps(network, optimizer, 2)


def test_every_optimiser_learns_and_goes_on_from_its_saved_state(network):
    names = list_optimizers()
    assert len(names) == len(set(names)) > 50
    assert [name for name in names if not goes_on(copy.deepcopy(network), name)] == []


def test_the_usual_names_are_there_as_written_elsewhere(network):
    assert {"adamw", "sgd", "nesterov", "adam", "adabelief", "lamb", "lion", "radam"} <= set(list_optimizers())
    for name, kind in (("AdaBelief", "AdaBelief"), ("AdamW", "AdamW"), ("SGD", "SGD"), ("rmsprop_tf", "RMSpropTF")):
        optimizer = build_optimizer(network, SolverSection(optimizer=name), fused=False)
        assert type(optimizer).__name__ == kind


def test_torchs_own_take_fused_steps_and_the_momentum(network):
    for name in ("adamw", "adam", "sgd", "momentum", "nesterov"):
        optimizer = build_optimizer(network, SolverSection(optimizer=name, momentum=0.8), fused=True)
        assert type(optimizer).__module__.startswith("torch.optim")
        assert all(group["fused"] for group in optimizer.param_groups)
        if "momentum" in optimizer.defaults:
            assert {group["momentum"] for group in optimizer.param_groups} == {0.8}
            assert optimizer.defaults["nesterov"] == (name == "nesterov")


def test_adabelief_takes_the_papers_step():
    """Zhuang et al., NeurIPS 2020, algorithm 2, with decay apart from the gradient, in plain numbers."""
    weight = torch.nn.Parameter(torch.tensor([[1.0]], dtype=torch.float64))
    holder = torch.nn.ParameterList([weight])
    options = SolverSection(optimizer="adabelief", lr=0.1, weight_decay=0.01)
    optimizer = build_optimizer(holder, options, fused=False)
    wanted, mean, belief = 1.0, 0.0, 0.0
    for step, gradient in enumerate((0.5, -0.2, 0.3), start=1):
        weight.grad = torch.tensor([[gradient]], dtype=torch.float64)
        optimizer.step()
        mean = 0.9 * mean + 0.1 * gradient
        belief = 0.999 * belief + 0.001 * (gradient - mean) ** 2
        wanted *= 1 - 0.1 * 0.01
        wanted -= 0.1 * (mean / (1 - 0.9**step)) / (belief / (1 - 0.999**step)) ** 0.5
        assert weight.item() == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize(
    ("name", "advice"),
    [("adamm", "did you mean .*'adam'"), ("AdaBeleif", "did you mean 'adabelief'"), ("x9", "adamw, sgd and adabelief")],
)
def test_an_unknown_name_gets_the_nearest_in_one_line(network, name, advice):
    with pytest.raises(ConfigError, match=rf"^solver.optimizer: unknown optimiser '{name}'; {advice}") as caught:
        build_optimizer(network, SolverSection(optimizer=name), fused=False)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["nesterov", "sgdw"])
def test_a_momentum_that_an_optimiser_refuses_is_named(network, name):
    line = rf"^solver\.optimizer: '{name}' cannot be built \(.*\); change it or solver\.momentum, which is 0\.0$"
    with pytest.raises(ConfigError, match=line):
        build_optimizer(network, SolverSection(optimizer=name, momentum=0.0), fused=False)


def test_a_momentum_of_one_would_never_forget():
    with pytest.raises(ValidationError, match="less than 1"):
        SolverSection(momentum=1.0)


@pytest.mark.parametrize("name", list_models())
def test_every_networks_parameters_are_parted_into_encoder_decoder_and_heads(name):
    network = build_placeholder(ModelSpec(name, 5, 3, {"edge_head": True}))
    parts = network.parameter_groups()
    assert list(parts) == ["encoder", "decoder", "heads"]
    assert all(parts.values())
    everything = [id(parameter) for parameters in parts.values() for parameter in parameters]
    assert sorted(everything) == sorted(map(id, network.parameters()))
    names = {id(parameter): key for key, parameter in network.named_parameters()}
    heads = {names[id(parameter)].partition(".")[0] for parameter in parts["heads"]}
    assert {name.partition(".")[0] for name in network.auxiliary_modules} <= heads
    # Scores are read off by heads, and images by encoders.
    assert all(names[id(p)] for p in parts["encoder"])
    assert any(parameter.ndim == 4 and parameter.shape[1] == 3 for parameter in parts["encoder"])
    assert not any(
        parameter.ndim == 4 and parameter.shape[0] in (5, 1) and parameter.shape[1] > 1
        for part in ("encoder", "decoder")
        for parameter in parts[part]
    )


def test_parts_have_their_own_rates_and_only_kernels_decay():
    network = build_placeholder(ModelSpec("deeplabv3plus", 5))
    options = SolverSection(lr=0.01, lr_encoder=0.1, lr_heads=2.0, weight_decay=0.05)
    groups = parameter_groups(network, options)
    names = {id(parameter): key for key, parameter in network.named_parameters()}
    rates = {names[id(p)]: group["lr"] for group in groups for p in group["params"]}
    decays = {names[id(p)]: group["weight_decay"] for group in groups for p in group["params"]}
    assert set(rates) == set(names.values())
    assert rates["encoder.conv1.weight"] == pytest.approx(0.001)
    assert rates["aspp.project.0.weight"] == pytest.approx(0.01)
    assert rates["classifier.weight"] == pytest.approx(0.02)
    assert rates["aux.1.bias"] == pytest.approx(0.02)
    assert decays["classifier.weight"] == 0.05
    assert decays["classifier.bias"] == decays["encoder.bn1.weight"] == 0.0
    assert len(groups) == 6


def test_equal_rates_share_their_groups_and_frozen_weights_have_none():
    network = build_placeholder(ModelSpec("ddrnet_23_slim", 5))
    network.conv1.requires_grad_(False)
    groups = parameter_groups(network, SolverSection())
    assert len(groups) == 2
    found = {id(parameter) for group in groups for parameter in group["params"]}
    assert found == {id(parameter) for parameter in network.parameters() if parameter.requires_grad}


def test_parameters_from_elsewhere_learn_at_the_heads_rate(network):
    projection = torch.nn.Linear(2, 2)
    options = SolverSection(lr=0.01, lr_heads=3.0)
    optimizer = build_optimizer(network, options, fused=False, extra=list(projection.parameters()))
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert rates[id(projection.weight)] == pytest.approx(0.03)
    assert rates[id(network[0].weight)] == pytest.approx(0.01)


def test_the_average_follows_with_a_decay_that_grows(network):
    average = build_average(network, 0.5)
    before = copy.deepcopy(average.module)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1.0)
    network[1].num_batches_tracked += 7
    average.update_parameters(network)
    assert torch.equal(average.module[0].weight, network[0].weight)
    with torch.no_grad():
        network[0].weight.add_(1.0)
    network[1].running_mean += 1.0
    average.update_parameters(network)  # decay (1 + 1) / (10 + 1)
    wanted = before[0].weight + 1 + (1 - 2 / 11)
    torch.testing.assert_close(average.module[0].weight, wanted)
    torch.testing.assert_close(average.module[1].running_mean, torch.full((8,), 1 - 2 / 11))
    assert average.module[1].num_batches_tracked == 7
    for _ in range(60):
        average.update_parameters(network)
    with torch.no_grad():
        network[0].weight.add_(1.0)
    last = average.module[0].weight.clone()
    average.update_parameters(network)  # decay 0.5 by now
    torch.testing.assert_close(average.module[0].weight, last.lerp(network[0].weight, 0.5))
    assert average.n_averaged == 63


def test_the_average_counts_on_the_cpu_and_loads_states_of_torchs_own(network):
    average = build_average(network, 0.9)
    average.update_parameters(network)
    assert average.to("meta").n_averaged.device.type == "cpu"
    older = AveragedModel(network, use_buffers=True)
    for _ in range(3):
        older.update_parameters(network)
    assert set(older.state_dict()) == set(average.state_dict())
    fresh = MovingAverage(network, 0.9)
    fresh.load_state_dict(older.state_dict())
    assert int(fresh.n_averaged) == 3
    again = MovingAverage(network, 0.9)
    again.load_state_dict(fresh.state_dict())
    assert torch.equal(again.module[0].weight, older.module[0].weight)
