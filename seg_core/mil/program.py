"""A loaded program and its execution."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seg_core.errors import ArtifactError
from seg_core.mil.dtypes import boundary_dtype, round_to_half, working_dtype
from seg_core.mil.ops.table import Operation
from seg_core.runners.base import Array

#: A tensor, a string or a tuple of strings: what a name in a program stands for.
Value = Any


@dataclass(frozen=True)
class ValueType:
    """Type of one value: MIL's dtype name and the shape, None where a dimension is only known at run time."""

    dtype: str
    shape: tuple[int | None, ...]

    def admits(self, shape: tuple[int, ...]) -> bool:
        """Whether an array of `shape` is of this type."""
        return len(shape) == len(self.shape) and all(
            want is None or want == have for want, have in zip(self.shape, shape, strict=True)
        )


@dataclass(frozen=True)
class Step:
    """One operation: what computes, from which names, into which names, and which names die afterwards."""

    name: str
    operation: Operation
    inputs: Mapping[str, str | tuple[str, ...]]
    outputs: tuple[tuple[str, ValueType], ...]
    releases: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Name of the operation and of its first output, for messages."""
        return f"operation {self.name!r} ({self.outputs[0][0]!r})"


@dataclass(frozen=True)
class Program:
    """A Core ML ML Program, ready to run with numpy.

    Semantics: operations run in the order of the program. Arithmetic is float32 (matrix products as the
    BLAS accumulates them). A result that the program types as fp16 is rounded to half precision once, after
    the operation, as a device that accumulates in float32 would. Integer and boolean results take their
    typed dtype. What an accelerator does inside one operation (half-precision accumulation, fused
    operations, approximated functions) is not modelled.
    """

    path: Path
    opset: str
    inputs: Mapping[str, ValueType]
    outputs: Mapping[str, ValueType]
    metadata: Mapping[str, str]
    images: frozenset[str]
    constants: Mapping[str, Value]
    steps: tuple[Step, ...]

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Return every output, keyed by name, in the shape and dtype that the program states.

        `feeds` holds one array an input in the input's shape, of its own kind of number (any float for a
        float input; fp16 inputs are rounded to half). An input in `images` takes pixels as a pixel buffer
        holds them, uint8 (1, H, W, C), or what the program's function takes, float (1, C, H, W) in 0..255;
        channels are in the package's colour order either way. Raises ArtifactError when a feed is missing,
        unknown, of a wrong shape or kind, or when an operation fails.
        """
        values: dict[str, Value] = {name: self._admit(name, feeds) for name in self.inputs}
        unknown = sorted(set(feeds) - set(self.inputs))
        if unknown:
            raise ArtifactError(f"{self.path}: no input {unknown[0]!r} (inputs: {', '.join(self.inputs)})")
        with np.errstate(all="ignore"):  # infinities and NaN are results, as on the device
            for step in self.steps:
                values.update(execute(step, values, self.constants, self.path))
                for name in step.releases:
                    del values[name]
        return {name: self._hand_out(name, values) for name in self.outputs}

    def _admit(self, name: str, feeds: Mapping[str, Array]) -> Array:
        wanted = self.inputs[name]
        if name not in feeds:
            raise ArtifactError(f"{self.path}: input {name!r} is not fed")
        fed = np.asarray(feeds[name])
        target = working_dtype(wanted.dtype)
        if name in self.images and fed.ndim == 4 and fed.dtype == np.uint8:
            fed = fed.transpose(0, 3, 1, 2)
        if not wanted.admits(fed.shape) or not np.can_cast(fed.dtype, target, "same_kind"):
            raise ArtifactError(
                f"{self.path}: input {name!r} takes {wanted.dtype} {format_shape(wanted.shape)}, "
                f"found {fed.dtype} {format_shape(fed.shape)}"
            )
        held = np.ascontiguousarray(fed, target)
        return round_to_half(held) if wanted.dtype == "fp16" else held

    def _hand_out(self, name: str, values: Mapping[str, Value]) -> Array:
        found = values[name] if name in values else self.constants[name]
        return np.array(found, boundary_dtype(self.outputs[name].dtype), order="C")


def execute(step: Step, values: Mapping[str, Value], constants: Mapping[str, Value], where: Path) -> dict[str, Value]:
    """Return the outputs of one step; raises ArtifactError naming the step when it fails or mistypes a result."""

    def look_up(name: str) -> Value:
        return values[name] if name in values else constants[name]

    arguments = {
        key: tuple(map(look_up, source)) if isinstance(source, tuple) else look_up(source)
        for key, source in step.inputs.items()
    }
    try:
        results = step.operation.function(**arguments)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise ArtifactError(f"{where}: {step.title} cannot be run: {error}") from error
    if not isinstance(results, tuple):
        results = (results,)
    if len(results) != len(step.outputs):
        raise ArtifactError(f"{where}: {step.title} gives {len(results)} results, not the stated {len(step.outputs)}")
    return {
        name: _settle(result, stated, step, where) for (name, stated), result in zip(step.outputs, results, strict=True)
    }


def _settle(result: Value, stated: ValueType, step: Step, where: Path) -> Value:
    array = np.asarray(result)
    if not stated.admits(array.shape):
        raise ArtifactError(
            f"{where}: {step.title} gives shape {format_shape(array.shape)}, "
            f"but the program states {format_shape(stated.shape)}"
        )
    if stated.dtype == "fp16" and not step.operation.exact:
        return round_to_half(array)
    return array.astype(working_dtype(stated.dtype), copy=False)


def format_shape(shape: tuple[int | None, ...]) -> str:
    """Return a shape as 1x3x256x256, with ? for a dimension known only at run time."""
    return "x".join("?" if size is None else str(size) for size in shape) or "scalar"


def element_count(shape: tuple[int | None, ...]) -> int:
    """Return the number of elements of a fully known shape; raises ValueError otherwise."""
    if any(size is None for size in shape):
        raise ValueError("the shape of a constant is not fully stated")
    return math.prod(size for size in shape if size is not None)
