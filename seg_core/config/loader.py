"""YAML plus `KEY=VALUE` overrides to a validated configuration, with errors that name key and neighbour."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from seg_core.config.overrides import Override, leaves, parse_override
from seg_core.config.yaml_reader import read_yaml
from seg_core.errors import ConfigError, MissingDependencyError

if TYPE_CHECKING:
    from seg_core.config.schema import TrainConfig


@dataclass(frozen=True)
class LoadedConfig:
    """A configuration and remarks about what of its file has no effect, for people to read."""

    config: TrainConfig
    notes: tuple[str, ...] = ()


def load_train_config(path: str | Path, overrides: Iterable[str] = ()) -> TrainConfig:
    """Return the TrainConfig of a YAML file with dotted `KEY=VALUE` overrides applied.

    Values of overrides are read as YAML, so `solver.steps=100` is a number and `model.options={aux_head: false}`
    a mapping. Relative data paths are relative to the working directory. The older engine's UPPERCASE keys may stand
    in the file, and in overrides, in the place of ours. An override of `solver.steps` takes `solver.epochs` back.
    Raises ConfigError in one line that names the file and the key, MissingDependencyError without pydantic or pyyaml.
    """
    return read_train_config(path, overrides).config


def read_train_config(path: str | Path, overrides: Iterable[str] = ()) -> LoadedConfig:
    """Return what `load_train_config` does, with remarks about the file."""
    try:
        import pydantic

        from seg_core.config.schema import TrainConfig
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            error.name or "pydantic", "reading a training configuration", "segproof[train]"
        ) from None
    path = Path(path)
    tree = read_yaml(path)
    changes = [parse_override(override) for override in overrides]
    try:
        draft = _draft(tree, changes)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    _say_off(draft.tree, TrainConfig)
    try:
        config = TrainConfig.model_validate(draft.tree)
    except pydantic.ValidationError as error:
        raise ConfigError(f"{path}: {_first_error(error, TrainConfig, draft.sources)}") from None
    try:
        draft.check(config)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return LoadedConfig(config, draft.notes)


@dataclass
class _Draft:
    """A tree before validation, and the UPPERCASE keys that its dotted keys come from."""

    tree: dict[str, Any]
    sources: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    num_classes: int | None = None

    def check(self, config: TrainConfig) -> None:
        if self.num_classes is not None:
            from seg_core.config.legacy_labels import check_num_classes

            check_num_classes(self.num_classes, config.data.labels, config.data.merge)


def _draft(tree: dict[str, Any], changes: list[Override]) -> _Draft:
    from seg_core.config.legacy_run import is_legacy_key

    def is_legacy(key: str) -> bool:
        return is_legacy_key(key.partition(".")[0])

    legacy = {key: value for key, value in tree.items() if is_legacy_key(key)}
    ours = {key: value for key, value in tree.items() if key not in legacy}
    later = [change for change in changes if not is_legacy(change.key)]
    earlier = [change for change in changes if is_legacy(change.key)]
    draft = _take_legacy(legacy, ours, earlier, later) if legacy or earlier else _Draft(ours)
    for change in later:
        change.apply(draft.tree)
        draft.sources = {key: source for key, source in draft.sources.items() if not _within(key, change.key)}
    changed = {change.key for change in later}
    solver = draft.tree.get("solver")
    if "solver.steps" in changed and "solver.epochs" not in changed and isinstance(solver, dict):
        solver.pop("epochs", None)  # who asks for so many steps does not want the file's epochs
    if legacy or earlier:
        _count_channels(draft.tree)
    return draft


def _take_legacy(
    legacy: dict[str, Any], ours: dict[str, Any], earlier: list[Override], later: list[Override]
) -> _Draft:
    """Return our tree with what UPPERCASE keys say in it; of what is said twice, overrides count."""
    from seg_core.config.legacy_run import translate, withdraw_twins

    whole = bool(legacy.keys() - {"MODEL"})
    for change in earlier:
        withdraw_twins(legacy, change.key)
        change.apply(legacy)
    if "MODEL" in legacy and "model" in ours:
        raise ConfigError("has both `model` and `MODEL`; keep the one that the network is to be built from")
    said = dict(leaves(ours))
    has_labels = "data.labels" in said or any(_within("data.labels", change.key) for change in later)
    translation = translate(legacy, whole, has_labels)
    overridden = {change.key for change in earlier}
    epochs = translation.told.get("solver.epochs")
    if epochs and "solver.steps" in said:
        raise ConfigError(f"{epochs.source}: is there, and so is `solver.steps`; keep one of them")
    tree: dict[str, Any] = {}
    for key, told in translation.told.items():
        if told.source and key in said and not any(_within(told.source, changed) for changed in overridden):
            raise ConfigError(f"{told.source}: is there, and so is `{key}`; keep one of them")
        if key not in said or told.source:
            Override(key, told.value, key).apply(tree)
            said.pop(key, None)
    for key, value in said.items():
        if value != {} or not any(_within(known, key) for known in translation.told):
            Override(key, value, key).apply(tree)
    sources = {"data.train": "DATASET.TRAIN_PATH", "data.val": "DATASET.TEST_PATH"} if whole else {}
    sources |= {key: told.source for key, told in translation.told.items() if told.source}
    return _Draft(tree, sources, tuple(translation.notes), translation.num_classes)


def _within(key: str, section: str) -> bool:
    return key == section or key.startswith(f"{section}.")


def _count_channels(tree: dict[str, Any]) -> None:
    """Give the network as many channels as the contract has, where the file does not say how many."""
    preprocess, model = tree.get("preprocess"), tree.setdefault("model", {})
    if isinstance(preprocess, Mapping) and isinstance(model, dict):
        colours = 1 if preprocess.get("color") == "gray" else 3
        model.setdefault("in_channels", colours + (preprocess.get("prior", "none") != "none"))


def _say_off(tree: dict[str, Any], root: Any) -> None:
    """Put the word back where YAML 1.1 took a plain `off` for False, in place."""
    for name, known in root.model_fields.items():
        if isinstance(tree.get(name), dict) and hasattr(known.annotation, "model_fields"):
            _say_off(tree[name], known.annotation)
        elif tree.get(name) is False and "off" in get_args(known.annotation):
            tree[name] = "off"


def _first_error(error: Any, root: Any, sources: Mapping[str, str]) -> str:
    """Say the first problem in one line: dotted key, what was wrong, the nearest known key."""
    problem = error.errors()[0]
    location = [str(part) for part in problem["loc"]]
    key = ".".join(location) or "configuration"
    key = next((source for ours, source in sources.items() if _within(key, ours)), key)
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
