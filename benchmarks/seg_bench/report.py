"""What people read: one table a run, wide enough to be copied into a report."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import PurePath
from typing import TYPE_CHECKING

from seg_bench.schema import EVALUATOR, LatencyReport, LatencyRow
from seg_core.errors import MissingDependencyError

if TYPE_CHECKING:
    from rich.console import Console

    from seg_bench.accuracy import Evaluation

_FILE_WIDTH = 160  # columns when nothing tells the width: a pipe must not truncate a table

_STATUS = {"ok": "ok", "unverified": "exported, not verified", "failed": "failed"}


def open_console(to_stderr: bool = False) -> Console:
    """Return a console on stdout or stderr that never wraps tables in a pipe; rich must be installed."""
    try:
        from rich.console import Console
    except ImportError:
        raise MissingDependencyError("rich", "the tables of the command line", "segproof[cli]") from None
    stream = sys.stderr if to_stderr else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else _FILE_WIDTH, highlight=False)


def print_latency(report: LatencyReport, console: Console) -> None:
    """Print one table of all rows and, below, what its numbers are and where they were made."""
    from rich.table import Table

    where = report.environment
    table = Table(title=f"Latency on {where.cpu}, {where.cores} cores", title_justify="left")
    for heading in ("artifact", "target", "precision", "size"):
        table.add_column(heading, no_wrap=True)
    for heading in ("threads", "p50 ms", "p90 ms", "min ms", "ratio", "pre ms", "post ms", "load ms", "MB"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("status", overflow="fold")
    for row in report.rows:
        table.add_row(*_latency_cells(row))
    console.print(table)
    for note in _notes(report):
        console.print(note, style="dim")


def _latency_cells(row: LatencyRow) -> Iterable[str]:
    is_evaluated = row.backend == EVALUATOR
    yield row.artifact
    yield row.target
    yield row.precision or "—"
    yield "×".join(map(str, row.size_hw)) if row.size_hw else "—"
    yield str(row.threads) if row.threads else "default"
    yield "(evaluator)" if is_evaluated else _ms(row.p50_ms)
    yield _ms(row.p90_ms)
    yield _ms(row.min_ms)
    yield "—" if row.ratio_to_first is None else f"{row.ratio_to_first:.2f}"
    yield _ms(row.preprocess_ms)
    yield _ms(row.postprocess_ms)
    yield "—" if row.load_ms is None else f"{row.load_ms:.0f}"
    yield "—" if row.bytes is None else f"{row.bytes / 1e6:.1f}"
    yield _STATUS[row.status]


def _notes(report: LatencyReport) -> Iterable[str]:
    rounds = max((row.rounds for row in report.rows), default=0)
    yield (
        f"p50, p90 and min are the network alone, over {rounds} interleaved rounds on {report.image}; ratio is the "
        "median of the per-round ratios to the first artifact."
    )
    if any(row.backend == EVALUATOR for row in report.rows):
        yield (
            "(evaluator): the program was evaluated operation by operation because its runtime does not exist on "
            "this system. That has no latency; measure it on the device."
        )
    for row in report.rows:
        if row.error is not None:
            yield f"{row.artifact}: {row.error}"


def _ms(value: float | None) -> str:
    return "—" if value is None else f"{value:.2f}"


def print_evaluation(evaluation: Evaluation, console: Console) -> None:
    """Print IoU and Dice of every class and the means; classes absent on both sides show a dash."""
    from rich.table import Table

    confusion = evaluation.confusion
    height, width = evaluation.size_hw
    where = f"at {height}×{width}" if evaluation.at == "network" else "at source size"
    images = "1 image" if evaluation.images == 1 else f"{evaluation.images} images"
    table = Table(title=f"{PurePath(evaluation.model).name} on {images} {where}", title_justify="left")
    table.add_column("class", no_wrap=True)
    for heading in ("IoU", "Dice", f"boundary F ({evaluation.boundary.tolerance_px} px)"):
        table.add_column(heading, justify="right", no_wrap=True)
    columns = (confusion.class_iou(), confusion.class_dice(), evaluation.boundary.class_f())
    for name, *scores in zip(evaluation.names, *(column.tolist() for column in columns), strict=True):
        table.add_row(name, *map(_score, scores))
    table.add_section()
    table.add_row("mean", *map(_score, (confusion.mean_iou(), confusion.mean_dice(), evaluation.boundary.mean_f())))
    console.print(table)
    console.print(f"mIoU {_score(confusion.mean_iou())}, pixel accuracy {_score(confusion.pixel_accuracy())}")


def _score(value: float) -> str:
    return "—" if value != value else f"{value:.4f}"  # only NaN differs from itself
