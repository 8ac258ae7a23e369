"""The older engine's UPPERCASE YAML, read key by key: values as yacs took them, errors that name key and neighbour.

A string that reads as a Python literal is that literal, so "(3, 5, 7)" is a tuple, "1e-3" a number and "None" nothing.
"""

from __future__ import annotations

import ast
import datetime
import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from seg_core.errors import ConfigError

T = TypeVar("T")


class LegacySection:
    """One section of such a file, read strictly: every message names the key from the top, as `MODEL.FPN.NAME`."""

    def __init__(self, path: str, section: Any, keys: Iterable[str], elsewhere: Iterable[str] = ()) -> None:
        """Wrap the mapping `section` found at `path`, which is empty for the file itself.

        Raises ConfigError at the first key that is not in `keys`, with the nearest of them or, failing that, of
        `elsewhere`, which holds full keys of the other sections.
        """
        if section is None:
            section = {}
        if not isinstance(section, Mapping):
            raise ConfigError(f"{path}: expected a section with keys, found {shown(section)}")
        self.path = path
        self._values = section
        known = list(keys)
        for key in section:
            if key not in known:
                raise ConfigError(f"{self.name(key)}: unknown key; {_nearest_key(str(key), path, known, elsewhere)}")

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def name(self, key: str) -> str:
        """Return `key` as it is called from the top of the file."""
        return f"{self.path}.{key}" if self.path else str(key)

    def raw(self, key: str) -> Any:
        """Return what the YAML has under `key`, None when it is absent."""
        return self._values.get(key)

    def section(self, key: str, keys: Iterable[str], elsewhere: Iterable[str] = ()) -> LegacySection:
        """Return the section under `key`; one that is absent is empty."""
        return LegacySection(self.name(key), self._values.get(key), keys, elsewhere)

    def integer(self, key: str, default: int, least: int = 1) -> int:
        """Return a whole number of at least `least`."""
        value = _whole(decode(self._values.get(key, default)))
        if type(value) is not int or value < least:
            raise self.error(key, f"expected a whole number of at least {least}, found {shown(value)}")
        return value

    def number(self, key: str, default: float, least: float | None = None) -> float:
        """Return a finite number above 0, or of at least `least`."""
        value = decode(self._values.get(key, default))
        fits = type(value) in (int, float) and value < float("inf") and (value > 0 if least is None else value >= least)
        if not fits:
            bound = "above 0" if least is None else f"of at least {least:g}"
            raise self.error(key, f"expected a number {bound} such as 1e-3, found {shown(value)}")
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        """Return True or False."""
        value = decode(self._values.get(key, default))
        if type(value) is not bool:
            raise self.error(key, f"expected True or False, found {shown(value)}")
        return value

    def integers(self, key: str, default: tuple[int, ...]) -> tuple[int, ...]:
        """Return whole numbers of at least 1: a tuple in parentheses, a list, or one number for itself."""
        value = decode(self._values.get(key, default))
        numbers = [_whole(number) for number in (value if isinstance(value, (tuple, list)) else (value,))]
        if not numbers or any(type(number) is not int or number < 1 for number in numbers):
            raise self.error(key, f"expected whole numbers such as (3, 5, 7), found {shown(value)}")
        return tuple(numbers)

    def size_hw(self, key: str) -> tuple[int, int] | None:
        """Return (height, width); one number stands for a square, None and "" for nothing."""
        if decode(self._values.get(key)) in (None, ""):
            return None
        try:
            numbers = self.integers(key, ())
        except ConfigError:
            numbers = ()
        if len(numbers) not in (1, 2):
            found = shown(self._values[key])
            raise self.error(key, f"expected (height, width) such as (256, 256), found {found}")
        return numbers[0], numbers[-1]

    def text(self, key: str, default: str = "") -> str:
        """Return a string; None is the empty one."""
        value = decode(self._values.get(key, default))
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self.error(key, f"expected a name, found {shown(value)}")
        return value.strip()

    def word(self, key: str) -> str:
        """Return what stands there as it is written, for names and dates that YAML may read as something else."""
        value = self._values.get(key)
        if value is None or (isinstance(value, str) and value.strip() == "None"):
            return ""
        if isinstance(value, (datetime.date, datetime.datetime)):
            return value.isoformat()
        if isinstance(value, (str, int, float)) and not isinstance(value, bool):
            return str(value).strip()
        raise self.error(key, f"expected a word, found {shown(value)}")

    def words(self, key: str) -> tuple[str, ...]:
        """Return the strings of a list, or the one that stands alone; each is kept as it is written."""
        value = self._values.get(key)
        if isinstance(value, str) and value.strip()[:1] in ("(", "["):
            value = decode(value)
        entries = [] if value is None else list(value) if isinstance(value, (list, tuple)) else [value]
        if any(not isinstance(entry, str) for entry in entries):
            raise self.error(key, f"expected a path or a list of paths, found {shown(value)}")
        return tuple(entry.strip() for entry in entries if entry.strip() not in ("", "None"))

    def choice(self, key: str, choices: Mapping[str, T], default: str = "") -> T:
        """Return what `choices` has for the name under `key`; case, "_" and "-" do not count."""
        return self._choose(key, self.text(key, default), choices)

    def choices(self, key: str, choices: Mapping[str, T]) -> list[T]:
        """Return what `choices` has for each name of the list under `key`; one name may stand alone."""
        value = decode(self._values.get(key, []))
        names = list(value) if isinstance(value, (list, tuple)) else [value]
        names = ["" if decode(name) is None else name for name in names]
        if any(not isinstance(name, str) for name in names):
            raise self.error(key, f"expected a list of names, found {shown(value)}")
        return [self._choose(key, name.strip(), choices) for name in names]

    def error(self, key: str, message: str) -> ConfigError:
        """Return the error that says `message` about `key`."""
        return ConfigError(f"{self.name(key)}: {message}")

    def _choose(self, key: str, name: str, choices: Mapping[str, T]) -> T:
        for known, chosen in choices.items():
            if plain(known) == plain(name):
                return chosen
        problem = f"unknown name {name!r}" if name else "missing"
        raise self.error(key, f"{problem}; {nearest(name, list(choices))}")


