"""The one place that imports torchvision and timm, which is done when an encoder of theirs is built.

Neither is needed to import `seg_core.models` or to build a network without them, and importing both takes a second.
"""

from __future__ import annotations

import functools
import importlib
import sys
from types import ModuleType

import torch

from seg_core.errors import MissingDependencyError

_EXTRA = "segproof[torch]"
_MISSING_OPERATOR = "torchvision::nms does not exist"
#: Keeps the schemas alive: torch takes them back when the library object goes.
_SCHEMAS: list[torch.library.Library] = []


@functools.cache
def load_torchvision(feature: str) -> ModuleType:
    """Import and return torchvision; raises MissingDependencyError saying that `feature` needs it."""
    try:
        return _import_torchvision()
    except ImportError:
        raise MissingDependencyError("torchvision", feature, _EXTRA) from None


@functools.cache
def load_timm(feature: str) -> ModuleType:
    """Import and return timm; raises MissingDependencyError saying that `feature` needs it."""
    load_torchvision(feature)  # timm imports it, and would meet the same trouble
    try:
        return importlib.import_module("timm")
    except ImportError:
        raise MissingDependencyError("timm", feature, _EXTRA) from None


def _import_torchvision() -> ModuleType:
    """Import torchvision, without its compiled operators where those were built for another torch.

    The registry's torchvision is a CUDA build. Beside a CPU build of torch its library of operators does not load,
    and the import then fails at `operator torchvision::nms does not exist`, although no classification network
    uses that operator. Declaring the schemas that torchvision describes to the compiler lets the import succeed.
    They are declared only after such a failure: where the library does load, it declares them itself, and twice
    is an error.
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if _MISSING_OPERATOR not in str(error):
            raise
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]  # what was imported before the failure
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for operator in ("nms", "qnms"):
        schema = f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        library.define(schema)  # type: ignore[no-untyped-call]
    _SCHEMAS.append(library)
    return importlib.import_module("torchvision")
