"""Tensors are averaged over processes in one exchange, however they lie in memory."""

import pytest
import torch
import torch.distributed as dist
from test_stepper import TWO_CPUS, build, draw_batch, options, split
from torch.utils._python_dispatch import TorchDispatchMode

from seg_core.models import build_model
from seg_core.spec import ModelSpec
from seg_train.parallel import Workers


def lying(values, layout):
    """Return a tensor like `values` that lies in memory as `layout` says."""
    if layout == "channels_last":
        return values.to(memory_format=torch.channels_last)
    if layout == "transposed":
        return values.transpose(0, 1).contiguous().transpose(0, 1)
    return values.clone() if layout == "plain" else values.repeat_interleave(2, dim=-1)[..., ::2]


class Counted(TorchDispatchMode):
    """Counts the operations that write memory."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.overloadpacket._qualified_op_name in (
            "aten::clone",
            "aten::copy_",
            "aten::_foreach_copy_",
            "aten::cat",
        ):
            self.names.append(function.overloadpacket._qualified_op_name)
        return function(*args, **(kwargs or {}))


@pytest.fixture(autouse=True)
def _gloo(monkeypatch):
    """There is no group here: what would be asked of it is answered as gloo would."""
    monkeypatch.setattr("seg_train.parallel.dist.get_backend", lambda: "gloo")


@pytest.fixture
def the_other_has_three_times_as_much(monkeypatch):
    monkeypatch.setattr("seg_train.parallel.dist.all_reduce", lambda flat: flat.mul_(4))
    return Workers(0, 2, torch.device("cpu"))


LAYOUTS = ["plain", "channels_last", "transposed", "gaps"]


def draw_tensors(layout):
    """Return tensors of many shapes, those of four axes lying so, and their models' shapes."""
    shapes = [(4, 3, 3, 3), (5, 4, 1, 1), (1, 6, 3, 3), (2, 2, 1, 3)]
    return [lying(torch.randn(shape), layout) for shape in shapes] + [torch.randn(7), torch.tensor(3.0)]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_tensors_are_replaced_by_their_means_however_they_lie(the_other_has_three_times_as_much, layout):
    tensors = draw_tensors(layout)
    expected = [2 * tensor for tensor in tensors]
    places = [(tensor.data_ptr(), tensor.stride()) for tensor in tensors]
    the_other_has_three_times_as_much.average(tensors)
    for tensor, wanted, place in zip(tensors, expected, places, strict=True):
        assert torch.equal(tensor, wanted)
        assert (tensor.data_ptr(), tensor.stride()) == place


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("like", ["plain", "channels_last", "transposed", None])
def test_means_lie_as_those_of_the_model_and_leave_the_tensors_alone(the_other_has_three_times_as_much, layout, like):
    tensors = draw_tensors(layout)
    kept = [tensor.clone() for tensor in tensors]
    models = None if like is None else [lying(t, like) if t.dim() == 4 else t for t in kept]
    means = the_other_has_three_times_as_much.means(tensors, models)
    for mean, tensor, before in zip(means, tensors, kept, strict=True):
        assert torch.equal(mean, 2 * before)
        assert torch.equal(tensor, before)
        assert mean.data_ptr() != tensor.data_ptr()
    for mean, model in zip(means, models or [], strict=like is not None):
        assert [n for n, size in zip(mean.stride(), mean.shape, strict=True) if size > 1] == [
            n for n, size in zip(model.stride(), model.shape, strict=True) if size > 1
        ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_means_begin_where_kernels_read_sixteen_bytes_at_a_time(the_other_has_three_times_as_much, dtype):
    tensors = [torch.ones(count) for count in (19, 1, 8, 9, 3)]
    means = the_other_has_three_times_as_much.means(tensors, dtype=dtype)
    assert [(mean.data_ptr() - means[0].data_ptr()) % 16 for mean in means] == [0] * 5
    assert all(torch.equal(mean, torch.full_like(mean, 2)) for mean in means)


def test_nothing_is_sent_that_nobody_wrote(monkeypatch):
    """What lies between the parts is sent along: with whatever memory holds there, a check for NaN would find some."""
    sent = []
    monkeypatch.setattr("seg_train.parallel.dist.all_reduce", lambda flat: sent.append(flat.clone()))
    torch.use_deterministic_algorithms(True)  # fills new memory with NaN
    try:
        for counts in ((19, 1, 8, 9, 3), (8, 16)):
            TWO_CPUS.means([torch.ones(count) for count in counts])
    finally:
        torch.use_deterministic_algorithms(False)
    assert [flat.sum().item() for flat in sent] == [40, 24]


def test_what_is_sent_lies_as_the_model_tensors_do(monkeypatch):
    """So processes whose gradients came out in different layouts still add what belongs together."""
    sent = []
    monkeypatch.setattr("seg_train.parallel.dist.all_reduce", lambda flat: sent.append(flat.clone()))
    values = torch.randn(4, 3, 2, 2)
    for layout in ("plain", "channels_last", "transposed"):
        Workers(0, 2, torch.device("cpu")).means([lying(values, layout)], [lying(values, "channels_last")])
    assert torch.equal(sent[0], values.permute(0, 2, 3, 1).reshape(-1))
    assert torch.equal(sent[0], sent[1])
    assert torch.equal(sent[0], sent[2])


def test_gradients_of_a_channels_last_network_are_copied_once_and_not_transposed(the_other_has_three_times_as_much):
    network = build_model(ModelSpec("ddrnet_23_slim", 19, 3, {"aux_head": True})).to(memory_format=torch.channels_last)
    image = torch.randn(2, 3, 64, 64).to(memory_format=torch.channels_last)
    sum(output.square().mean() for output in network.train().forward_heads(image).values()).backward()
    weights = [weight for weight in network.parameters() if weight.grad is not None]
    assert sum(weight.dim() == 4 and weight.shape[1] > 1 for weight in weights) > 40
    with Counted() as counted:
        the_other_has_three_times_as_much.means([weight.grad for weight in weights], weights)
    assert counted.names == ["aten::_foreach_copy_"]


@pytest.mark.parametrize(("backend", "expected"), [("nccl", "AVG"), ("gloo", "SUM")])
def test_nccl_takes_the_mean_itself_and_gloo_sums(monkeypatch, backend, expected):
    asked = []

    def all_reduce(flat, op=dist.ReduceOp.SUM):
        asked.append(op)
        flat.mul_(4 if op == dist.ReduceOp.SUM else 2)

    monkeypatch.setattr("seg_train.parallel.dist.get_backend", lambda: backend)
    monkeypatch.setattr("seg_train.parallel.dist.all_reduce", all_reduce)
    tensor = torch.tensor([1.0, 3.0])
    TWO_CPUS.average([tensor])
    assert asked == [getattr(dist.ReduceOp, expected)]
    assert torch.equal(tensor, torch.tensor([2.0, 6.0]))


@pytest.mark.parametrize("layout", ["plain", "channels_last", "gaps"])
def test_what_is_sent_as_bf16_comes_back_as_float32(monkeypatch, layout):
    sent = []
    monkeypatch.setattr("seg_train.parallel.dist.all_reduce", lambda flat: sent.append(flat.dtype))
    drawn = torch.randn(4, 3, 2, 2)
    (mean,) = TWO_CPUS.means([lying(drawn, layout)], [lying(drawn, "channels_last")], torch.bfloat16)
    assert sent == [torch.bfloat16]
    assert mean.dtype == torch.float32
    assert torch.equal(mean, drawn.bfloat16().float() / 2)


@pytest.mark.parametrize("exchange", ["fp32", "bf16"])
def test_the_option_says_how_gradients_are_sent_and_means_nothing_to_one_process(monkeypatch, exchange):
    sent = []
    monkeypatch.setattr("seg_train.parallel.dist.all_reduce", lambda flat: sent.append(flat.dtype))
    build(options(exchange=exchange), TWO_CPUS).step(iter([draw_batch(0)]))
    assert sent == [{"fp32": torch.float32, "bf16": torch.bfloat16}[exchange]]
    alone, plain = (build(options(**changes)) for changes in ({"exchange": exchange}, {}))
    for stepper in (alone, plain):
        stepper.step(iter([draw_batch(0)]))
    assert len(sent) == 1
    for found, expected in zip(alone.state.model.parameters(), plain.state.model.parameters(), strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_gradients_of_convolutions_are_bf16_numbers_under_bf16_unless_they_are_accumulated(accumulate):
    """What the option's documentation says it costs."""
    stepper = build(options(precision="bf16", accumulate=accumulate))
    stepper._gradients(list(split(draw_batch(0, 2 * accumulate), 2)))
    exact = {
        kind: [
            torch.equal(module.weight.grad, module.weight.grad.bfloat16().float())
            for module in stepper.state.model.modules()
            if isinstance(module, kind)
        ]
        for kind in (torch.nn.Conv2d, torch.nn.BatchNorm2d)
    }
    assert exact == {torch.nn.Conv2d: [accumulate == 1] * 4, torch.nn.BatchNorm2d: [False] * 3}
