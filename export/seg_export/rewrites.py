"""Rewrites of a captured ATen graph that keep its result and make it smaller or safer to convert."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx

aten = torch.ops.aten
_CONVOLUTIONS = (aten.conv2d.default, aten.conv2d.padding)


class GraphEditor:
    """Reads and adds constants of a captured graph module; every rewrite below works through it."""

    def __init__(self, module: fx.GraphModule) -> None:
        """Edit `module` in place."""
        self.module = module
        self.graph = module.graph

    def calls(self, *targets: Any) -> list[fx.Node]:
        """Return the nodes that call one of `targets`, in the order of execution."""
        return [node for node in self.graph.nodes if node.op == "call_function" and node.target in targets]

    def constant(self, node: Any) -> Tensor | None:
        """Return the tensor a `get_attr` node stands for, None for an absent argument."""
        if node is None:
            return None
        value: Any = self.module
        for part in str(node.target).split("."):
            value = getattr(value, part)
        if not isinstance(value, Tensor):
            raise TypeError(f"{node.target} is not a tensor")
        return value.detach()

    def is_constant(self, node: Any) -> bool:
        """Return whether `node` is absent or a stored tensor."""
        return node is None or (isinstance(node, fx.Node) and node.op == "get_attr")

    def add_constant(self, value: Tensor) -> fx.Node:
        """Store `value` as a buffer and return the node that reads it, at the current insertion point."""
        name = next(name for name in map("constant_{}".format, itertools.count()) if not hasattr(self.module, name))
        self.module.register_buffer(name, value.contiguous())
        return self.graph.get_attr(name)

    def replace(self, node: fx.Node, new: fx.Node) -> None:
        """Let all users of `node` use `new` instead and erase it."""
        node.replace_all_uses_with(new)
        self.graph.erase_node(node)


def argument(node: fx.Node, index: int, default: Any) -> Any:
    """Return a positional argument of an ATen call, or its default where the graph leaves it out."""
    return node.args[index] if len(node.args) > index else default


def remove_identities(editor: GraphEditor) -> int:
    """Remove what returns its input: dropouts in evaluation mode and slices of everything; return how many.

    torch.export writes `x[:, :n]` of n channels (GhostNet's modules end so) as an alias, which coremltools lacks.
    """
    nodes = editor.calls(aten.dropout.default, aten.feature_dropout.default, aten.alias.default)
    for node in nodes:
        source = node.args[0]
        assert isinstance(source, fx.Node)
        editor.replace(node, source)
    return len(nodes)


def fold_constants(editor: GraphEditor) -> int:
    """Compute what depends on stored tensors alone, such as BiFPN's normalised weights; return how many operations.

    Results larger than what they are computed from stay operations: an expanded tensor would bloat the file.
    """
    folded = 0
    for node in list(editor.graph.nodes):
        sources = node.all_input_nodes
        if not _is_pure(node) or not sources or not all(source.op == "get_attr" for source in sources):
            continue
        stored = {source: editor.constant(source) for source in sources}
        with torch.no_grad():
            value = node.target(*fx.map_arg(node.args, stored.get), **fx.map_arg(node.kwargs, stored.get))
        if not isinstance(value, Tensor) or value.numel() > sum(
            item.numel() for item in stored.values() if item is not None
        ):
            continue
        with editor.graph.inserting_before(node):
            constant = editor.add_constant(value.detach().clone())
        constant.meta["val"] = node.meta["val"]
        editor.replace(node, constant)
        folded += 1
    return folded


def _is_pure(node: fx.Node) -> bool:
    """Return whether `node` calls an operation that changes nothing and is not random."""
    operation = node.target
    return (
        node.op == "call_function"
        and isinstance(operation, torch._ops.OpOverload)
        and not operation._schema.is_mutable
        and torch.Tag.nondeterministic_seeded not in operation.tags
    )


def _scale_and_shift(editor: GraphEditor, node: fx.Node) -> tuple[Tensor, Tensor]:
    """Return a BatchNorm's float64 factor and offset (Ioffe & Szegedy 2015, section 3.1)."""
    weight, bias, mean, variance = (editor.constant(node.args[index]) for index in range(1, 5))
    assert mean is not None
    assert variance is not None
    scale = 1.0 / torch.sqrt(variance.double() + float(argument(node, 7, 1e-5)))
    if weight is not None:
        scale = scale * weight.double()
    shift = -mean.double() * scale
    return scale, shift if bias is None else shift + bias.double()


def fuse_conv_batch_norm(editor: GraphEditor) -> int:
    """Multiply each BatchNorm that alone follows a convolution into its weights; return how many."""
    fused = 0
    for node in editor.calls(aten.batch_norm.default):
        conv = node.args[0]
        assert isinstance(conv, fx.Node)
        weight_nodes = conv.args[1:3]
        if (
            conv.target not in _CONVOLUTIONS
            or len(conv.users) != 1
            or not all(editor.is_constant(item) for item in weight_nodes)
        ):
            continue
        scale, shift = _scale_and_shift(editor, node)
        weight = editor.constant(conv.args[1])
        bias = editor.constant(argument(conv, 2, None))
        assert weight is not None
        if bias is not None:
            shift = shift + bias.double() * scale
        with editor.graph.inserting_before(conv):
            new_weight = editor.add_constant((weight.double() * scale.reshape(-1, 1, 1, 1)).to(weight.dtype))
            new_bias = editor.add_constant(shift.to(weight.dtype))
        conv.args = (conv.args[0], new_weight, new_bias, *conv.args[3:])
        editor.replace(node, conv)
        fused += 1
    return fused


def fold_lone_batch_norm(editor: GraphEditor) -> int:
    """Replace each remaining BatchNorm (a pre-activation one) by one multiplication and one addition."""
    nodes = editor.calls(aten.batch_norm.default)
    for node in nodes:
        scale, shift = _scale_and_shift(editor, node)
        with editor.graph.inserting_before(node):
            factor = editor.add_constant(scale.float().reshape(1, -1, 1, 1))
            offset = editor.add_constant(shift.float().reshape(1, -1, 1, 1))
            product = editor.graph.call_function(aten.mul.Tensor, (node.args[0], factor))
            total = editor.graph.call_function(aten.add.Tensor, (product, offset))
        editor.replace(node, total)
    return len(nodes)


def replace_padded_average_pool(editor: GraphEditor) -> int:
    """Replace padded average pools by depthwise convolutions of constant weight 1/k²; return how many.

    LiteRT's WebGPU delegate computes PAD + AVERAGE_POOL_2D wrongly without an error; a depthwise
    convolution over the same zero padding is the same sum (`count_include_pad=True`).
    """
    replaced = 0
    for node in editor.calls(aten.avg_pool2d.default):
        source, kernel = node.args[0], _pair(node.args[1])
        padding = _pair(argument(node, 3, 0))
        includes_padding, divisor = argument(node, 5, True), argument(node, 6, None)
        if not any(padding) or not includes_padding or divisor is not None or argument(node, 4, False):
            continue
        assert isinstance(source, fx.Node)
        channels = int(source.meta["val"].shape[1])
        weight = torch.full((channels, 1, *kernel), 1.0 / (kernel[0] * kernel[1]))
        stride = _pair(argument(node, 2, None) or kernel)
        with editor.graph.inserting_before(node):
            constant = editor.add_constant(weight)
            arguments = (source, constant, None, list(stride), list(padding), [1, 1], channels)
            conv = editor.graph.call_function(aten.conv2d.default, arguments)
        conv.meta["val"] = node.meta["val"]
        editor.replace(node, conv)
        replaced += 1
    return replaced


def _pair(value: Any) -> tuple[int, int]:
    values = [value] if isinstance(value, int) else list(value)
    return (values[0], values[-1])


#: Rewrites a target may ask for by name, with the words a report uses for them.
TARGET_REWRITES: dict[str, tuple[Callable[[GraphEditor], int], str]] = {
    "padded_average_pool": (replace_padded_average_pool, "padded average pools became depthwise convolutions"),
}
