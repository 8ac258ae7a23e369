"""One step of the optimiser: what accumulates, what is left out, what is refused."""

import copy

import pytest
import small_runs
import torch

from seg_core.config.schema import LossSection, SolverSection
from seg_core.errors import ConfigError
from seg_core.spec import PreprocessSpec
from seg_train.graph import TrainingGraph
from seg_train.losses import SegmentationLoss
from seg_train.optim import build_average, build_optimizer, build_schedule
from seg_train.parallel import Workers
from seg_train.recording import Recording
from seg_train.state import RunState
from seg_train.stepper import MOST_SKIPPED, Stepper, TrainingError, set_determinism

CONTRACT = PreprocessSpec((32, 32))
CPU = Workers(0, 1, torch.device("cpu"))


@pytest.fixture(autouse=True)
def _fast_again():
    yield
    set_determinism(SolverSection())


def options(**changes):
    return SolverSection(**{"batch_size": 2, "precision": "fp32", "warmup_steps": 0, "steps": 20, "lr": 1e-2} | changes)


def build(solver=None, workers=CPU, norm=True, dropout=0.0, network=None):
    solver = solver or options()
    torch.manual_seed(0)
    network = network or small_runs.SmallNetwork(norm=norm, dropout=dropout).train()
    optimizer = build_optimizer(network, solver, fused=False)
    state = RunState(
        network,
        build_average(network, solver.ema_decay),
        optimizer,
        build_schedule(optimizer, solver, solver.steps),
        torch.amp.GradScaler("cpu", enabled=solver.precision == "fp16"),
    )
    return Stepper(TrainingGraph(network, SegmentationLoss(LossSection(), 255, 3), CONTRACT), state, solver, workers)


def draw_batch(seed, count=2):
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 256, (count, 32, 32, 3), dtype=torch.uint8, generator=generator)
    return image, torch.randint(0, 3, (count, 32, 32), dtype=torch.uint8, generator=generator)


def poisoned(batch):
    """Pixels that are no numbers; the graph takes normalised ones, too."""
    return torch.full((len(batch[0]), 3, 32, 32), float("nan")), batch[1]


