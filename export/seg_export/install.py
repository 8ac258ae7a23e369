"""Put finished files in their place together, or leave everything as it was."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from seg_core.errors import ExportError

_PREFIX = ".segproof-"


@contextmanager
def work_directory(out_dir: Path) -> Iterator[Path]:
    """Give a hidden directory inside `out_dir`, which is created; it is gone afterwards, whatever happened.

    Being on the same file system, finished files move out of it by renaming. Where `out_dir` was created for
    this and nothing was put there, it is removed too. Raises ExportError when the directory cannot be used.
    """
    created = [folder for folder in (out_dir, *out_dir.parents) if not folder.exists()]
    work: Path | None = None
    try:
        try:
            out_dir.mkdir(parents=True, exist_ok=True)
            _sweep(out_dir)
            work = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=out_dir))
        except OSError as error:
            raise unwritable(out_dir, error) from None
        yield work
    finally:
        if work is not None:
            shutil.rmtree(work, ignore_errors=True)
        for folder in created:
            if not folder.is_dir() or any(folder.iterdir()):
                break
            folder.rmdir()


def _sweep(out_dir: Path) -> None:
    """Remove the work directories of processes that were killed and could not do it themselves."""
    for leftover in out_dir.glob(f"{_PREFIX}*-*"):
        owner = leftover.name.removeprefix(_PREFIX).split("-")[0]
        if owner.isdigit() and not _is_running(int(owner)):
            shutil.rmtree(leftover, ignore_errors=True)


def _is_running(process_id: int) -> bool:
    if os.name == "nt":  # signal 0 is Ctrl-C there, no question
        return True
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except OSError:  # there, but another user's
        return True
    return True


def unwritable(out_dir: Path, error: OSError) -> ExportError:
    """Return the error that says why nothing can be written to `out_dir`."""
    if isinstance(error, FileExistsError | NotADirectoryError):
        return ExportError(f"{out_dir}: is a file or lies in one; choose a directory: --out DIR")
    reason = error.strerror or str(error)
    return ExportError(f"{out_dir}: cannot be written ({reason}); free space there or choose another --out DIR")


def install_files(files: Sequence[Path], out_dir: Path, backup_dir: Path) -> None:
    """Move `files` (files or package directories) into `out_dir`, all or none.

    What they replace is kept in `backup_dir` (same file system, created) until all are in place and is put
    back when anything goes wrong, an interruption included. Raises ExportError when that was the system's refusal.
    """
    started: list[Path] = []
    placed: set[Path] = set()
    try:
        backup_dir.mkdir()
        for file in files:
            destination = out_dir / file.name
            started.append(destination)
            if destination.is_dir():
                destination.rename(backup_dir / file.name)
            elif destination.exists():
                _keep_copy(destination, backup_dir / file.name)
            placed.add(destination)
            file.replace(destination)
    except BaseException as error:
        for destination in reversed(started):
            _put_back(destination, backup_dir / destination.name, destination in placed)
        if isinstance(error, OSError):
            raise unwritable(out_dir, error) from None
        raise


def _keep_copy(source: Path, copy: Path) -> None:
    """Keep a second name for `source`, so that replacing it stays one atomic step."""
    try:
        os.link(source, copy)
    except OSError:  # file systems without hard links
        shutil.copy2(source, copy)


def _put_back(destination: Path, backup: Path, placed: bool) -> None:
    """Undo one file: remove what was `placed` (or may have been) and bring back what it replaced."""
    if placed and destination.is_dir():
        shutil.rmtree(destination)
    elif placed and not backup.exists():
        destination.unlink(missing_ok=True)
    if backup.exists():
        backup.replace(destination)
