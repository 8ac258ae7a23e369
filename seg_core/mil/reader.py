"""From a saved package to a Program: types, constants, order and lifetimes."""

from __future__ import annotations

import inspect
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from seg_core.errors import ArtifactError
from seg_core.mil.blobs import WeightFile
from seg_core.mil.dtypes import MIL_DTYPES, unpack, working_dtype
from seg_core.mil.ops import OPERATIONS
from seg_core.mil.package import Package, open_package, resolve_inside
from seg_core.mil.program import Program, Step, Value, ValueType, element_count, execute

_VARIADIC = "values"  # the one input name of MIL that always holds a list (concat, stack, einsum)
_COMPILE_TIME = "constexpr_"


def load_program(path: str | Path) -> Program:
    """Read the ML Program in the package at `path`, weights included, and check that all of it can be run.

    Compression operations (`constexpr_*`) are expanded here, once. Raises ArtifactError when the package is
    damaged, holds another kind of model, or uses an operation that the evaluator does not know (the program
    may be right all the same, but it is not proven); MissingDependencyError without coremltools.
    """
    package = open_package(path)
    specification = package.specification
    kind = specification.WhichOneof("Type")
    if kind != "mlProgram":
        raise ArtifactError(
            f"{package.path}: holds a model of kind {kind!r}, only ML Programs can be run off a Mac; "
            'convert with convert_to="mlprogram"'
        )
    try:
        return _Reader(package).read()
    except (LookupError, ValueError, TypeError) as error:
        raise ArtifactError(f"{package.path}: the program cannot be decoded ({error}); export it again") from error


class _Reader:
    """Walks one function of the program; holds what has been decoded so far."""

    def __init__(self, package: Package) -> None:
        self.path = package.path
        self._package = package
        self._weights: dict[str, WeightFile] = {}
        self._constants: dict[str, Value] = {}
        self._steps: list[Step] = []

    def read(self) -> Program:
        description = self._package.specification.description
        functions = self._package.specification.mlProgram.functions
        name = description.defaultFunctionName or "main"
        if name not in functions:
            raise ArtifactError(f"{self.path}: the program has no function {name!r}; export it again")
        function = functions[name]
        if function.opset not in function.block_specializations:
            raise ArtifactError(f"{self.path}: the program has no code for opset {function.opset!r}; export it again")
        block = function.block_specializations[function.opset]
        inputs = {item.name: _value_type(item.type) for item in function.inputs}
        types = dict(inputs)
        self._check_known(block.operations)
        for item in block.operations:
            types.update((output.name, _value_type(output.type)) for output in item.outputs)
            self._add(item)
        outputs = {item: types[item] for item in block.outputs}
        if not outputs:
            raise ArtifactError(f"{self.path}: the program has no outputs; export it again")
        self._check_names(set(inputs))
        return Program(
            path=self.path,
            opset=function.opset,
            inputs=inputs,
            outputs=outputs,
            metadata=dict(description.metadata.userDefined),
            images=frozenset(item.name for item in description.input if item.type.WhichOneof("Type") == "imageType"),
            constants=self._constants,
            steps=_with_releases(self._steps, keep=set(outputs) | set(self._constants)),
        )

    def _check_known(self, operations: Any) -> None:
        unknown = [item for item in operations if item.type != "const" and item.type not in OPERATIONS]
        if unknown:
            first = unknown[0]
            output = first.outputs[0].name if first.outputs else "?"
            kinds = ", ".join(sorted({item.type for item in unknown}))
            raise ArtifactError(
                f"{self.path}: operation {first.type!r} (output {output!r}) is not among the {len(OPERATIONS)} that "
                f"can be run off a Mac (unknown here: {kinds}); the program may be right but is not proven: "
                "check it on macOS"
            )

    def _add(self, item: Any) -> None:
        if item.type == "const":
            self._constants[item.outputs[0].name] = self._value(item.attributes["val"])
            return
        operation = OPERATIONS.get(item.type)
        inputs = {key: self._source(item, key, argument) for key, argument in item.inputs.items()}
        for key, value in item.attributes.items():
            if key != "name":
                inputs[key] = self._keep(item, key, self._value(value))
        try:
            inspect.signature(operation.function).bind(**inputs)
        except TypeError as error:
            raise ArtifactError(
                f"{self.path}: operation {item.type!r} ({item.outputs[0].name!r}) is used in a way that cannot be run "
                f"off a Mac ({error}); the program may be right but is not proven: check it on macOS"
            ) from None
        outputs = tuple((output.name, _value_type(output.type)) for output in item.outputs)
        step = Step(item.type, operation, inputs, outputs)
        if item.type.startswith(_COMPILE_TIME):
            self._constants.update(execute(step, {}, self._constants, self.path))
        else:
            self._steps.append(step)

    def _source(self, item: Any, key: str, argument: Any) -> str | tuple[str, ...]:
        names = tuple(
            binding.name
            if binding.WhichOneof("binding") == "name"
            else self._keep(item, f"{key}.{index}", self._value(binding.value))
            for index, binding in enumerate(argument.arguments)
        )
        return names if len(names) != 1 or key == _VARIADIC else names[0]

    def _keep(self, item: Any, key: str, value: Value) -> str:
        name = f"%{item.outputs[0].name}.{key}"  # "%" cannot start an identifier of MIL
        self._constants[name] = value
        return name

    def _value(self, value: Any) -> Value:
        if value.type.WhichOneof("type") == "listType":
            return tuple(self._value(item) for item in value.immediateValue.list.values)
        stated = _value_type(value.type)
        if value.WhichOneof("value") == "blobFileValue":
            blob = value.blobFileValue
            flat = self._weight_file(blob.fileName).read(blob.offset, stated.dtype, element_count(stated.shape))
            return flat.reshape(stated.shape)
        return _immediate(value.immediateValue.tensor, stated)

    def _weight_file(self, name: str) -> WeightFile:
        if name not in self._weights:
            relative = name.removeprefix("@model_path/")
            member = resolve_inside(self.path, self._package.model_dir / relative)
            self._weights[name] = WeightFile(member, self.path)
        return self._weights[name]

    def _check_names(self, inputs: set[str]) -> None:
        known = inputs | set(self._constants)
        for step in self._steps:
            for name in _names(step):
                if name not in known:
                    raise ArtifactError(
                        f"{self.path}: {step.title} reads {name!r}, which nothing makes; export it again"
                    )
            known.update(name for name, _ in step.outputs)


