"""The learning rate over a run, against the formulas and against torch's own schedules."""

import math

import pytest
import torch

from seg_core.config.schema import SolverSection
from seg_train.schedules import build_factor, build_schedule

STEPS = 100


def make_optimizer():
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in (0.2, 0.02)]
    return torch.optim.SGD(groups, lr=0.2)


def rates(schedule, optimizer, steps):
    found = []
    for _ in range(steps):
        found.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    return found


def test_warm_up_climbs_even_stairs_from_nothing():
    factor = build_factor(SolverSection(lr=0.2, warmup_steps=10), STEPS)
    assert [factor(step) for step in range(11)] == pytest.approx([*(n / 10 for n in range(1, 11)), 1.0])


def test_warm_up_begins_at_its_own_rate():
    factor = build_factor(SolverSection(lr=0.2, warmup_lr=0.02, warmup_steps=10), STEPS)
    stairs = [factor(step) for step in range(10)]
    assert stairs[0] == pytest.approx(0.1)
    assert stairs[9] == pytest.approx(1.0)
    assert torch.tensor(stairs).diff().tolist() == pytest.approx([0.1] * 9, rel=1e-5)


@pytest.mark.parametrize("schedule", ["cosine", "poly", "one_cycle", "constant"])
def test_a_run_of_any_length_has_rates_above_0_until_its_end(schedule):
    for steps in (1, 2, 3, 7, STEPS):
        factor = build_factor(SolverSection(schedule=schedule, warmup_steps=500), steps)
        assert all(0 < factor(step) <= 1 + 1e-12 for step in range(steps))
        assert max(factor(step) for step in range(steps)) > 0.6 or steps < 4
        assert factor(10 * steps) == pytest.approx(factor(steps), abs=1e-3)  # what follows the last step stays there


def test_poly_is_the_papers():
    factor = build_factor(SolverSection(schedule="poly", poly_power=0.9, warmup_steps=0), STEPS)
    assert [factor(step) for step in (0, 25, 99)] == pytest.approx([1.0, 0.75**0.9, 0.01**0.9])
    assert factor(STEPS) == 0


def test_cosine_is_torchs():
    optimizer = make_optimizer()
    wanted = rates(torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS), optimizer, STEPS)
    optimizer = make_optimizer()
    options = SolverSection(lr=0.2, warmup_steps=0)
    found = rates(build_schedule(optimizer, options, STEPS), optimizer, STEPS)
    assert torch.tensor(found).numpy() == pytest.approx(torch.tensor(wanted).numpy(), rel=1e-5, abs=1e-9)


def test_constant_stays_after_its_warm_up():
    factor = build_factor(SolverSection(schedule="constant", warmup_steps=5), STEPS)
    assert [factor(step) for step in (0, 4, 5, 50, 99)] == pytest.approx([0.2, 1, 1, 1, 1])


@pytest.mark.parametrize("warmup_lr", [0.0, 0.002])
def test_one_cycle_is_torchs(warmup_lr):
    optimizer = make_optimizer()
    div = 0.2 / warmup_lr if warmup_lr else 25.0
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [0.2, 0.02], total_steps=STEPS, div_factor=div, cycle_momentum=False
    )
    wanted = rates(cycle, optimizer, STEPS - 1)
    optimizer = make_optimizer()
    options = SolverSection(lr=0.2, schedule="one_cycle", warmup_lr=warmup_lr)
    found = rates(build_schedule(optimizer, options, STEPS), optimizer, STEPS - 1)
    assert torch.tensor(found).numpy() == pytest.approx(torch.tensor(wanted).numpy(), rel=1e-5)
    assert max(rate for rate, _ in found) == pytest.approx(0.2)


@pytest.mark.parametrize("schedule", ["cosine", "poly", "one_cycle", "constant"])
def test_a_resumed_run_goes_on_with_the_same_rates(schedule):
    options = SolverSection(lr=0.2, schedule=schedule, warmup_steps=10)
    optimizer = make_optimizer()
    whole = rates(build_schedule(optimizer, options, STEPS), optimizer, STEPS)
    optimizer = make_optimizer()
    first = build_schedule(optimizer, options, STEPS)
    assert rates(first, optimizer, 40) == whole[:40]
    resumed = make_optimizer()
    second = build_schedule(resumed, options, STEPS)
    resumed.load_state_dict(optimizer.state_dict())
    second.load_state_dict(first.state_dict())
    assert rates(second, resumed, 60) == whole[40:]
    assert all(math.isfinite(rate) for step in whole for rate in step)
