"""What only a GPU can show: a step that is compiled and recorded is the step that others take. `make test-gpu`."""

import math
import os

import pytest
import small_runs
import torch
import torch.distributed as dist
from test_stepper import CONTRACT, draw_batch, options, snapshot

from seg_core.config.schema import LossSection
from seg_train.engine import Trainer
from seg_train.graph import TrainingGraph
from seg_train.losses import SegmentationLoss
from seg_train.losses.segmentation import EDGE_TERMS, list_losses
from seg_train.optim import build_average, build_optimizer, build_schedule
from seg_train.parallel import Workers
from seg_train.state import RunState
from seg_train.stepper import Stepper

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="platform: torch sees no CUDA device"),
]
GPU = torch.device("cuda", 0)


class OneOfOne(Workers):
    """A group of one process that exchanges as if there were more: NCCL takes the mean of what is here."""

    @property
    def is_parallel(self):
        return True


@pytest.fixture(autouse=True)
def _exact_products(monkeypatch):
    """Convolutions in float32 are rounded to TensorFloat32 otherwise, each kernel in its own order."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.fixture
def group(monkeypatch):
    """The process group of NCCL that `OneOfOne` needs."""
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(20_000 + os.getpid() % 10_000))
    dist.init_process_group("nccl", rank=0, world_size=1, device_id=GPU)
    yield
    dist.destroy_process_group()


def build(solver, workers=None, loss=None):
    """Return a stepper on the GPU; the same weights each time."""
    torch.manual_seed(0)
    network = small_runs.SmallNetwork().train().to(GPU, memory_format=torch.channels_last)
    optimizer = build_optimizer(network, solver, fused=True)
    state = RunState(
        network,
        build_average(network, solver.ema_decay),
        optimizer,
        build_schedule(optimizer, solver, solver.steps),
        torch.amp.GradScaler("cuda", enabled=False),
    )
    graph = TrainingGraph(network, SegmentationLoss(loss or LossSection(), 255, 3), CONTRACT).to(GPU)
    return Stepper(graph, state, solver, workers or Workers(0, 1, GPU))


def walk(stepper, steps=8):
    """Take steps, looking at the average once on the way; return the losses, the weights and the average."""
    losses = []
    for seed in range(steps):
        batch = tuple(tensor.to(GPU) for tensor in draw_batch(seed, 8))
        losses.append(float(stepper.step(iter([batch]))["loss"]))
        if seed == steps - 3:
            stepper.catch_up()
    stepper.catch_up()
    walked = losses, snapshot(stepper.state.model), snapshot(stepper.state.average)
    stepper.close()
    return walked


def assert_same_walk(found, expected, tolerance):
    assert found[0] == pytest.approx(expected[0], rel=tolerance)
    assert all(map(math.isfinite, found[0]))
    for mine, theirs in zip(found[1:], expected[1:], strict=True):
        assert mine.keys() == theirs.keys()
        for name, value in theirs.items():
            torch.testing.assert_close(mine[name].float(), value.float(), rtol=tolerance, atol=tolerance, msg=name)


def test_recorded_steps_move_network_and_average_as_plain_ones():
    plain = walk(build(options(optimizer="sgd")))
    assert_same_walk(walk(build(options(optimizer="sgd", compile="cuda_graphs"))), plain, 1e-3)
    assert plain[0][-1] < plain[0][0]


@pytest.mark.usefixtures("group")
@pytest.mark.parametrize(("exchange", "tolerance"), [("fp32", 1e-3), ("bf16", 2e-2)])
def test_recorded_steps_with_an_exchange_are_those_without(exchange, tolerance):
    """The mean over one process is what it has: how it is sent and what is done beside it changes nothing."""
    alone = walk(build(options(optimizer="sgd")))
    solver = options(optimizer="sgd", compile="cuda_graphs", exchange=exchange)
    assert_same_walk(walk(build(solver, OneOfOne(0, 1, GPU))), alone, tolerance)


@pytest.mark.parametrize("term", [name for name in list_losses() if name not in EDGE_TERMS])
def test_every_loss_can_be_recorded(term):
    loss = LossSection(**{**dict.fromkeys(list_losses(), 0.0), term: 1.0})
    plain = walk(build(options(optimizer="sgd"), loss=loss))
    assert_same_walk(walk(build(options(optimizer="sgd", compile="cuda_graphs"), loss=loss)), plain, 1e-3)


@pytest.mark.usefixtures("small_network")
def test_a_recorded_run_scores_keeps_and_resumes(tmp_path):
    """It stops in the middle, and goes on from what it kept."""
    small_runs.draw_data(tmp_path)

    def run(name, compiled, steps):
        solver = {"compile": compiled, "steps": 12, "optimizer": "sgd", "schedule": "constant"}
        config = small_runs.config_of(tmp_path, output=str(tmp_path / name), device="cuda", solver=solver)
        trainer = Trainer(config)
        trainer.steps = steps
        trainer.run()
        return torch.load(tmp_path / name / "resume.pth", weights_only=True, map_location="cpu")

    run("recorded", "cuda_graphs", 6)
    found, expected = run("recorded", "cuda_graphs", 12), run("plain", "off", 12)
    for part in ("model", "average"):
        for name, value in expected[part].items():
            torch.testing.assert_close(found[part][name].float(), value.float(), rtol=2e-3, atol=2e-3, msg=name)
