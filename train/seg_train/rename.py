"""Turn a foreign checkpoint into one of ours: map its keys onto a registered architecture's, once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seg_core.errors import CheckpointError, ConfigError, SegError
from seg_core.spec.io import read_json

if TYPE_CHECKING:
    from seg_core.convention import StatedConvention
    from seg_core.models.checkpoint import Checkpoint
    from seg_core.models.foreign_state import ForeignState
    from seg_core.models.published_match import Fit

#: `provenance["source"]` of what this makes: it states everything itself, though some of it had been assumed.
RENAMED_SOURCE = "renamed state dict"


@dataclass(frozen=True)
class KeyMap:
    """How keys are mapped: whole keys first (to None: left out), then those to drop, then the longest prefix."""

    exact: Mapping[str, str | None] = field(default_factory=dict)
    prefixes: Mapping[str, str] = field(default_factory=dict)
    drop: tuple[str, ...] = ()

    def rule_for(self, key: str) -> str | None:
        """Return the rule that applies to `key`: its own key or prefix; None where it stays as it is."""
        if key in self.exact:
            return key
        rules = [prefix for prefix in (*self.drop, *self.prefixes) if key.startswith(prefix)]
        return max(rules, key=len, default=None)

    def apply(self, key: str, rule: str) -> str | None:
        """Return what `rule` makes of `key`; None where it is left out."""
        if rule in self.exact and rule == key:
            return self.exact[key]
        return None if rule in self.drop else self.prefixes[rule] + key.removeprefix(rule)

    def check_used(self, used: set[str]) -> None:
        """Refuse rules that no key followed, which are misspelt; raises ConfigError."""
        idle = [rule for rule in (*self.exact, *self.prefixes, *self.drop) if rule not in used]
        if idle:
            raise ConfigError(f"the rule for {idle[0]!r} matches no key of the file; --dry-run lists what is there")


def load_key_map(path: Path | None, prefixes: Mapping[str, str], drop: tuple[str, ...] = ()) -> KeyMap:
    """Return the KeyMap of a JSON file {"old key": "new key" or null} and of prefixes; raises SegError naming it."""
    if path is None:
        return KeyMap({}, prefixes, drop)
    wanted = f'{path}: expected {{"old key": "new key", "useless key": null}}'
    data = read_json(path)
    if not isinstance(data, dict) or not all(value is None or isinstance(value, str) for value in data.values()):
        raise ConfigError(wanted)
    return KeyMap(data, prefixes, drop)


@dataclass(frozen=True)
class RenamePlan:
    """What would become of a foreign file: `renamed` pairs old with new keys, `fit` compares all with the model."""

    source: Path
    foreign: ForeignState
    fit: Fit
    renamed: tuple[tuple[str, str], ...]

    def require_fit(self) -> None:
        """Refuse weights that do not fit, or whose main head is an auxiliary one; raises CheckpointError."""
        from seg_core.models.published_match import check_main_head, head_modules

        main, auxiliary = head_modules(self.fit)
        for old, new in self.renamed:
            parts = [part for part in old.split(".") if part in auxiliary or part.startswith("aux")]
            if new.partition(".")[0] == main and parts:
                raise CheckpointError(
                    f"{self.source}: {old!r} is an auxiliary head's, which serves training alone, and would become "
                    f"{new!r} of the main head: map the main head's own weights"
                )
        try:
            check_main_head(self.fit)
        except CheckpointError as error:
            raise CheckpointError(f"{self.source}: {error}") from None
        if not self.fit.is_complete:
            raise CheckpointError(
                f"{self.source}: does not fit {self.fit.model.name}: {self.fit.describe()}; map the rest by --map "
                "or --prefix-map, leave entries out by --drop, or choose another --model"
            )

    def to_checkpoint(self, stated: StatedConvention) -> Checkpoint:
        """Return the checkpoint that this makes; raises CheckpointError or ConfigError where it cannot be one."""
        from seg_core.models.checkpoint import Checkpoint, check_weights
        from seg_core.models.published import checkpoint_fields

        self.require_fit()
        try:
            fields = checkpoint_fields(self.foreign, self.fit, stated)
            fields["provenance"] |= {"source": RENAMED_SOURCE, "file": self.source.name, "renamed": len(self.renamed)}
            checkpoint = Checkpoint(**fields)
            check_weights(checkpoint)
        except SegError as error:
            raise type(error)(f"{self.source}: {error}") from None
        return checkpoint


def plan_rename(
    source: Path, key_map: KeyMap, model: str | None = None, options: Mapping[str, Any] | None = None
) -> RenamePlan:
    """Map the keys of the file `source` and compare them with `model`, by default the architecture nearest to them.

    `options` state what of the architecture the weights do not tell. Raises CheckpointError when the file holds no
    foreign weights, ConfigError when a rule matches nothing, two keys become one or the model is unknown.
    """
    from seg_core.models import MODELS
    from seg_core.models.foreign_state import open_state
    from seg_core.models.published_form import PUBLISHED
    from seg_core.models.published_match import compare, find_nearest
    from seg_core.models.weights_file import read_weights_file

    content = read_weights_file(source)
    if isinstance(content, Mapping) and "format" in content:
        raise CheckpointError(f"{source}: one of our checkpoints already; export it as it is")
    try:
        foreign = open_state(content)
    except CheckpointError as error:
        raise CheckpointError(f"{source}: {error}") from None
    foreign, renamed = _map_keys(foreign, key_map)
    if not foreign.state:
        raise ConfigError(f"{source}: no weight is left after --drop and --map")
    form = PUBLISHED.get(MODELS.resolve(model)) if model else find_nearest(foreign.state).form
    return RenamePlan(source, foreign, compare(form, foreign.state, options), renamed)


def _map_keys(foreign: ForeignState, key_map: KeyMap) -> tuple[ForeignState, tuple[tuple[str, str], ...]]:
    """Apply the rules to bare keys or, as written in the file, to those with the prefix that was taken off."""
    state: dict[str, Any] = {}
    renamed, dropped, used = [], list(foreign.dropped), set()
    for bare, value in foreign.state.items():
        old, new = bare, bare
        for key in dict.fromkeys((bare, foreign.prefix + bare)):
            rule = key_map.rule_for(key)
            if rule is not None:
                used.add(rule)
                old, mapped = key, key_map.apply(key, rule)
                break
        else:
            mapped = new
        if mapped is None:
            dropped.append(old)
            continue
        if mapped in state:
            raise ConfigError(f"two keys of the file become {mapped!r}, one of them {old!r}")
        state[mapped] = value
        if mapped != old:
            renamed.append((old, mapped))
    key_map.check_used(used)
    return replace(foreign, state=state, dropped=dropped), tuple(renamed)