def _names(step: Step) -> list[str]:
    sources = (source if isinstance(source, tuple) else (source,) for source in step.inputs.values())
    return [name for source in sources for name in source]


def _with_releases(steps: list[Step], keep: set[str]) -> tuple[Step, ...]:
    """Return the steps, each told which values nobody reads after it, so that memory stays near the live set."""
    last_use = {name: index for index, step in enumerate(steps) for name, _ in step.outputs}
    last_use.update((name, index) for index, step in enumerate(steps) for name in _names(step))
    dying: defaultdict[int, list[str]] = defaultdict(list)
    for name, index in last_use.items():
        if name not in keep:
            dying[index].append(name)
    return tuple(
        Step(step.name, step.operation, step.inputs, step.outputs, tuple(dying[index]))
        for index, step in enumerate(steps)
    )


def _value_type(message: Any) -> ValueType:
    if message.WhichOneof("type") != "tensorType":
        return ValueType("list", ())
    tensor = message.tensorType
    if tensor.dataType not in MIL_DTYPES:
        raise ValueError(f"number format {tensor.dataType} is not known")
    shape = tuple(
        dimension.constant.size if dimension.WhichOneof("dimension") == "constant" else None
        for dimension in tensor.dimensions
    )
    return ValueType(MIL_DTYPES[tensor.dataType], shape)


def _immediate(tensor: Any, stated: ValueType) -> Value:
    field = tensor.WhichOneof("value")
    if field is None:
        raise ValueError("a constant has no value")
    content = getattr(tensor, field).values
    if stated.dtype == "string":
        return str(content[0]) if not stated.shape else tuple(map(str, content))
    count = element_count(stated.shape)
    packed = field == "bytes"
    flat = unpack(content, stated.dtype, count) if packed else np.array(content, working_dtype(stated.dtype))
    return flat.reshape(stated.shape)
