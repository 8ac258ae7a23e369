"""What people read: one table a run, wide enough to be copied into a report."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

from seg_bench.schema import UNTIMED_BACKENDS, LatencyReport, LatencyRow
from seg_core.errors import MissingDependencyError

if TYPE_CHECKING:
    from rich.console import Console

    from seg_bench.accuracy import Evaluation

_FILE_WIDTH = 180  # columns when nothing tells the width: a pipe must not truncate a table
_FULL_WIDTH = 150  # terminals narrower than this get the columns that matter most

_BRACKETS = "In brackets: 95 % of what resampling the pictures gives."
_STATUS = {"ok": "ok", "unverified": "not verified", "failed": "failed"}


class _Column(NamedTuple):
    """A column of the latency table; those with `is_extra` need a wide terminal."""

    heading: str
    cell: Callable[[LatencyRow], str]
    is_number: bool = True
    is_extra: bool = False


_COLUMNS = (
    _Column("artifact", lambda row: row.artifact, is_number=False),
    _Column("target", lambda row: row.target, is_number=False, is_extra=True),
    _Column("precision", lambda row: row.precision or "—", is_number=False, is_extra=True),
    _Column("size", lambda row: _size(row), is_number=False, is_extra=True),
    _Column("threads", lambda row: str(row.threads) if row.threads else "default"),
    _Column("p50 ms", lambda row: _median(row)),
    _Column("p90 ms", lambda row: _ms(row.p90_ms)),
    _Column("min ms", lambda row: _ms(row.min_ms), is_extra=True),
    _Column("ratio", lambda row: _ms(row.ratio_to_first)),
    _Column("pre ms", lambda row: _ms(row.preprocess_ms), is_extra=True),
    _Column("post ms", lambda row: _ms(row.postprocess_ms), is_extra=True),
    _Column("load ms", lambda row: "—" if row.load_ms is None else f"{row.load_ms:.0f}", is_extra=True),
    _Column("MB", lambda row: "—" if row.bytes is None else f"{row.bytes / 1e6:.1f}"),
    _Column("status", lambda row: _STATUS[row.status], is_number=False),
)


def open_console(to_stderr: bool = False) -> Console:
    """Return a console on stdout or stderr that never wraps tables in a pipe; rich must be installed."""
    try:
        from rich.console import Console
    except ImportError:
        raise MissingDependencyError("rich", "the tables of the command line", "segproof[cli]") from None
    stream = sys.stderr if to_stderr else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else _FILE_WIDTH, highlight=False)


def print_latency(report: LatencyReport, console: Console) -> None:
    """Print one table of all rows and, below, what its numbers are and why rows failed."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    where = report.environment
    columns = [column for column in _COLUMNS if console.width >= _FULL_WIDTH or not column.is_extra]
    table = Table(title=f"Latency on {where.cpu}, {where.cores} cores", title_justify="left", box=SIMPLE_HEAD)
    for column in columns:
        table.add_column(column.heading, justify="right" if column.is_number else "left", overflow="fold")
    for row in report.rows:
        table.add_row(*(column.cell(row) for column in columns))
    console.print(table)
    for note in _notes(report):
        console.print(note, style="dim", soft_wrap=not console.is_terminal)


def _notes(report: LatencyReport) -> Iterable[str]:
    if any(row.status == "unverified" for row in report.rows):
        yield "not verified: exported, but no parity record of this very file lies beside it; run  seg-parity"
    rounds = max((row.rounds for row in report.rows), default=0)
    if rounds:
        yield (
            f"p50, p90 and min are the network alone, over {rounds} interleaved rounds on {report.image}; ratio is the "
            "median of the per-round ratios to the first artifact."
        )
    for backend in sorted({row.backend for row in report.rows if row.backend in UNTIMED_BACKENDS}):
        yield (
            f"({backend}): the program was checked operation by operation, because its runtime does not exist on this "
            "system. That has no latency; measure it on the device."
        )
    for row in report.rows:
        if row.error is not None:
            yield row.error if row.artifact in row.error else f"{row.artifact}: {row.error}"


