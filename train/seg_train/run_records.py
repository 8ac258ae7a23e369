"""Finished runs read back: what each reached, and how far runs of one recipe with other seeds lie apart."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seg_core.errors import CheckpointError, SegError
from seg_core.models.checkpoint import load_checkpoint
from seg_train.history import History

#: Keys of a configuration that do not shape what a run reaches.
_NO_RECIPE = ("log_every", "save_every", "tensorboard")
_NO_RECIPE_OF_SOLVER = ("seed", "compile", "compile_options")

#: Rows of logged steps that a record keeps at most.
SHOWN_STEPS = 25


@dataclass(frozen=True)
class RunRecord:
    """One run: its output directory, what its best checkpoint says of it, and its history.

    `evaluations` and `steps` are rows as `History` has them, `best` is the evaluation with the highest mIoU.
    """

    directory: Path
    provenance: dict[str, Any]
    evaluations: list[dict[str, Any]]
    steps: list[dict[str, Any]]

    @property
    def best(self) -> dict[str, Any]:
        """Return the evaluation that best.pth was saved at."""
        return max(self.evaluations, key=lambda row: row["miou"] if row["miou"] is not None else -1.0)

    @property
    def name(self) -> str:
        """Return what people call it: its directory's name as given, or where that is "." or "..", its real one."""
        return self.directory.resolve().name if self.directory.name in ("", "..") else self.directory.name

    @property
    def seed(self) -> int:
        """Return the seed it was begun with."""
        return int(self.provenance["config"]["solver"]["seed"])

    @property
    def last_step(self) -> int:
        """Return the last step that was evaluated."""
        return int(self.evaluations[-1]["step"])

    def recipe(self) -> str:
        """Return its configuration without the seed and what shapes no weights, as text that equal recipes share.

        Of how many processes there were the size of a step depends; runs that do not say are taken for those of one.
        """
        config = {key: value for key, value in self.provenance["config"].items() if key not in _NO_RECIPE}
        solver = {key: value for key, value in config["solver"].items() if key not in _NO_RECIPE_OF_SOLVER}
        processes = self.provenance.get("world_size", 1)
        shared = {**config, "solver": solver, "steps": self.last_step, "world_size": processes}
        return json.dumps(shared, sort_keys=True)

    def step_ms(self) -> float | None:
        """Return the median time of its logged steps."""
        return statistics.median(row["step_ms"] for row in self.steps) if self.steps else None

    def to_json(self) -> dict[str, Any]:
        """Return configuration, best evaluation and a thinned-out curve as JSON types."""
        every = -(-len(self.steps) // SHOWN_STEPS) or 1
        return {
            "format": "segproof.training_run",
            "version": 2,
            "run": self.name,
            "seed": self.seed,
            **self.provenance,
            "best": self.best,
            "evaluations": [{key: row[key] for key in ("step", "miou", "pixel_accuracy")} for row in self.evaluations],
            "steps": self.steps[every - 1 :: every],
        }


@dataclass(frozen=True)
class Recipe:
    """Runs of one recipe, which differ by their seeds alone; the first as given stands for it."""

    runs: tuple[RunRecord, ...]

    def mious(self) -> list[float]:
        """Return the best mIoU of each run."""
        return [float(run.best["miou"]) for run in self.runs]

    def to_json(self) -> dict[str, Any]:
        """Return seeds, mean and range of the best mIoU as JSON types."""
        mious = self.mious()
        return {
            "runs": [run.name for run in self.runs],
            "model": self.runs[0].provenance["config"]["model"]["name"],
            "seeds": [run.seed for run in self.runs],
            "steps": self.runs[0].last_step,
            "miou_mean": statistics.fmean(mious),
            "miou_min": min(mious),
            "miou_max": max(mious),
            "step_ms": [run.step_ms() for run in self.runs],
        }


def read_run(directory: Path) -> RunRecord:
    """Return the record of an output directory of `seg-train`.

    Raises SegError naming what is missing: a directory without history.json or best.pth, or one whose checkpoint does
    not say how it was trained.
    """
    history = History(directory / "history.json")
    if not history.path.is_file():
        raise SegError(f"{directory}: has no history.json; name the output directory of a seg-train run")
    history.load(until_step=2**63)
    if not any(row["miou"] is not None for row in history.evaluations):
        raise SegError(f"{directory}: was not evaluated yet, so there is nothing to tell; let it run to its first one")
    provenance = load_checkpoint(directory / "best.pth").provenance
    if "seed" not in provenance.get("config", {}).get("solver", {}):
        raise CheckpointError(f"{directory / 'best.pth'}: does not say how it was trained; seg-train writes that")
    return RunRecord(directory, dict(provenance), history.evaluations, history.steps)


def group_runs(runs: Iterable[RunRecord]) -> list[Recipe]:
    """Return the runs by recipe, in the order in which each came first.

    Raises SegError when two of a recipe have the same seed: the range of one run twice would say nothing.
    """
    groups: dict[str, list[RunRecord]] = {}
    for run in runs:
        groups.setdefault(run.recipe(), []).append(run)
    for group in groups.values():
        _refuse_twins(group)
    return [Recipe(tuple(group)) for group in groups.values()]


def _refuse_twins(runs: Sequence[RunRecord]) -> None:
    first: dict[int, Path] = {}
    for run in runs:
        if run.seed in first:
            raise SegError(
                f"{run.directory}: is the recipe of {first[run.seed]} with the same seed, {run.seed}; leave one out, "
                "or train another with -o solver.seed=N"
            )
        first[run.seed] = run.directory
