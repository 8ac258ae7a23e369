"""YAML to plain objects, safely, without two traps of the language: `1e-3` that is a string, and a key given twice."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seg_core.errors import ConfigError, MissingDependencyError

if TYPE_CHECKING:
    from yaml import Node, SafeLoader

#: YAML 1.1 wants a point and a signed exponent in such numbers; YAML 1.2, and whoever writes one, does not.
_EXPONENT = re.compile(r"^[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9_]+)[eE][-+]?[0-9]+$")


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping that a YAML file holds; nothing in it is executed.

    Raises ConfigError naming the file when it cannot be read, is not YAML, has a key twice or is no mapping, and
    MissingDependencyError without pyyaml.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigError(f"{path}: cannot be read ({reason}); examples are in configs/") from None
    try:
        tree = parse_yaml(text)
    except ValueError as error:
        raise ConfigError(f"{path}: not valid YAML ({error})") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected sections such as `data:` and `solver:`, found {type(tree).__name__}")
    return tree


def parse_yaml(text: str) -> Any:
    """Return what `text` says; raises ValueError in one line when it is not YAML, as read_yaml otherwise."""
    loader_type = _reader()
    import yaml

    try:
        reader = loader_type(text)
        try:
            return reader.get_single_data()
        finally:
            reader.dispose()
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a ValueError is a date such as 2021-13-01
        raise ValueError(" ".join(str(error).split())) from None


@functools.cache
def _reader() -> type[SafeLoader]:
    """Return PyYAML's safe loader with the two changes."""
    try:
        import yaml
    except ModuleNotFoundError:
        raise MissingDependencyError("pyyaml", "reading a training configuration", "segproof[train]") from None

    class Reader(yaml.SafeLoader):
        def construct_mapping(self, node: Node, deep: bool = False) -> dict[Any, Any]:
            _refuse_twins(node)
            return super().construct_mapping(node, deep)  # type: ignore[arg-type]  # what its caller made sure of

    Reader.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+.0123456789"))
    return Reader


def _refuse_twins(node: Any) -> None:
    """The second of two equal keys would win without a word, such as an alternative that is no longer a comment."""
    seen: set[str] = set()
    for key, _ in node.value:
        name = str(key.value)
        if name in seen and name != "<<":
            raise ValueError(f"line {key.start_mark.line + 1}: the key {name!r} is there twice; keep one of them")
        seen.add(name)
