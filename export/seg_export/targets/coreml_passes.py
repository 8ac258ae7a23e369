"""Passes of our own for coremltools, which is imported here: import this module where it is used."""

from __future__ import annotations

from typing import Any

from coremltools.converters.mil import Builder as mb  # noqa: N813, coremltools' own name for it
from coremltools.converters.mil.mil.passes.graph_pass import AbstractGraphPass
from coremltools.converters.mil.mil.passes.pass_registry import register_pass

#: What a pass pipeline calls it.
EXACT_RESIZES = "segproof::exact_resizes"


@register_pass(namespace="segproof")
class exact_resizes(AbstractGraphPass):  # type: ignore[misc]  # noqa: N801, its name is that of the pass
    """Resize bilinearly to a stated size where the ratio to the old one is no whole number.

    coremltools states such a ratio as (wanted + 1e-4) / size, so that rounding down gives the wanted size. The
    specification has the ratio computed from the sizes again; a runtime that takes 1.80002 at its word for 9 / 5
    samples elsewhere: 1.7e-5 of DDRNet-23-slim's largest logit at 72x104, where all else together gives 1e-6.
    """

    def apply(self, prog: Any) -> None:
        """Change `prog` in place."""
        for function in prog.functions.values():
            with function:
                _resize_exactly(function)


def _resize_exactly(block: Any) -> None:
    for operation in list(block.operations):
        if operation.op_type != "upsample_bilinear":
            continue
        factors = (operation.scale_factor_height.val, operation.scale_factor_width.val)
        if all(float(factor).is_integer() for factor in factors):
            continue
        old = operation.outputs[0]
        new = mb.resize_bilinear(
            x=operation.x,
            target_size_height=int(old.shape[-2]),
            target_size_width=int(old.shape[-1]),
            sampling_mode="STRICT_ALIGN_CORNERS" if operation.align_corners.val else "UNALIGN_CORNERS",
            name=f"{operation.name}_to_size",
            before_op=operation,
        )
        block.replace_uses_of_var_after_op(anchor_op=operation, old_var=old, new_var=new)
        block.remove_ops([operation])
