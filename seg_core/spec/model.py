"""Which network to build, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from seg_core.errors import SpecError

OptionValue = bool | int | float | str | tuple[int, ...]


@dataclass(frozen=True)
class ModelSpec:
    """A registered architecture and the plain keyword arguments of its constructor.

    `options` holds JSON scalars and lists of whole numbers (tuples here), such as
    {"aux_head": true, "atrous_rates": [6, 12, 18]}.
    """

    name: str
    num_classes: int
    in_channels: int = 3
    options: Mapping[str, OptionValue] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse impossible counts; raises SpecError."""
        if not 2 <= self.num_classes <= 255:
            raise SpecError(f"model.num_classes: expected 2..255, found {self.num_classes}")
        if self.in_channels < 1:
            raise SpecError(f"model.in_channels: expected at least 1, found {self.in_channels}")
