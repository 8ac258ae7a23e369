"""The formats that can be exported; each module is imported only when its target is used."""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import cast

from seg_core.errors import ConfigError, MissingDependencyError
from seg_core.registry import Registry
from seg_export.target import Precision, Target

TARGETS: Registry[str] = Registry("target")
TARGETS.add("torchscript", "seg_export.targets.torchscript", ("jit", "pt"))
TARGETS.add("onnx", "seg_export.targets.onnx", ("ort",))
TARGETS.add("coreml", "seg_export.targets.coreml", ("ios", "mlpackage", "apple"))
TARGETS.add("tflite", "seg_export.targets.tflite", ("litert", "android"))
TARGETS.add("coreai", "seg_export.targets.coreai", ("aimodel",))

#: What "all" stands for: the formats whose converters install wherever this project does. ADR 0006 tells why
#: Core AI, which must be named, is not among them yet.
ALL = ("torchscript", "onnx", "coreml", "tflite")


def list_targets() -> list[str]:
    """Return the names of all targets in their usual order."""
    return TARGETS.names()


def get_target(name: str) -> Target:
    """Return the target called `name` (or an alias of it); raises ConfigError naming the nearest."""
    return cast(Target, importlib.import_module(TARGETS.get(name)).TARGET)


def resolve_targets(names: list[str]) -> list[Target]:
    """Return the targets of `names` in their usual order, each once; "all" stands for those of `ALL`."""
    wanted = {name for given in names for name in (ALL if given == "all" else [TARGETS.resolve(given)])}
    return [get_target(name) for name in TARGETS if name in wanted]


def check_request(targets: list[Target], precision: Precision) -> None:
    """Refuse what cannot be done before any work starts.

    Raises ConfigError when a target cannot honour `precision`, saying which can, and
    MissingDependencyError when a target's converter is not installed.
    """
    for target in targets:
        if precision not in target.precisions:
            able = [name for name in TARGETS if precision in get_target(name).precisions]
            hint = f"targets that can: {', '.join(able)}" if able else "no target can yet"
            raise ConfigError(f"target {target.name!r} cannot be exported in {precision} ({hint}; it can: "
                              f"{', '.join(target.precisions)})")  # fmt: skip
    for target in targets:
        for package in missing_packages(target):
            raise MissingDependencyError(package, f"exporting to {target.name}", f"segproof[{target.extra}]")


def missing_packages(target: Target) -> list[str]:
    """Return which of the modules that `target` requires cannot be found; none is imported."""
    return [module for module in target.requires if not _is_installed(module)]


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ImportError:  # an import hook may refuse a module outright
        return False


def package_version(package: str) -> str:
    """Return the installed version of `package`, or "unknown version" for a source checkout without metadata."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown version"
