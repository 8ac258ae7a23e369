"""How the export room speaks: lines, parity trees and a spinner where somebody is watching."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from seg_core.cli.command import click

if TYPE_CHECKING:
    from seg_export.parity.result import ImageParity, OutputParity, ParityReport

#: What ran an artifact where the runtime of the device does not exist, by the runner's `backend`.
SUBSTITUTES = {
    "evaluator": "the evaluator of the saved program",
    "core ai interpreter": "Core AI's interpreter on the CPU",
}

_ASCII = str.maketrans(
    {
        "✓": "ok",
        "✗": "FAIL",
        "├": "|",
        "└": "`",
        "─": "-",
        "│": "|",
        "×": "x",
        "–": "-",
        "…": "...",
        "≥": ">=",
        "≤": "<=",
    }
)


class Console:
    """Writes for people: to standard output, or to standard error when standard output carries JSON."""

    def __init__(self, to_stderr: bool = False) -> None:
        """Choose the stream."""
        self._err = to_stderr

    def say(self, text: str = "") -> None:
        """Print a line; terminals that cannot show ✓ get plain ASCII."""
        stream = sys.stderr if self._err else sys.stdout
        if "utf" not in (getattr(stream, "encoding", None) or "utf-8").lower():
            text = text.translate(_ASCII)
        click.echo(text, err=self._err)

    @contextmanager
    def spinner(self) -> Iterator[Callable[[str], None]]:
        """Show a live status line while the block runs and give the function that changes its text.

        Only on a terminal. It writes to a copy of the terminal's descriptor, because conversion redirects
        descriptors 1 and 2.
        """
        if not sys.stderr.isatty():
            yield lambda _: None
            return
        from rich.console import Console as RichConsole

        with (
            os.fdopen(os.dup(2), "w", encoding=sys.stderr.encoding) as terminal,
            RichConsole(file=terminal, force_terminal=True).status("starting") as status,
        ):
            yield status.update


def mark(passed: bool) -> str:
    """Return a green ✓ or a red ✗."""
    return click.style("✓", fg="green") if passed else click.style("✗", fg="red", bold=True)


def megabytes(size: int | None) -> str:
    """Return a number of bytes in megabytes of 10^6."""
    return "–" if size is None else f"{size / 1e6:.1f} MB"


def parity_tree(report: ParityReport) -> list[str]:
    """Return the lines of a report: preprocessing, then each output, with every image where it failed."""
    kind = "photographs" if report.images == "real" else "synthetic images"
    count = len(report.outputs[0].images)
    lines = [
        f"{mark(report.passed)} parity with {report.checkpoint} in eager fp32 torch, {count} {kind}",
        f"├─ {mark(report.preprocessing_identical)} preprocessing: OpenCV = numpy definition = checkpoint, "
        f"{'bit for bit' if report.preprocessing_identical else 'NOT identical'}",
    ]
    if report.backend in SUBSTITUTES:
        lines.append(f"├─ run by {SUBSTITUTES[report.backend]}: checks the program, not the Neural Engine")
    for index, output in enumerate(report.outputs):
        last = index == len(report.outputs) - 1
        lines.append(f"{'└─' if last else '├─'} {_output_line(report, output)}")
        stem = "   " if last else "│  "
        for position, image in enumerate(output.images):
            branch = "└─" if position == len(output.images) - 1 else "├─"
            lines.append(f"{stem}{branch} {_image_line(image)}")
    return lines


def _output_line(report: ParityReport, output: OutputParity) -> str:
    bound = report.tolerance.max_abs_relative
    shape = "×".join(map(str, output.shape))
    limit = f" (≤ {bound:.0e})" if bound is not None else " (not judged)"
    return (
        f"{mark(output.passed)} {output.name} {shape}: max-abs {_small(output.max_abs)} = "
        f"{_small(output.max_abs_relative)} × max|ref|{limit}, labels {_percent(output.label_agreement)} "
        f"(≥ {_percent(report.tolerance.label_agreement)}), worst image {output.worst_image}"
    )


def _image_line(image: ImageParity) -> str:
    return (
        f"{mark(image.passed)} {image.image}: {_small(image.max_abs_relative)} × max|ref|, "
        f"labels {_percent(image.label_agreement)}"
    )


def _small(value: float | None) -> str:
    return "not finite or of another shape" if value is None else f"{value:.1e}"


def _percent(share: float) -> str:
    """Return a share in percent, rounded down so that only perfect agreement reads 100 %."""
    return "100 %" if share == 1.0 else f"{int(share * 1e6) / 1e4:g} %"
