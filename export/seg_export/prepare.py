"""Make a network ready for any converter: capture it, fold what folds, and prove that nothing changed."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, fx, nn

from seg_core.errors import ExportError
from seg_export import rewrites

#: Folding moves float32 roundings only; DDRNet-23-slim measures 1e-6 x max|ref|.
FOLD_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Prepared:
    """A network as one ATen graph of its main head, and what was done to it.

    `max_abs_relative` is the largest difference to the untouched network on the given inputs, as a
    fraction of its largest logit.
    """

    module: fx.GraphModule
    notes: tuple[str, ...]
    max_abs_relative: float


def prepare_network(network: nn.Module, inputs: Sequence[Tensor]) -> Prepared:
    """Capture `network` in evaluation mode at the shape of `inputs`; fold its BatchNorms and constant work.

    `inputs` are real preprocessed images, float32 NCHW of one shape. `network` is left as it is. Raises
    ExportError when it cannot be captured or when the folded graph differs by more than FOLD_TOLERANCE.
    """
    network = network.eval()
    with torch.no_grad():
        references = [network(item) for item in inputs]
    module = _capture(network, inputs[0])
    editor = rewrites.GraphEditor(module)
    rewrites.remove_identities(editor)
    constants = rewrites.fold_constants(editor)
    fused = rewrites.fuse_conv_batch_norm(editor)
    folded = rewrites.fold_lone_batch_norm(editor)
    module = _clean(module)
    difference = _prove_equal(module, inputs, references, "folding the BatchNorms and constants")
    notes = [f"{fused} BatchNorms fused into convolutions", f"{folded} folded to scale and shift"]
    if constants:
        notes.append(f"{constants} constant operations computed")
    return Prepared(module, tuple(notes), difference)


def apply_rewrites(prepared: Prepared, names: Sequence[str], inputs: Sequence[Tensor]) -> Prepared:
    """Return a copy of `prepared` with the rewrites called `names` applied and proved in the same way."""
    if not names:
        return prepared
    module = copy.deepcopy(prepared.module)
    editor = rewrites.GraphEditor(module)
    notes = list(prepared.notes)
    for name in names:
        rewrite, words = rewrites.TARGET_REWRITES[name]
        count = rewrite(editor)
        if count:
            notes.append(f"{count} {words}")
    module = _clean(module)
    with torch.no_grad():
        references = [prepared.module(item) for item in inputs]
    difference = _prove_equal(module, inputs, references, "a graph rewrite")
    return Prepared(module, tuple(notes), max(prepared.max_abs_relative, difference))


def trace_network(module: nn.Module, input_shape: tuple[int, int, int, int]) -> torch.jit.ScriptModule:
    """Return `module` traced by TorchScript for float32 input of `input_shape`."""
    with torch.no_grad():
        traced = torch.jit.trace(module, torch.zeros(input_shape), check_trace=False)  # type: ignore[no-untyped-call]
    return cast(torch.jit.ScriptModule, traced)


def _capture(network: nn.Module, sample: Tensor) -> fx.GraphModule:
    try:
        with torch.no_grad():
            captured = torch.export.export(network, (sample,)).module(check_guards=False)
    except Exception as error:  # torch.export raises dozens of classes of its own
        reason = str(error).strip().split("\n")[0]
        raise ExportError(f"the network cannot be captured as one graph ({type(error).__name__}: {reason})") from error
    if not isinstance(captured, fx.GraphModule):
        raise ExportError(f"torch.export returned a {type(captured).__name__}, wanted a graph module")
    return captured


def _clean(module: fx.GraphModule) -> fx.GraphModule:
    """Return a plain module with only the constants that are still used: the auxiliary head's are gone here."""
    module.graph.eliminate_dead_code()
    module.graph.lint()
    cleaned = fx.GraphModule(module, module.graph)
    for tensor in (*cleaned.parameters(), *cleaned.buffers()):
        tensor.requires_grad_(False)
    return cleaned.eval()


def _prove_equal(module: nn.Module, inputs: Sequence[Tensor], references: Sequence[Tensor], step: str) -> float:
    worst = 0.0
    with torch.no_grad():
        for item, reference in zip(inputs, references, strict=True):
            largest = float(reference.abs().max())
            difference = float((module(item) - reference).abs().max())
            relative = difference / largest if largest else difference
            if not relative <= FOLD_TOLERANCE:  # each on its own: max() would pass over a NaN
                raise ExportError(
                    f"{step} moved the logits by {relative:.1e} x max|logit|, more than {FOLD_TOLERANCE:.0e}; "
                    "nothing was exported"
                )
            worst = max(worst, relative)
    return worst
