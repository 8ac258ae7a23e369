"""JSON <-> frozen dataclass, strict in both directions.

Unknown and missing keys, wrong types and values outside a Literal are refused with the path of the
offending field, so that a hand-edited manifest fails with one line instead of a wrong mask.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, cast

from seg_core.errors import SpecError

S = TypeVar("S")


#: Metadata of a field that is written only where it differs from its default: one that came after version 1, so that
#: contracts which do not use it stay readable by the releases before it.
OPTIONAL = types.MappingProxyType({"optional": True})


def to_json(value: Any) -> Any:
    """Return `value` (dataclass, tuple, mapping or scalar) as plain JSON types, unused OPTIONAL fields left out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value) if _is_written(f, value)}
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [to_json(item) for item in value]
    return value


def from_json(cls: type[S], data: Any, where: str = "") -> S:
    """Build the dataclass `cls` from JSON types; raises SpecError naming the field under `where`."""
    where = where or cls.__name__
    if not isinstance(data, Mapping):
        raise SpecError(f"{where}: expected an object, found {_describe(data)}")
    fields = {f.name: f for f in dataclasses.fields(cast(Any, cls))}
    unknown = sorted(set(data) - set(fields))
    if unknown:
        raise SpecError(f"{where}.{unknown[0]}: unknown field (known: {', '.join(sorted(fields))})")
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name in data:
            values[name] = _decode(hints[name], data[name], f"{where}.{name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise SpecError(f"{where}.{name}: missing field")
    return cls(**values)


def read_json(path: Path) -> Any:
    """Return the content of a JSON file; raises SpecError naming it."""
    return _decode_text(_read_text(path), str(path))


def parse_json(cls: type[S], text: str, where: str, source: str) -> S:
    """Build the dataclass `cls` from JSON text; raises SpecError naming `source` and the field under `where`."""
    data = _decode_text(text, source)
    try:
        return from_json(cls, data, where)
    except SpecError as error:
        raise SpecError(f"{source}: {error}") from None


def load_json(cls: type[S], path: Path, where: str) -> S:
    """Build the dataclass `cls` from a JSON file; raises SpecError naming it and the field under `where`."""
    return parse_json(cls, _read_text(path), where, str(path))


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SpecError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from None


def _decode_text(text: str, source: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise SpecError(f"{source}: not valid JSON ({error})") from None
    except RecursionError:
        raise SpecError(f"{source}: not valid JSON (nested too deeply)") from None


def _is_written(field: dataclasses.Field[Any], owner: Any) -> bool:
    return "optional" not in field.metadata or getattr(owner, field.name) != field.default


def _describe(value: Any) -> str:
    return f"{type(value).__name__} {value!r}"[:80]


def _decode(hint: Any, value: Any, where: str) -> Any:
    origin = typing.get_origin(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        return _decode_union(hint, value, where)
    if origin is Literal:
        if value not in typing.get_args(hint) or isinstance(value, bool):
            choices = ", ".join(map(repr, typing.get_args(hint)))
            raise SpecError(f"{where}: expected one of {choices}; found {_describe(value)}")
        return value
    if origin is tuple:
        return _decode_tuple(typing.get_args(hint), value, where)
    if origin in (Mapping, dict):
        if not isinstance(value, Mapping):
            raise SpecError(f"{where}: expected an object, found {_describe(value)}")
        item = typing.get_args(hint)[1]
        return {str(key): _decode(item, entry, f"{where}.{key}") for key, entry in value.items()}
    if dataclasses.is_dataclass(hint):
        return from_json(cast(type, hint), value, where)
    return _decode_scalar(hint, value, where)


def _decode_union(hint: Any, value: Any, where: str) -> Any:
    options = typing.get_args(hint)
    if value is None and type(None) in options:
        return None
    inner = [option for option in options if option is not type(None)]
    if len(inner) == 1:
        return _decode(inner[0], value, where)
    if type(value) in inner:  # bool | int | float | str
        return _decode(type(value), value, where)
    tuples = [option for option in inner if typing.get_origin(option) is tuple]
    if tuples and isinstance(value, (list, tuple)):
        return _decode(tuples[0], value, where)
    choices = ", ".join("list" if option in tuples else option.__name__ for option in inner)
    raise SpecError(f"{where}: expected one of {choices}; found {_describe(value)}")


def _decode_tuple(args: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise SpecError(f"{where}: expected a list, found {_describe(value)}")
    if len(args) == 2 and args[1] is Ellipsis:
        args = (args[0],) * len(value)
    if len(args) != len(value):
        raise SpecError(f"{where}: expected {len(args)} values, found {len(value)}")
    return tuple(_decode(arg, item, f"{where}[{i}]") for i, (arg, item) in enumerate(zip(args, value, strict=True)))


def _decode_scalar(hint: type, value: Any, where: str) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            value = float(value)
        except OverflowError:
            raise SpecError(f"{where}: expected a finite number, found {_describe(value)}") from None
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise SpecError(f"{where}: expected {hint.__name__}, found {_describe(value)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise SpecError(f"{where}: expected a finite number, found {value!r}")
    return value