def snapshot(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def split(batch, count):
    return zip(batch[0].split(count), batch[1].split(count), strict=True)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_four_batches_of_two_are_one_of_eight(optimizer):
    whole, parts = (
        build(options(optimizer=optimizer, batch_size=count, accumulate=8 // count, grad_clip=None), norm=False)
        for count in (8, 2)
    )
    for seed in range(3):
        batch = draw_batch(seed, 8)
        losses = [whole.step(iter([batch])), parts.step(iter(split(batch, 2)))]
        assert float(losses[0]["loss"]) == pytest.approx(float(losses[1]["loss"]), rel=1e-5)
    expected = whole.state.model.state_dict()
    for name, value in parts.state.model.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-5)


def test_the_rate_and_the_average_count_steps_of_the_optimiser_not_batches():
    stepper = build(options(accumulate=4, schedule="cosine", steps=10))
    batches = iter([draw_batch(seed) for seed in range(8)])
    for _ in range(2):
        stepper.step(batches)
    assert stepper.state.step == 2
    assert stepper.state.schedule.last_epoch == 2
    assert int(stepper.state.average.n_averaged) == 2
    with pytest.raises(StopIteration):
        stepper.step(batches)


def test_the_average_moves_by_its_formula():
    stepper = build(options(ema_decay=0.5))
    expected = None
    for step in range(12):
        stepper.step(iter([draw_batch(step)]))
        decay = min(0.5, (1 + step) / (10 + step)) if step else 0.0
        now = {k: v.double() for k, v in snapshot(stepper.state.model).items() if v.is_floating_point()}
        expected = {k: decay * expected[k] + (1 - decay) * v for k, v in now.items()} if expected else now
    found = stepper.state.average.module.state_dict()
    for name, value in expected.items():
        torch.testing.assert_close(found[name].double(), value, rtol=1e-5, atol=1e-6)
    assert int(found["body.1.num_batches_tracked"]) == 12


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_every_precision_learns_on_a_cpu(precision):
    stepper = build(options(precision=precision, lr=3e-2, steps=40))
    image, target = draw_batch(0)
    target = (image[..., 0] > 128).to(torch.uint8)  # something that can be learnt
    losses = [float(stepper.step(iter([(image, target)]))["loss"]) for _ in range(40)]
    assert losses[-1] < 0.7 * losses[0]
    assert all(value.dtype == torch.float32 for value in stepper.state.model.parameters())


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("grad_clip", [None, 5.0])
def test_a_step_that_is_left_out_moves_nothing_and_is_counted(precision, grad_clip):
    stepper = build(options(on_nan="skip", precision=precision, grad_clip=grad_clip))
    stepper.step(iter([draw_batch(0)]))
    before = [snapshot(part) for part in (stepper.state.model, stepper.state.average)]
    moments = copy.deepcopy(stepper.state.optimizer.state_dict()["state"])
    stepper.step(iter([poisoned(draw_batch(1))]))
    assert stepper.left_out
    assert stepper.skipped == 1
    for part, expected in zip((stepper.state.model, stepper.state.average), before, strict=True):
        assert_equal(snapshot(part), expected)
    for key, found in stepper.state.optimizer.state_dict()["state"].items():
        assert all(torch.equal(found[name], value) for name, value in moments[key].items())
    assert stepper.state.step == 2
    for seed in range(2, 8):  # fp16 needs some steps until its scale fits
        stepper.step(iter([draw_batch(seed)]))
        assert not stepper.left_out
    assert not torch.equal(snapshot(stepper.state.model)["scores.weight"], before[0]["scores.weight"])


@pytest.mark.parametrize("grad_clip", [None, 5.0])
def test_a_finite_loss_whose_gradient_is_none_is_left_out_too(grad_clip):
    class Spoilt(small_runs.SmallNetwork):
        def forward_heads(self, image):
            scores = super().forward_heads(image)["main"]
            return {"main": scores + (scores.mean() * 0).abs().sqrt()}  # the root's slope at 0 is infinite

    torch.manual_seed(0)
    stepper = build(options(on_nan="skip", grad_clip=grad_clip), network=Spoilt().train())
    before = snapshot(stepper.state.model)
    losses = stepper.step(iter([draw_batch(0)]))
    assert torch.isfinite(losses["loss"])
    assert stepper.left_out
    assert_equal(snapshot(stepper.state.model), before)


def test_twenty_steps_in_a_row_without_a_finite_loss_end_the_run():
    stepper = build(options(on_nan="skip", steps=100))
    for _ in range(MOST_SKIPPED - 1):
        stepper.step(iter([poisoned(draw_batch(0))]))
    stepper.step(iter([draw_batch(0)]))
    for _ in range(MOST_SKIPPED - 1):
        stepper.step(iter([poisoned(draw_batch(0))]))
    with pytest.raises(TrainingError, match="20 steps in a row without a finite loss; lower"):
        stepper.step(iter([poisoned(draw_batch(0))]))


def test_a_batch_of_nothing_but_void_teaches_nothing():
    stepper = build(options(weight_decay=0.0, optimizer="sgd"))
    before = snapshot(stepper.state.model)
    image, target = draw_batch(0)
    losses = stepper.step(iter([(image, torch.full_like(target, 255))]))
    assert float(losses["loss"]) == 0.0
    assert float(losses["grad_norm"]) == 0.0
    after = snapshot(stepper.state.model)
    assert all(torch.equal(after[name], before[name]) for name, _ in stepper.state.model.named_parameters())


@pytest.mark.parametrize(("how", "expected"), [("off", (False, 1)), ("default", (True, 1)), ("cuda_graphs", (True, 4))])
def test_what_compiles_says_so_and_a_recording_settles_later(how, expected):
    """Only the decision, which needs no GPU."""
    stepper = build(options(compile=how), GPU)
    assert (stepper.compiles, stepper.steps_to_settle) == expected
    assert not build(options(compile=how)).compiles  # on a CPU all are the same as "off"


@pytest.mark.parametrize("compile_mode", ["default", "cuda_graphs"])
def test_on_a_cpu_compiling_is_the_same_as_off(compile_mode, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda *args, **kwargs: pytest.fail("compiled on a CPU"))
    steppers = [build(options(compile=mode)) for mode in ("off", compile_mode)]
    for stepper in steppers:
        stepper.step(iter([draw_batch(0)]))
    assert_equal(snapshot(steppers[1].state.model), snapshot(steppers[0].state.model))


def test_the_same_seed_gives_the_same_bits_in_deterministic_mode_and_another_other_ones():
    results = []
    for seed in (1, 1, 2):
        solver = options(deterministic=True, seed=seed)
        set_determinism(solver)
        stepper = build(solver, dropout=0.5)
        torch.rand(len(results) + 1)  # what was drawn before the step does not count
        stepper.step(iter([draw_batch(0)]))
        results.append(snapshot(stepper.state.model))
    assert_equal(results[1], results[0])
    assert not torch.equal(results[2]["body.0.weight"], results[0]["body.0.weight"])


GPU = Workers(0, 1, torch.device("cuda", 0))
TWO_GPUS = Workers(0, 2, torch.device("cuda", 0))
TWO_CPUS = Workers(0, 2, torch.device("cpu"))


@pytest.mark.parametrize(
    ("changes", "workers", "text"),
    [
        ({"compile": "cuda_graphs", "precision": "fp16"}, GPU, r"solver\.precision: fp16 .* use bf16"),
        ({"compile": "cuda_graphs", "on_nan": "skip"}, GPU, r"solver\.on_nan: .* use solver\.compile=default"),
        ({"compile": "cuda_graphs", "optimizer": "adabelief"}, GPU, r"solver\.compile: AdaBelief cannot be recorded"),
        ({"sync_bn": True, "compile": "default"}, TWO_GPUS, r"solver\.sync_bn: .* set solver\.compile=off"),
        ({"sync_bn": True}, TWO_CPUS, r"solver\.sync_bn: .* false on CPUs"),
    ],
)
def test_what_does_not_go_together_is_refused_before_the_first_step(changes, workers, text):
    with pytest.raises(ConfigError, match=text):
        build(options(**changes), workers)


def test_the_same_options_are_fine_where_they_mean_nothing():
    build(options(compile="cuda_graphs", precision="fp16", on_nan="skip", optimizer="adabelief", sync_bn=True))


def test_closing_frees_what_was_recorded(monkeypatch):
    """NCCL does not leave a group to which a recording still speaks."""
    done = []

    class Graph:
        def reset(self):
            done.append("reset")

    monkeypatch.setattr(torch.cuda, "synchronize", lambda: done.append("synchronize"))
    stepper = build()
    stepper.close()
    assert done == []
    stepper._recording = Recording(stepper.state, stepper._on_device)
    stepper._recording._graph = Graph()
    stepper.close()
    assert done == ["synchronize", "reset"]
    assert stepper._recording._graph is None
