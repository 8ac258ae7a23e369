"""Make `docs/models.md` and what it is made of: `python -m seg_bench.zoo` (that is `make zoo`).

Results are kept a network at a time, so that an interrupted run goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from seg_bench.environment import read_environment
from seg_bench.schema import save_json
from seg_bench.zoo_measure import (
    Workshop,
    find_trained,
    list_installed_targets,
    prove_model,
    remove_untimed,
    time_model,
)
from seg_bench.zoo_page import render_page
from seg_bench.zoo_schema import ZooLatency, ZooReport, load_results
from seg_core.atomic import replacing
from seg_core.cli.command import SegCommand, click
from seg_core.errors import SegError

SIZE_HW = (256, 256)
BASELINE = "ddrnet_23_slim"
THREADS = 2

_EXAMPLES = (
    "python -m seg_bench.zoo                       # parameters, GMACs and parity of what is new, then the page",
    "python -m seg_bench.zoo --force --model bisenet_v2",
    "python -m seg_bench.zoo --latency             # on a machine that does nothing else",
)


@dataclass(frozen=True)
class Files:
    """What is read and written, relative to the root of the repository."""

    root: Path

    @property
    def report(self) -> Path:
        """Numbers and parity."""
        return self.root / "benchmarks" / "results" / "zoo_{}x{}.json".format(*SIZE_HW)

    @property
    def latency(self) -> Path:
        """Times, which are those of one machine."""
        return self.root / "benchmarks" / "results" / "zoo_latency_{}x{}.json".format(*SIZE_HW)

    @property
    def proven(self) -> Path:
        """The proofs that ship with the package."""
        return self.root / "seg_core" / "models" / "proven.json"

    @property
    def page(self) -> Path:
        """The table for readers."""
        return self.root / "docs" / "models.md"

    @property
    def written(self) -> tuple[Path, ...]:
        """All that is written."""
        return self.report, self.latency, self.proven, self.page

    @property
    def workshop(self) -> Workshop:
        """Where artifacts are made."""
        demo = self.root / "mobile_demo"
        return Workshop(self.root / "build" / "zoo", demo / "samples", SIZE_HW, find_trained(demo / "checkpoints"))


@click.command("python -m seg_bench.zoo", cls=SegCommand, examples=_EXAMPLES)
@click.option("--model", "models", multiple=True, metavar="NAME", help="Only this network. Repeatable.")
@click.option("--force", is_flag=True, help="Measure again what has been measured already.")
@click.option("--latency", is_flag=True, help="Measure latency instead of parity.")
@click.option("--page-only", is_flag=True, help="Measure nothing; write the page and the proofs from the results.")
@click.option("--budget-s", type=click.FloatRange(1), default=20.0, show_default=True, help="Timing a network takes.")
@click.option("--root", type=click.Path(path_type=Path, exists=True, file_okay=False), default=Path(), metavar="DIR",
              help="The repository.  [default: the current directory]")  # fmt: skip
def zoo_command(
    models: tuple[str, ...], force: bool, latency: bool, page_only: bool, budget_s: float, root: Path
) -> None:
    """Prove every registered network on every installed target, or time them, and write docs/models.md."""
    files = Files(root)
    if not page_only:
        from seg_core.models import MODELS

        chosen = [MODELS.resolve(name) for name in models] or MODELS.names()
        if latency:
            measure_latencies(files, chosen, force, budget_s)
        else:
            prove_models(files, chosen, force)
    write_page(files)


def prove_models(files: Files, models: Iterable[str], force: bool) -> None:
    """Add each of `models` to the report, which is saved after every one; networks that left the registry go."""
    from seg_core.models import list_models

    shop, targets = files.workshop, list_installed_targets()
    for model in models:
        report = _read_report(files, shop)
        known = {entry.model: entry for entry in report.entries if entry.model in list_models()}
        if model in known and not force:
            _say(f"{model}: measured already on {known[model].date}; --force measures it again")
            continue
        _say(f"{model}: exporting to {', '.join(targets)}")
        started = time.monotonic()
        known[model] = prove_model(model, targets, shop, _today(report.environment.started_utc))
        remove_untimed(model, shop)
        ordered = tuple(known[name] for name in list_models() if name in known)
        save_json(files.report, replace(report, entries=ordered))
        verdicts = ", ".join(f"{row.target} {row.precision} {row.status}" for row in known[model].exports)
        _say(f"{model}: {verdicts} ({time.monotonic() - started:.0f} s)")


def measure_latencies(files: Files, models: Iterable[str], force: bool, budget_s: float) -> None:
    """Time each of `models` in rounds with the baseline and save after every one."""
    shop = files.workshop
    for model in models:
        environment = read_environment(files.written)
        latency = (
            replace(load_results(ZooLatency, files.latency), environment=environment)
            if files.latency.exists()
            else ZooLatency("make zoo-latency", SIZE_HW, THREADS, BASELINE, environment)
        )
        if any(known.model == model for known in latency.times) and not force:
            _say(f"{model}: timed already; --force measures it again")
            continue
        _say(f"{model}: timing for {budget_s:g} s")
        times = time_model(model, BASELINE, shop, THREADS, budget_s, _today(environment.started_utc))
        others = tuple(known for known in latency.times if known.model != model)
        save_json(files.latency, replace(latency, times=(*others, *times)))
        _say(f"{model}: " + ", ".join(f"{row.target} {row.p50_ms:.1f} ms ({row.ratio:.2f}×)" for row in times))


def write_page(files: Files) -> None:
    """Write page and proofs from the saved results; raises SegError when there are none."""
    if not files.report.exists():
        raise SegError(f"{files.report}: not there yet; run  make zoo")
    report = load_results(ZooReport, files.report)
    latency = load_results(ZooLatency, files.latency) if files.latency.exists() else None
    with replacing(files.page) as draft:
        draft.write_text(render_page(report, latency), encoding="utf-8")
    save_json(files.proven, {"proofs": list_proofs(report), "schema_version": 1})
    _say(f"wrote {files.page} and {files.proven}")


def list_proofs(report: ZooReport) -> list[dict[str, object]]:
    """Return what passed, as `seg_core.models.zoo.Proof` reads it."""
    return [
        {
            "model": entry.model,
            "target": row.target,
            "precision": row.precision,
            "weights": entry.weights,
            "size_hw": list(report.size_hw),
            "max_abs_relative": row.max_abs_relative,
            "label_agreement": row.label_agreement,
            "converter": row.converter,
            "date": entry.date,
        }
        for entry in report.entries
        for row in entry.exports
        if row.status == "ok"
    ]


def _read_report(files: Files, shop: Workshop) -> ZooReport:
    environment = read_environment(files.written)
    if files.report.exists():
        return replace(load_results(ZooReport, files.report), environment=environment)
    images = tuple(sorted(path.name for path in shop.images.iterdir() if path.suffix in (".png", ".jpg")))
    return ZooReport("make zoo", SIZE_HW, images, environment)


def _today(started_utc: str) -> str:
    return started_utc.partition("T")[0]


def _say(line: str) -> None:
    click.echo(line, err=True)


if __name__ == "__main__":
    zoo_command()
