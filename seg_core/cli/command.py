"""What all commands share: one-line errors, exit codes and a helpful word when click is missing."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

from seg_core.errors import SegError

# Every failure of a command has its own line; OpenCV, which reads this when it is loaded, would print more around it.
os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")

try:
    import click
except ImportError:
    # A console script has no caller that could show an exception well: leave with the line itself.
    raise SystemExit(
        "error: the command line needs the package 'click', which is not installed: run  pip install 'segproof[cli]'"
    ) from None

__all__ = ["MOST_THREADS", "THREADS", "SegCommand", "click"]

#: More than most machines have cores. A runtime that is asked for 100,000 threads makes them, in minutes and gigabytes.
MOST_THREADS = 1024

#: A number of threads on the command line.
THREADS = click.IntRange(1, MOST_THREADS)

#: What a shell reports for a program ended by Ctrl-C (128 + SIGINT).
INTERRUPTED = 130


class SegCommand(click.Command):
    """Turn expected failures into one line `error: …` on stderr and an exit code.

    A SegError exits with its `exit_code`, Ctrl-C with 130, wrong usage with click's 2. Use it as
    `@click.command(cls=SegCommand, examples=["seg-x photo.jpg"])`; `-h` works like `--help`.
    """

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        """Take the arguments of click.Command, and command lines to show below the options."""
        if examples:
            # \b keeps click from wrapping the lines that follow.
            kwargs["epilog"] = "\n".join(("\b", "Examples:", *(f"  {line}" for line in examples)))
        settings = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
        kwargs["context_settings"] = settings | (kwargs.get("context_settings") or {})
        super().__init__(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; leaves through the context's exit on expected failures."""
        try:
            with _terminated_like_interrupted():
                return super().invoke(ctx)
        except SegError as error:
            click.echo(f"error: {' '.join(str(error).splitlines())}", err=True)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(INTERRUPTED)


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Let SIGTERM unwind like Ctrl-C, so that drafts are removed when a job runner stops a command."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
