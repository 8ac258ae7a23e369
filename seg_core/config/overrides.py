"""`KEY=VALUE` of the command line, and trees of sections with dotted keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from seg_core.config.yaml_reader import parse_yaml
from seg_core.errors import ConfigError


@dataclass(frozen=True)
class Override:
    """A dotted key and the value it is to have; `text` is what was typed."""

    key: str
    value: Any
    text: str

    def apply(self, tree: dict[str, Any]) -> None:
        """Set the value in `tree`, in place; raises ConfigError when a section of the key is a value there."""
        *sections, leaf = self.key.split(".")
        for section in sections:
            node = tree.setdefault(section, {})
            if not isinstance(node, dict):
                raise ConfigError(f"override {self.text!r}: {section!r} is a value, not a section")
            tree = node
        tree[leaf] = self.value


def parse_override(text: str) -> Override:
    """Read `KEY=VALUE`, the value as YAML; raises ConfigError when it is something else."""
    key, separator, value = text.partition("=")
    key = key.strip()
    if not separator or not all(key.split(".")):
        raise ConfigError(f"override {text!r}: expected KEY=VALUE, such as solver.steps=100")
    try:
        return Override(key, parse_yaml(value), text)
    except ValueError:
        raise ConfigError(f"override {text!r}: the value is not valid YAML") from None


def leaves(tree: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) of everything in `tree` that is not a section with something in it."""
    for key, value in tree.items():
        name = f"{path}.{key}" if path else str(key)
        if isinstance(value, Mapping) and value:
            yield from leaves(value, name)
        else:
            yield name, value
