"""Tensors are averaged over processes in one exchange, however they lie in memory."""

import pytest
import torch
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


@pytest.fixture
def the_other_has_three_times_as_much(monkeypatch):
    monkeypatch.setattr("seg_train.parallel.dist.all_reduce", lambda flat: flat.mul_(4))
    return Workers(0, 2, torch.device("cpu"))


@pytest.mark.parametrize("layout", ["plain", "channels_last", "transposed", "gaps"])
@pytest.mark.parametrize("like", ["plain", "channels_last", None])
def test_means_are_right_however_a_tensor_lies(the_other_has_three_times_as_much, layout, like):
    shapes = [(4, 3, 3, 3), (5, 4, 1, 1), (1, 6, 3, 3), (2, 2, 1, 3)]
    drawn = [torch.randn(shape) for shape in shapes]
    tensors = [lying(values, layout) for values in drawn] + [torch.randn(7), torch.tensor(3.0)]
    expected = [2 * tensor.clone() for tensor in tensors]
    places = [(tensor.data_ptr(), tensor.stride()) for tensor in tensors]
    models = None if like is None else [lying(values, like) for values in drawn] + [torch.zeros(7), torch.tensor(0.0)]
    the_other_has_three_times_as_much.average(tensors, models)
    for tensor, wanted, place in zip(tensors, expected, places, strict=True):
        assert torch.equal(tensor, wanted)
        assert (tensor.data_ptr(), tensor.stride()) == place


def test_what_is_sent_lies_as_the_model_tensors_do(monkeypatch):
    """So processes whose gradients came out in different layouts still add what belongs together."""
    sent = []
    monkeypatch.setattr("seg_train.parallel.dist.all_reduce", lambda flat: sent.append(flat.clone()))
    values = torch.randn(4, 3, 2, 2)
    for layout in ("plain", "channels_last", "transposed"):
        Workers(0, 2, torch.device("cpu")).average([lying(values, layout)], [lying(values, "channels_last")])
    assert torch.equal(sent[0], values.permute(0, 2, 3, 1).reshape(-1))
    assert torch.equal(sent[0], sent[1])
    assert torch.equal(sent[0], sent[2])


def test_gradients_of_a_channels_last_network_are_sent_without_being_transposed(the_other_has_three_times_as_much):
    network = build_model(ModelSpec("ddrnet_23_slim", 19, 3, {"aux_head": True})).to(memory_format=torch.channels_last)
    image = torch.randn(2, 3, 64, 64).to(memory_format=torch.channels_last)
    sum(output.square().mean() for output in network.train().forward_heads(image).values()).backward()
    weights = [weight for weight in network.parameters() if weight.grad is not None]
    assert sum(weight.dim() == 4 and weight.shape[1] > 1 for weight in weights) > 40
    with Counted() as counted:
        the_other_has_three_times_as_much.average([weight.grad for weight in weights], weights)
    assert counted.names == ["aten::cat", "aten::_foreach_copy_"]
