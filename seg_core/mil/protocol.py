"""Protobuf classes of Core ML's specification, without the converter around them."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

from seg_core.errors import MissingDependencyError

_PACKAGE = "_segproof_coreml_proto"


@functools.cache
def load_protocol() -> Any:
    """Return a package whose `Model_pb2` and `MIL_pb2` are coremltools' message classes.

    `import coremltools` takes seconds and pulls in every training framework that is installed, only to
    reach the generated classes in its folder `proto`. They import one another relatively and need nothing
    else, so that folder is loaded as a package of its own name. Protobuf hands out one class a message,
    whichever module asks for it, so a later `import coremltools` in the same process is unaffected.
    Raises MissingDependencyError when coremltools or protobuf is not installed.
    """
    if "coremltools" in sys.modules:
        return importlib.import_module("coremltools.proto")
    found = importlib.util.find_spec("coremltools")
    if found is None or found.origin is None:
        raise MissingDependencyError("coremltools", "reading a Core ML package", "segproof[coreml]")
    if importlib.util.find_spec("google") is None or importlib.util.find_spec("google.protobuf") is None:
        raise MissingDependencyError("protobuf", "reading a Core ML package", "segproof[coreml]")
    folder = Path(found.origin).parent / "proto"
    spec = importlib.util.spec_from_file_location(
        _PACKAGE, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None:
        raise MissingDependencyError("coremltools", "reading a Core ML package", "segproof[coreml]")
    package = importlib.util.module_from_spec(spec)
    sys.modules[_PACKAGE] = package
    spec.loader.exec_module(package)
    importlib.import_module(f"{_PACKAGE}.Model_pb2")
    return package


def parse_model(data: bytes) -> Any:
    """Return the message `Model` that `data` encodes; raises ValueError when it is none."""
    message = load_protocol().Model_pb2.Model()
    decode_error: type[Exception] = importlib.import_module("google.protobuf.message").DecodeError
    try:
        message.ParseFromString(data)
    except decode_error as error:
        raise ValueError(str(error)) from None
    return message
