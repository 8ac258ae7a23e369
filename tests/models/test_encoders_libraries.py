"""How torchvision is imported beside a torch that its compiled operators do not fit."""

import importlib
import sys

import pytest
import torch

from seg_core.models import vision_libraries


@pytest.fixture
def imports(monkeypatch):
    """Let imports answer in turn with what the test puts here; exceptions are raised."""
    answers = []

    def answer(name):
        assert name == "torchvision"
        found = answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(importlib, "import_module", answer)
    monkeypatch.setattr(vision_libraries, "_SCHEMAS", [])
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    return answers


class Schemas:
    """Stands in for torch.library.Library: declaring what this process has declared already would be an error."""

    def __init__(self, name, kind):
        self.name, self.kind, self.schemas = name, kind, []

    def define(self, schema):
        self.schemas.append(schema.partition("(")[0])


def test_operators_that_load_are_not_declared_again(imports):
    imports.append("the library")
    assert vision_libraries._import_torchvision() == "the library"
    assert vision_libraries._SCHEMAS == []


def test_missing_operators_are_declared_and_the_import_repeated(imports, monkeypatch):
    monkeypatch.setattr(torch.library, "Library", Schemas)
    sys.modules["torchvision.half_imported"] = sys
    imports += [RuntimeError("operator torchvision::nms does not exist"), "the library"]
    assert vision_libraries._import_torchvision() == "the library"
    (declared,) = vision_libraries._SCHEMAS
    assert (declared.name, declared.kind, declared.schemas) == ("torchvision", "FRAGMENT", ["nms", "qnms"])
    assert not [name for name in sys.modules if name.startswith("torchvision.")]


def test_other_failures_are_not_hidden(imports):
    imports.append(RuntimeError("CUDA driver is too old"))
    with pytest.raises(RuntimeError, match="driver is too old"):
        vision_libraries._import_torchvision()