def _size(row: LatencyRow) -> str:
    return "—" if row.size_hw is None else f"{row.size_hw[0]}×{row.size_hw[1]}"


def _median(row: LatencyRow) -> str:
    return f"({row.backend})" if row.ran and row.backend in UNTIMED_BACKENDS else _ms(row.p50_ms)


def _ms(value: float | None) -> str:
    return "—" if value is None else f"{value:.2f}"


def print_evaluation(evaluation: Evaluation, console: Console) -> None:
    """Print IoU and Dice of every class and the means; classes absent on both sides show a dash."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    confusion = evaluation.confusion
    height, width = evaluation.size_hw
    where = f"at {height}×{width}" if evaluation.at == "network" else "at source size"
    images = "1 image" if evaluation.images == 1 else f"{evaluation.images} images"
    table = Table(title=f"{PurePath(evaluation.model).name} on {images} {where}", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("class", no_wrap=True)
    for heading in ("images", "IoU", "Dice", f"boundary F ({evaluation.boundary.tolerance_px} px)"):
        table.add_column(heading, justify="right", no_wrap=True)
    columns = (confusion.class_iou(), confusion.class_dice(), evaluation.boundary.class_f())
    rows = zip(evaluation.names, evaluation.class_images(), *(column.tolist() for column in columns), strict=True)
    for name, occurs_in, *scores in rows:
        table.add_row(name, str(occurs_in), *map(_score, scores))
    table.add_section()
    table.add_row("mean", "", *map(_score, (confusion.mean_iou(), confusion.mean_dice(), evaluation.boundary.mean_f())))
    console.print(table)
    interval = _in_brackets(evaluation.intervals().get("miou_95"), ".4f")
    console.print(f"mIoU {_score(confusion.mean_iou())}{interval}, pixel accuracy {_score(confusion.pixel_accuracy())}")
    if interval:
        console.print(_BRACKETS, style="dim")
    if evaluation.contract_crf == "left out":
        console.print(
            "The contract's CRF is left out at network size, as in training: --at source runs it, --crf on compares.",
            soft_wrap=True,
        )


def print_comparison(result: Mapping[str, Any], console: Console) -> None:
    """Print `CrfComparison.to_json()`: the means without and with the CRF, its gains and its cost."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    where = "at {}×{}".format(*result["size_hw"]) if result["at"] == "network" else "at source size"
    title = f"{PurePath(result['model']).name} on {result['images']} images {where}"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    table.add_column("carried back as", no_wrap=True)
    table.add_column("CRF", no_wrap=True)
    for heading in (f"boundary F ({result['boundary_tolerance_px']} px)", "mIoU", "postprocess p50 ms"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in result["rows"]:
        scores = (_score(float("nan") if row[key] is None else row[key]) for key in ("boundary_f", "miou"))
        table.add_row(row["resize"], "yes" if row["with_crf"] else "no", *scores, _ms(row["postprocess_p50_ms"]))
    console.print(table)
    for gain in result["gains"]:
        parts = (
            f"{name} {_gain(gain[key])}{_in_brackets(gain.get(f'{key}_95'), '+.4f')}"
            for key, name in (("boundary_f", "boundary F"), ("miou", "mIoU"))
        )
        cost = f"{gain['cost_p50_ms']:+.1f} ms ({gain['cost_cpu_p50_ms']:.1f} ms of CPU)"
        console.print(f"{gain['resize']}: {', '.join(parts)}, {cost}")
    console.print(_BRACKETS, style="dim")


def _in_brackets(interval: Sequence[float] | None, form: str) -> str:
    return "" if interval is None else f" ({interval[0]:{form}} to {interval[1]:{form}})"


def _gain(value: float | None) -> str:
    return "—" if value is None else f"{value:+.4f}"


def _score(value: float) -> str:
    return "—" if value != value else f"{value:.4f}"  # only NaN differs from itself
