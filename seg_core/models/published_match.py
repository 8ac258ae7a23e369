"""Compare state dicts with published forms: which architecture one is, or is nearest to, and what differs."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from seg_core.errors import CheckpointError
from seg_core.models import build_placeholder
from seg_core.models.published_form import PUBLISHED, PublishedForm
from seg_core.spec import ModelSpec
from seg_core.spec.model import OptionValue

Shapes = Mapping[str, tuple[int, ...]]

_COUNTER = ".num_batches_tracked"  # torch before 0.4.1 did not count batches


@dataclass(frozen=True)
class Fit:
    """How a state dict compares with what one architecture takes.

    `state` holds it under the model's own keys. `fitting` of `total` entries agree in key and shape; `missing` and
    `unexpected` list keys, `reshaped` says which shapes were found and wanted. `alike` counts entries of equal shape
    under whatever key. `stated_options` of the model were not read from the weights.
    """

    form: PublishedForm
    model: ModelSpec
    state: dict[str, Tensor]
    total: int
    fitting: int
    alike: int
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    reshaped: tuple[str, ...]
    stated_options: dict[str, OptionValue] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Whether the weights can be loaded as they are."""
        return not (self.missing or self.unexpected or self.reshaped)

    def describe(self) -> str:
        """Return in words how much fits and the first keys that differ on both sides."""
        parts = [f"{self.fitting} of its {self.total} entries fit"]
        parts += [f"the file lacks {_first(self.missing)}"] if self.missing else []
        parts += [f"holds the unknown {_first(self.unexpected)}"] if self.unexpected else []
        parts += [f"has {_first(self.reshaped)}"] if self.reshaped else []
        return ", ".join(parts)


def recognise(state: Mapping[str, Tensor]) -> Fit:
    """Return the registered architecture that `state` fits entirely.

    Raises CheckpointError naming the nearest one and what differs, or that only an auxiliary head is there.
    """
    forms = [PUBLISHED.get(name) for name in PUBLISHED]
    for form in forms:
        if form.read_spec(state) is not None:
            fit = compare(form, state)
            if fit.is_complete:
                check_main_head(fit)
                return fit
    nearest = find_nearest(state)
    if nearest.fitting:
        check_main_head(nearest)
    by_shape = "" if nearest.fitting else f" (by {nearest.alike} equal shapes alone)"
    suggested = suggest_prefix(nearest)
    rule = f" --prefix-map {suggested}" if suggested else ""
    raise CheckpointError(
        f"a state dict of no known architecture; the nearest{by_shape} is {nearest.form.model}: {nearest.describe()}; "
        f"map its keys with  seg-data rename-checkpoint FILE OURS.pth --model {nearest.form.model}{rule} --dry-run"
    )


def find_nearest(state: Mapping[str, Tensor]) -> Fit:
    """Return the architecture with which `state` shares most entries; between equals, most shapes."""
    fits = (compare(PUBLISHED.get(name), state) for name in PUBLISHED)
    return max(fits, key=lambda fit: (fit.fitting, fit.alike))


def compare(form: PublishedForm, state: Mapping[str, Tensor], options: Mapping[str, OptionValue] | None = None) -> Fit:
    """Return how `state`, under its published keys, fits `form`; batch counters that are absent are filled in.

    `options` of the model stand above
    those that the weights tell. Raises ConfigError when the model has no such options.
    """
    model = form.guess_spec(state)
    model = replace(model, options={**model.options, **(options or {})})
    own = form.own_keys(state)
    expected = {key: tuple(value.shape) for key, value in build_placeholder(model).state_dict().items()}
    for key in expected:
        if key.endswith(_COUNTER):
            own.setdefault(key, torch.zeros((), dtype=torch.int64))
    found = {key: tuple(value.shape) for key, value in own.items()}
    reshaped = [key for key, shape in expected.items() if key in found and found[key] != shape]
    counted = [key for key in expected if not key.endswith(_COUNTER)]
    return Fit(
        form=form,
        model=model,
        state=own,
        total=len(counted),
        fitting=sum(found.get(key) == expected[key] for key in counted),
        stated_options=dict(options or {}),
        alike=_count_alike({key: expected[key] for key in counted}, found),
        missing=tuple(key for key in expected if key not in found),
        unexpected=tuple(key for key in found if key not in expected),
        reshaped=tuple(f"{key!r} of shape {found[key]} instead of {expected[key]}" for key in reshaped),
    )


