"""`seg-report`: one page and one table about a directory of artifacts."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from seg_core.cli.command import SegCommand, click
from seg_export.cli.console import Console

if TYPE_CHECKING:
    from seg_export.report import ReportRow


@click.command(
    cls=SegCommand,
    epilog="""\b
Examples:
  seg-report build/export
  seg-report build/export --out report.html --title "Face parsing, release 3" """,
)
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="HTML file to write.  [default: DIRECTORY/report.html]")
@click.option("--title", help="Heading of the page.")
def report_command(directory: Path, out: Path | None, title: str | None) -> None:
    """Write one self-contained HTML page about the artifacts in DIRECTORY and print their table.

    Reads manifests, parity reports, overlays and, where seg-bench wrote one, latency.json. Runs no model.
    """
    from seg_export.report import build_page, collect_report, save_report

    console = Console()
    data = collect_report(directory)
    out = out or directory / "report.html"
    save_report(out, build_page(data, title))
    for line in format_table(data.rows):
        console.say(line)
    paths = [shlex.quote(str(directory / row.file)) for row in data.rows]
    console.say(f"\nreport  {out}")
    console.say("\nnext")
    if not any(row.latency for row in data.rows):
        console.say(f"  seg-bench {' '.join(paths)} --out {shlex.quote(str(directory / 'latency.json'))}")
    console.say(f"  seg-predict {paths[-1]} photo.jpg --out build/predict")


def format_table(rows: tuple[ReportRow, ...]) -> list[str]:
    """Return the lines of the final table: target, file, MB, max-abs, label agreement, median latency."""
    from seg_export.report.page import figure_text, percent_text

    cells = [("target", "file", "MB", "max-abs", "labels", "p50 latency", "parity")]
    for row in rows:
        info = row.manifest.artifact
        name = info.target if info.precision == "fp32" else f"{info.target} {info.precision}"
        numbers = ("–", "–", "not verified")
        if row.parity is not None:
            output = row.parity.outputs[0]
            verdict = "✓" if row.parity.passed else "✗"
            numbers = (figure_text(output.max_abs), percent_text(output.label_agreement), verdict)
        cells.append((name, row.file, f"{row.bytes / 1e6:.1f}", numbers[0], numbers[1], row.p50_text, numbers[2]))
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
