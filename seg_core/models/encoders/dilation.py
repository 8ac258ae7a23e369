"""Trade strides for dilation, so that deep features keep a finer grid (Chen et al., 2017, arXiv 1706.05587)."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn


def replace_strides(blocks: Iterable[nn.Module]) -> None:
    """Set every stride of 2 in `blocks` to 1 and dilate what follows, in place.

    A strided convolution computes every second cell of the same convolution without stride. What comes after it then
    meets a grid twice as fine and looks at every second cell of that: each feature, taken at every second row and
    column (every fourth after two replaced strides), stays what it was with the strides. Squeeze and excitation is the
    exception: it averages over the finer grid.

    `blocks` are in the order of execution, as are the convolutions registered in each; parallel branches of one block
    have equal strides. Convolutions are padded symmetrically with zeros.
    """
    dilation = 1
    for block in blocks:
        entering = dilation
        for conv in block.modules():
            if not isinstance(conv, nn.Conv2d):
                continue
            if max(conv.stride) > 1:
                dilation = entering * conv.stride[0]
                conv.stride = (1, 1)
                _dilate(conv, entering)
            else:
                _dilate(conv, dilation)


def _dilate(conv: nn.Conv2d, dilation: int) -> None:
    if max(conv.kernel_size) == 1:
        return
    conv.dilation = (dilation, dilation)
    conv.padding = tuple(dilation * (kernel // 2) for kernel in conv.kernel_size)
