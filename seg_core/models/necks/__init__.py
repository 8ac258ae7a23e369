"""Necks: what stands between an encoder and a decoder and lets features of all scales see one another."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from seg_core.errors import ConfigError
from seg_core.models.blocks import NORMS
from seg_core.models.necks.bifpn import create_bifpn
from seg_core.models.necks.fpn import create_fpn
from seg_core.models.necks.panet import create_panet
from seg_core.models.necks.pyramid import Pyramid
from seg_core.registry import Registry

__all__ = ["NECKS", "Pyramid", "create_neck", "list_necks"]

#: Neck names to constructors taking `in_channels`, `strides`, `out_channels`, `norm`, `stacks` and `separable`.
NECKS: Registry[Callable[..., Pyramid]] = Registry("neck")
NECKS.add("fpn", create_fpn)
NECKS.add("panet", create_panet, ("pan",))
NECKS.add("bifpn", create_bifpn)


def list_necks() -> list[str]:
    """Return the names of all necks."""
    return NECKS.names()


def create_neck(
    name: str,
    in_channels: Sequence[int],
    out_channels: int,
    norm: str = "batch",
    stacks: int = 1,
    strides: Sequence[int] | None = None,
    separable: bool = False,
) -> Pyramid:
    """Create the neck `name`, which maps a list of features, finest first, to one of the same sizes.

    Args:
        name: fpn, panet or bifpn.
        in_channels: Channels of each feature that comes in, finest first; at least two.
        out_channels: Channels of every feature that goes out.
        norm: batch, group or none.
        stacks: How many times the neck is run; the repetitions have weights of their own.
        strides: Distance of neighbouring cells of each feature in input pixels. By default each is twice the
            one before; an encoder with a reduced output stride repeats the last.
        separable: Whether 3x3 convolutions are depthwise-separable; those of BiFPN always are.

    Raises ConfigError when the name is unknown or a number makes no sense.
    """
    builder = NECKS.get(name)
    NORMS.resolve(norm)
    strides = tuple(2**level for level in range(len(in_channels))) if strides is None else tuple(strides)
    if len(in_channels) < 2:
        raise ConfigError(f"neck {name!r}: needs features of at least 2 scales, found {len(in_channels)}")
    if len(strides) != len(in_channels):
        raise ConfigError(f"neck {name!r}: {len(in_channels)} features but {len(strides)} strides; give one a feature")
    if any(coarse not in (fine, 2 * fine) for fine, coarse in itertools.pairwise(strides)):
        raise ConfigError(f"neck {name!r}: each stride must equal or double the one before, found {tuple(strides)}")
    for what, number in (("out_channels", out_channels), ("stacks", stacks)):
        if number < 1:
            raise ConfigError(f"neck {name!r}: {what} must be at least 1, found {number}")
    return builder(tuple(in_channels), strides, out_channels, norm=norm, stacks=stacks, separable=separable)
