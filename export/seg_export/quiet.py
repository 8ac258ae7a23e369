"""Keep the chatter of converters off the console, and give it back when something fails."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator

_TAIL_CHARACTERS = 4000


class CapturedOutput:
    """What was printed inside `capture_output`; `text` is complete once the block has ended."""

    def __init__(self) -> None:
        """Start empty."""
        self.text = ""


@contextlib.contextmanager
def capture_output(enabled: bool = True) -> Iterator[CapturedOutput]:
    """Collect everything written to standard output and error, by Python or by native code.

    The file descriptors themselves are redirected, because converters log from C++. Warnings and log
    records below ERROR are dropped. With `enabled` False everything passes through.
    """
    captured = CapturedOutput()
    if not enabled:
        yield captured
        return
    sys.stdout.flush()
    sys.stderr.flush()
    disabled_level = logging.root.manager.disable
    with tempfile.TemporaryFile() as sink:
        saved = {descriptor: os.dup(descriptor) for descriptor in (1, 2)}
        try:
            for descriptor in saved:
                os.dup2(sink.fileno(), descriptor)
            with (
                os.fdopen(os.dup(sink.fileno()), "w", encoding="utf-8", errors="replace") as text,
                # Python's streams need not be descriptors 1 and 2: notebooks and test runners replace them.
                contextlib.redirect_stdout(text),
                contextlib.redirect_stderr(text),
                warnings.catch_warnings(),
            ):
                warnings.simplefilter("ignore")
                logging.disable(max(disabled_level, logging.WARNING))
                yield captured
        finally:
            for descriptor, copy in saved.items():
                os.dup2(copy, descriptor)
                os.close(copy)
            logging.disable(disabled_level)
            sink.seek(0)
            captured.text = sink.read().decode("utf-8", errors="replace")[-_TAIL_CHARACTERS:]
