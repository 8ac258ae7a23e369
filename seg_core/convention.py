"""What a user states about a checkpoint that does not say it itself: its input convention and its classes.

A published state dict holds weights alone. What it was trained on is assumed from its architecture, said aloud, and
overridden by a StatedConvention.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from seg_core.errors import ConfigError
from seg_core.labels import LabelSet
from seg_core.spec import PreprocessSpec

#: `provenance["source"]` of a checkpoint that was read from a published state dict.
PUBLISHED_SOURCE = "published state dict"

#: The options that change what was assumed, by its name in `provenance["assumed"]`, but for "labels".
_CHANGED_BY = {
    "preprocess": "--mean, --std, --color",
    "size_hw": "--size",
    "architecture": "seg-data rename-checkpoint --option",
}


@dataclass(frozen=True)
class StatedConvention:
    """What is known about a foreign checkpoint; nothing where a field is None.

    `mean` and `std` come together, in the channel order of `color`, one value for all channels or one each. They
    count in pixels of 0..1, or of 0..255 as soon as one of them is above 1. `labels_from` is the name or file that
    gave `labels`.
    """

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    color: Literal["rgb", "bgr", "gray"] | None = None
    size_hw: tuple[int, int] | None = None
    labels: LabelSet | None = None
    labels_from: str = ""

    def __post_init__(self) -> None:
        """Refuse half a normalisation and values that are none; raises ConfigError."""
        if (self.mean is None) != (self.std is None):
            raise ConfigError("--mean and --std belong together: give both")
        if not all(math.isfinite(value) for value in (*(self.mean or ()), *(self.std or ()))):
            raise ConfigError("--mean and --std: expected finite numbers")
        if self.std is not None and min(self.std) <= 0:
            raise ConfigError(f"--std: expected numbers above 0, found {min(self.std):g}")

    @property
    def is_empty(self) -> bool:
        """Whether nothing is stated."""
        return self == StatedConvention()

    def applied_to(self, assumed: PreprocessSpec) -> PreprocessSpec:
        """Return `assumed` with what is stated in its place; raises ConfigError when that cannot be."""
        color = self.color or assumed.color
        values: dict[str, Any] = {"color": color, "size_hw": self.size_hw or assumed.size_hw}
        if (color == "gray") != (assumed.color == "gray"):
            raise ConfigError(f"--color {color}: the network's first layer takes {assumed.channels} channel(s)")
        if self.mean is not None and self.std is not None:
            values["mean"] = _one_per_channel("--mean", self.mean, assumed.channels)
            values["std"] = _one_per_channel("--std", self.std, assumed.channels)
            values["scale"] = 1.0 if max(*self.mean, *self.std) > 1.0 else 1.0 / 255.0
        elif color != assumed.color:
            values["mean"], values["std"] = assumed.mean[::-1], assumed.std[::-1]
        return replace(assumed, **values)

    def words(self) -> list[str]:
        """Return the command-line options that state the same, `--size` left out."""
        words = [] if self.color is None else ["--color", self.color]
        for option, values in (("--mean", self.mean), ("--std", self.std)):
            words += [] if values is None else [option, _joined(values)]
        return words + (["--labels", self.labels_from] if self.labels_from else [])


def _one_per_channel(option: str, values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    if len(values) not in (1, channels):
        raise ConfigError(f"{option}: expected 1 or {channels} numbers, one a channel, found {len(values)}")
    return values * channels if len(values) == 1 else values


def _joined(values: tuple[float, ...] | list[float]) -> str:
    return ",".join(repr(value) for value in values)


def foreign_provenance(provenance: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return `provenance` where it is that of a published state dict, of which something may be assumed; else None."""
    return dict(provenance) if "also_fits" in provenance else None


def input_convention(spec: PreprocessSpec) -> dict[str, Any]:
    """Return what of `spec` the weights depend on, as plain JSON types."""
    return {"color": spec.color, "scale": spec.scale, "mean": list(spec.mean), "std": list(spec.std)}


def convention_options(recorded: Mapping[str, Any]) -> str:
    """Return the command-line options that state what `input_convention` recorded."""
    return shlex.join(
        ["--color", recorded["color"], "--mean", _joined(recorded["mean"]), "--std", _joined(recorded["std"])]
    )


def normalisation_text(convention: Mapping[str, Any]) -> str:
    """Return, for people, how numbers become input by an `input_convention`."""
    mean, std = (" ".join(f"{value:g}" for value in convention[name]) for name in ("mean", "std"))
    return f"((x × {convention['scale']:.6g}) - mean {mean}) / std {std}"


def provenance_lines(
    provenance: Mapping[str, Any], size_given: bool = False, labels_option: str = "--labels"
) -> list[tuple[str, str]]:
    """Return, for people, what a published state dict was taken for: (heading, text) pairs, assumptions last.

    Nothing for a checkpoint that was trained here. With `size_given` the assumed size is of no interest;
    `labels_option` is what the caller's command calls the option that states the classes.
    """
    if foreign_provenance(provenance) is None:
        return []
    changeable = provenance["source"] == PUBLISHED_SOURCE
    lines = [("recognised", f"by keys and shapes, as from {provenance['origin']}"), ("read from", _where(provenance))]
    lines += [("stated", f"{key}: {value}") for key, value in provenance["stated"].items()]
    for key, value in provenance["assumed"].items():
        if key == "size_hw":
            value = "×".join(map(str, value))
        option = (labels_option if key == "labels" else _CHANGED_BY[key]) if changeable else ""
        others = provenance["also_fits"].get(key)
        doubt = f", though {', '.join(others)} would fit too" if others else ""
        if not (key == "size_hw" and size_given):
            lines.append(("assumed", f"{key}: {value}{doubt}" + (f"; change it by {option}" if option else "")))
    return lines


def _where(provenance: Mapping[str, Any]) -> str:
    text = str(provenance["read_from"])
    if provenance["prefix"]:
        text += f", without the prefix {provenance['prefix']!r}"
    dropped = provenance["dropped"]
    more = f" and {len(dropped) - 1} more" if len(dropped) > 1 else ""
    return f"{text}, left out: {dropped[0]}{more}" if dropped else text
