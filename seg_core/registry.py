"""Names to things, with look-ups that help when they fail."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from seg_core.errors import ConfigError

T = TypeVar("T")


class Registry(Generic[T]):
    """Map names (and aliases) to objects; duplicates raise, a failed look-up names the nearest entry."""

    def __init__(self, kind: str) -> None:
        """Create an empty registry; `kind` is the noun used in messages, such as "model"."""
        self.kind = kind
        self._entries: dict[str, T] = {}
        self._aliases: dict[str, str] = {}

    def add(self, name: str, entry: T, aliases: tuple[str, ...] = ()) -> T:
        """Register `entry` and return it; raises ConfigError when a name or alias is taken."""
        for key in (name, *aliases):
            if key in self._entries or key in self._aliases:
                raise ConfigError(f"{self.kind} {key!r} is already registered")
        self._entries[name] = entry
        self._aliases.update(dict.fromkeys(aliases, name))
        return entry

    def resolve(self, name: str) -> str:
        """Return the canonical name of `name` or an alias of it; raises ConfigError naming the nearest."""
        if name in self._entries:
            return name
        if name in self._aliases:
            return self._aliases[name]
        import difflib  # for those who misspell alone

        known = [*self._entries, *self._aliases]
        near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"unknown {self.kind} {name!r}{hint} (known: {', '.join(sorted(self._entries))})")

    def get(self, name: str) -> T:
        """Return the entry of `name` or an alias of it; raises ConfigError naming the nearest."""
        return self._entries[self.resolve(name)]

    def names(self) -> list[str]:
        """Return the canonical names in the order of registration."""
        return list(self._entries)

    def aliases(self, name: str) -> tuple[str, ...]:
        """Return the other names of the canonical `name`, in the order of registration."""
        return tuple(alias for alias, canonical in self._aliases.items() if canonical == name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries or name in self._aliases
