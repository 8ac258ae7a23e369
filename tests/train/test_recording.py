"""What of a recorded step needs no GPU: it moves network and average as other steps do, the average a step late."""

import copy

import pytest
import small_runs
import torch
from test_stepper import CPU, TWO_CPUS, assert_equal, build, draw_batch, snapshot
from torch import nn

from seg_train.average import build_average
from seg_train.engine import Trainer
from seg_train.recording import lerp_average


def test_the_recorded_average_moves_trainable_weights_as_the_other_one_does():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    recorded, plain = build_average(network, 0.9), build_average(copy.deepcopy(network), 0.9)
    for _ in range(3):
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(torch.randn_like(parameter))
        network(torch.randn(2, 3, 8, 8))  # moves BatchNorm's statistics and its counter
        # As Stepper calls it: outside of any no_grad, with weights that want gradients.
        lerp_average(recorded, network, torch.tensor(recorded.next_weight()))
        recorded.n_averaged += 1
        plain.update_parameters(network)
    for name, value in plain.state_dict().items():
        assert torch.allclose(value.float(), recorded.state_dict()[name].float(), atol=1e-6), name
    assert all(parameter.requires_grad for parameter in network.parameters())


def without_a_graph(stepper):
    """Let `stepper` do the work of a recording each time anew."""
    stepper._recording = lambda batches, weight: stepper._on_device(batches, torch.tensor(weight))
    return stepper


def assert_close(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.allclose(found[name].float(), value.float(), atol=1e-6), name


@pytest.fixture
def two_processes_agree(monkeypatch):
    """The other process has the same gradients: their mean is what is here."""
    monkeypatch.setattr("seg_train.parallel.dist.get_backend", lambda: "gloo")
    monkeypatch.setattr("seg_train.parallel.dist.all_reduce", lambda flat: flat.mul_(2))


@pytest.mark.parametrize("place", [CPU, TWO_CPUS], ids=["alone", "two"])
def test_what_is_recorded_is_the_step_that_others_take(two_processes_agree, place):
    plain, recorded = build(), without_a_graph(build(workers=place))
    for seed in range(4):
        before = snapshot(plain.state.average)
        expected = plain.step(iter([draw_batch(seed)]))
        found = recorded.step(iter([draw_batch(seed)]))
        assert torch.equal(found["loss"], expected["loss"])
        assert_equal(snapshot(recorded.state.model), snapshot(plain.state.model))
        late = snapshot(recorded.state.average)
        assert_close({**late, "n_averaged": 0 * late["n_averaged"]}, {**before, "n_averaged": 0 * late["n_averaged"]})
    recorded.catch_up()
    assert_close(snapshot(recorded.state.average), snapshot(plain.state.average))


def test_looking_at_the_average_on_the_way_changes_nothing():
    looked_at, left_alone = without_a_graph(build()), without_a_graph(build())
    for seed in range(6):
        for stepper in (looked_at, left_alone):
            stepper.step(iter([draw_batch(seed)]))
        if seed % 2:
            looked_at.catch_up()
            looked_at.catch_up()
    left_alone.catch_up()
    assert_equal(snapshot(looked_at.state.average), snapshot(left_alone.state.average))


@pytest.mark.usefixtures("small_network")
def test_a_run_scores_and_keeps_the_average_as_it_is_after_its_last_step(tmp_path):
    """Whoever evaluates or saves gives the average first what it is owed."""
    small_runs.draw_data(tmp_path)
    states = []
    for name in ("plain", "recorded"):
        trainer = Trainer(small_runs.config_of(tmp_path, output=str(tmp_path / name)))
        if name == "recorded":
            without_a_graph(trainer.stepper)
        trainer.stepper.close = lambda: None  # there is no recording to free
        trainer.run()
        states.append([torch.load(tmp_path / name / kept, weights_only=True) for kept in ("resume.pth", "best.pth")])
    for plain, recorded in zip(*states, strict=True):
        assert_close(dict(_tensors(recorded)), dict(_tensors(plain)))


def _tensors(tree, name=""):
    """Yield all tensors of a checkpoint by where they lie."""
    if isinstance(tree, torch.Tensor):
        yield name, tree
    elif isinstance(tree, dict | list | tuple):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from _tensors(value, f"{name}/{key}")
