"""What a measurement ran on, recorded with it."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess  # only git and sysctl, with fixed arguments
import sys
from collections.abc import Iterable
from pathlib import Path

from seg_bench.schema import Environment

#: Distributions whose version can move a number in a report.
_PACKAGES = (
    "segproof",
    "numpy",
    "opencv-python-headless",
    "opencv-python",
    "torch",
    "onnxruntime",
    "ai-edge-litert",
    "coremltools",
)


def read_environment(written: Iterable[Path] = ()) -> Environment:
    """Describe this machine, its Python and the versions of the libraries that are installed.

    `written` are the files that the measurement itself writes as it goes: a change of them makes no source dirty.
    """
    commit, dirty = _source_state(written)
    return Environment(
        cpu=_cpu_model(),
        cores=_usable_cores(),
        os=platform.platform(),
        machine=platform.machine(),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        versions=_versions(),
        started_utc=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        commit=commit,
        dirty=dirty,
        load_average=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    )


def read_peak_rss_mb() -> float | None:
    """Return the largest resident size of this process in MiB, or None where the system does not tell."""
    # Linux' getrusage value survives exec and so includes the parent's size: VmHWM is the process's own.
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) / 1024, 1)
    if sys.platform == "darwin":
        import resource

        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 1)
    return None


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name" and value.strip():
                return value.strip()
    if sys.platform == "darwin":
        return _output("/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string") or platform.machine()
    return platform.processor() or platform.machine() or "unknown"


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _source_state(written: Iterable[Path]) -> tuple[str | None, bool | None]:
    # An installed copy may lie in a virtual environment inside someone else's repository:
    # a commit is ours only where git tracks this very file.
    here = Path(__file__).resolve()
    git = ("git", "-C", str(here.parent))
    if not _output(*git, "ls-files", here.name):
        return None, None
    commit, top = _output(*git, "rev-parse", "HEAD"), _output(*git, "rev-parse", "--show-toplevel")
    paths = [path.resolve() for path in written]
    own = [f":(exclude){path}" for path in paths if top is not None and path.is_relative_to(top)]
    changes = _output(*git, "status", "--porcelain", "--untracked-files=no", "--", ":/", *own)
    return commit, None if changes is None else bool(changes)


def _output(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)  # noqa: S603 (fixed words)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
