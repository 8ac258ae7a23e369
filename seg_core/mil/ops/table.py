"""The table of operations that the evaluator knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from seg_core.registry import Registry


@dataclass(frozen=True)
class Operation:
    """How one operation is computed.

    `function` takes the operation's inputs by the names of the MIL specification: float32 (or integer,
    boolean) arrays, strings, and tuples of arrays for variadic inputs; scalars are arrays of rank 0. It
    returns one array or a tuple. `exact` says that it only moves, selects or compares values, so that
    half-precision results need no rounding.
    """

    function: Callable[..., Any]
    exact: bool = False


#: Operation by MIL name. A name stands for every opset from iOS 15 to iOS 18.
OPERATIONS: Registry[Operation] = Registry("operation")


def operation(name: str, *aliases: str, exact: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the decorated function under its MIL `name`, and under `aliases` that mean the same."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        OPERATIONS.add(name, Operation(function, exact), aliases)
        return function

    return register