def suggest_prefix(fit: Fit) -> str:
    """Return OLD=NEW, beginnings of keys: that which turns most unexpected keys into missing ones of equal shape.

    It is quoted for a shell where need be, and empty where fewer than three would fit.
    """
    expected = build_placeholder(fit.model).state_dict()
    votes: Counter[tuple[str, str]] = Counter()
    for found in fit.unexpected:
        alike = [key for key in fit.missing if expected[key].shape == fit.state[found].shape]
        votes.update({pair for key in alike if (pair := _unshared(found, key)) is not None})
    if not votes:
        return ""
    (old, new), count = votes.most_common(1)[0]
    return shlex.quote(f"{old}={new}") if count >= 3 else ""


def _unshared(found: str, wanted: str) -> tuple[str, str] | None:
    """Return what stands before the modules that both keys end with; None where nothing but the last name is shared."""
    old, new = found.split("."), wanted.split(".")
    shared = 0
    while shared < min(len(old), len(new)) and old[-1 - shared] == new[-1 - shared]:
        shared += 1
    if shared < 2:
        return None
    return "".join(f"{part}." for part in old[:-shared]), "".join(f"{part}." for part in new[:-shared])


def check_main_head(fit: Fit) -> None:
    """Refuse weights whose main output would be that of an auxiliary head; raises CheckpointError with the reason."""
    main, auxiliary = head_modules(fit)
    present = {key.partition(".")[0] for key in fit.state if not key.endswith(_COUNTER)}
    there = [name for name in auxiliary if name in present]
    # Where more than the main head is missing, its keys have other names altogether.
    if there and main not in present and all(key.startswith(f"{main}.") for key in fit.missing):
        suggested = suggest_prefix(fit)
        mapped = f", or map it: --prefix-map {suggested}" if suggested else ""
        raise CheckpointError(
            f"a {fit.model.name} whose main head {main!r} is missing while the auxiliary one {there[0]!r}, which "
            f"serves training alone, is there and would be exported instead: save the whole network{mapped}"
        )
    for name in there:
        twin = _equal_weight(fit.state, main, name)
        if twin is not None:
            raise CheckpointError(
                f"a {fit.model.name} whose main head holds the weights of the auxiliary one: {twin[0]!r} equals "
                f"{twin[1]!r}; an auxiliary head serves training alone: map the main head's own weights"
            )


def head_modules(fit: Fit) -> tuple[str, tuple[str, ...]]:
    """Return the names of the main head's module and of the auxiliary heads' in the model of `fit`."""
    main = fit.form.rename(fit.form.scores).partition(".")[0]
    return main, build_placeholder(fit.model).auxiliary_modules


def _equal_weight(state: Mapping[str, Tensor], main: str, auxiliary: str) -> tuple[str, str] | None:
    """Return two convolutions of both heads that are equal without being constant, which no training gives."""
    mine, theirs = (
        {key: value for key, value in state.items() if key.startswith(f"{name}.") and _is_kernel(value)}
        for name in (main, auxiliary)
    )
    for key, value in mine.items():
        for other, candidate in theirs.items():
            if value.shape == candidate.shape and torch.equal(value, candidate) and value.min() < value.max():
                return key, other
    return None


def _is_kernel(value: Tensor) -> bool:
    """Whether `value` is a convolution's; what is not dense is refused elsewhere and cannot be compared."""
    return value.ndim == 4 and value.layout == torch.strided and not value.is_meta


def _count_alike(expected: Shapes, found: Shapes) -> int:
    wanted, there = (Counter(shape for shape in shapes.values() if shape) for shapes in (expected, found))
    return (wanted & there).total()


def _first(names: tuple[str, ...]) -> str:
    first = names[0] if names[0].startswith("'") else repr(names[0])
    return first if len(names) == 1 else f"{first} (and {len(names) - 1} more)"