def decode(value: Any) -> Any:
    """Return a string's Python literal where it is one ("None", "(3, 5, 7)", "1e-3"), else `value` itself."""
    if not isinstance(value, str):
        return value
    try:
        return ast.literal_eval(value.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return value


def _whole(value: Any) -> Any:
    """Return the int that a float without a fraction stands for, such as that of 1e2; all else as it is."""
    return int(value) if type(value) is float and value.is_integer() else value


def nearest(name: str, known: list[str]) -> str:
    """Say which of `known` was probably meant by `name`, or list them when none is like it."""
    near = _near(name, known)
    return f"did you mean {near!r}?" if near else f"known: {', '.join(map(repr, known))}"


def plain(name: str) -> str:
    """Return `name` without what does not count in it: case, white space, "_" and "-"."""
    return re.sub(r"[\s_-]", "", name).lower()


def shown(value: Any) -> str:
    """Return `value` as a message shows it: one line, not too long."""
    return repr(value)[:60]


def _near(name: str, known: list[str]) -> str | None:
    by_plain = {plain(entry): entry for entry in known}
    near = difflib.get_close_matches(plain(name), by_plain, n=1, cutoff=0.5)
    return by_plain[near[0]] if near else None


def _nearest_key(name: str, path: str, known: list[str], elsewhere: Iterable[str]) -> str:
    """Prefer a key of this last part in another section, one below `path` if there is, then what looks like it."""
    by_leaf: dict[str, str] = {}
    for key in sorted(elsewhere, key=lambda key: not key.startswith(f"{path}.")):
        by_leaf.setdefault(plain(key.rpartition(".")[2]), key)
    same = next((key for key in known if plain(key) == plain(name)), by_leaf.get(plain(name)))
    near = same or _near(name, known)
    if near is None and by_leaf:
        far = _near(name, list(by_leaf))
        near = by_leaf[far] if far else None
    return f"did you mean {near!r}?" if near else nearest(name, known)
