"""YAML plus `KEY=VALUE` overrides to a validated configuration, with errors that name key and neighbour."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from seg_core.errors import ConfigError, MissingDependencyError

if TYPE_CHECKING:
    from seg_core.config.schema import TrainConfig


def load_train_config(path: str | Path, overrides: tuple[str, ...] = ()) -> TrainConfig:
    """Return the TrainConfig of a YAML file with dotted `KEY=VALUE` overrides applied.

    Values of overrides are read as YAML, so `solver.steps=100` is a number and `model.options={aux_head: false}`
    a mapping. Relative data paths are relative to the working directory. A section `MODEL` of the older engine's YAML
    may stand in the place of `model`. Raises ConfigError in one line that names the file and the key,
    MissingDependencyError without pydantic or pyyaml.
    """
    try:
        import pydantic

        from seg_core.config.schema import TrainConfig
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            error.name or "pydantic", "reading a training configuration", "segproof[train]"
        ) from None
    path = Path(path)
    tree = _read_yaml(path)
    for override in overrides:
        _apply_override(tree, override)
    if "MODEL" in tree:
        _take_legacy_model(tree, path)
    try:
        return TrainConfig.model_validate(tree)
    except pydantic.ValidationError as error:
        raise ConfigError(f"{path}: {_first_error(error, TrainConfig)}") from None


def _yaml() -> Any:
    try:
        import yaml
    except ModuleNotFoundError:
        raise MissingDependencyError("pyyaml", "reading a training configuration", "segproof[train]") from None
    return yaml


def _read_yaml(path: Path) -> dict[str, Any]:
    yaml = _yaml()
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigError(f"{path}: cannot be read ({reason}); examples are in configs/") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected sections such as `data:` and `solver:`, found {type(tree).__name__}")
    return tree


def _take_legacy_model(tree: dict[str, Any], path: Path) -> None:
    """Put what the older engine's MODEL section says in the place of our `model` section."""
    from seg_core.config.legacy import model_spec_from_legacy

    if "model" in tree:
        raise ConfigError(f"{path}: has both `model` and `MODEL`; keep the one that the network is to be built from")
    preprocess = tree.get("preprocess")
    gray = isinstance(preprocess, dict) and preprocess.get("color") == "gray"
    try:  # the classes come from the label set: two stand in for them here
        spec = model_spec_from_legacy(tree.pop("MODEL"), num_classes=2, in_channels=1 if gray else 3)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    tree["model"] = {"name": spec.name, "in_channels": spec.in_channels, "options": dict(spec.options)}


def _apply_override(tree: dict[str, Any], override: str) -> None:
    yaml = _yaml()
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise ConfigError(f"override {override!r}: expected KEY=VALUE, such as solver.steps=100")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"override {override!r}: the value is not valid YAML") from None
    *sections, leaf = key.split(".")
    for section in sections:
        node = tree.setdefault(section, {})
        if not isinstance(node, dict):
            raise ConfigError(f"override {override!r}: {section!r} is a value, not a section")
        tree = node
    tree[leaf] = value


def _first_error(error: Any, root: Any) -> str:
    """Say the first problem in one line: dotted key, what was wrong, the nearest known key."""
    problem = error.errors()[0]
    location = [str(part) for part in problem["loc"]]
    key = ".".join(location) or "configuration"
    more = error.error_count() - 1
    suffix = f" (and {more} more)" if more else ""
    if problem["type"] == "extra_forbidden":
        known = _known_keys(root, location[:-1])
        near = difflib.get_close_matches(location[-1].lower(), known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
        return f"{key}: unknown key; {hint}{suffix}"
    if problem["type"] == "missing":
        return f"{key}: missing; set it in the file or with  -o {key}=…{suffix}"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{key}: {message}; found {problem['input']!r}{suffix}"[:300]


def _known_keys(root: Any, sections: list[str]) -> list[str]:
    for section in sections:
        annotation = root.model_fields[section].annotation
        candidates = [annotation, *get_args(annotation)]
        root = next(c for c in candidates if hasattr(c, "model_fields"))
    return sorted(root.model_fields)
