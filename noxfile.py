"""Sessions over interpreters and dependency versions that one .venv cannot hold: `nox --list`."""

from __future__ import annotations

import sys

import nox

nox.options.sessions = ["core", "lint", "types"]
nox.options.error_on_missing_interpreters = False

PYTHONS = ["3.11", "3.12", "3.13"]

# The oldest and the newest OpenCV the core is promised to run with. Wheels of 4.8 were built for numpy 1.
OPENCV = {
    "opencv4.8": ["opencv-python-headless==4.8.*", "numpy<2"],
    "opencv5": ["opencv-python-headless>=5,<6"],
}

# Tests of seg_core that need an extra: runtimes, coremltools' message classes, click, and the detector of OpenCV 4.
NEED_EXTRAS = ["test_*_runner.py", "test_mil_*.py", "test_predict_cli.py", "test_faces.py"]


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run everything `make test` runs on one interpreter, with all extras."""
    # On Linux alone: older macOS has no packages of Core AI (docs/adr/0006), and its tests know that.
    session.install("-e", ".[dev,coreai]" if sys.platform == "linux" else ".[dev]")
    session.run("pytest", "-m", "not gpu and not browser and not slow", *session.posargs)


@nox.session(python="3.11")
@nox.parametrize("opencv", list(OPENCV))
def core(session: nox.Session, opencv: str) -> None:
    """Run the core's tests with numpy and OpenCV alone."""
    session.install(".", *OPENCV[opencv], "pytest", "pytest-timeout")
    others = [f"--ignore-glob=tests/core/{pattern}" for pattern in NEED_EXTRAS]
    session.run("python", "-m", "pytest", "tests/core", *others, *session.posargs)


@nox.session(python="3.11")
def lint(session: nox.Session) -> None:
    """Check rules and formatting, without touching a file."""
    session.install("ruff>=0.9")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session(python="3.11")
def types(session: nox.Session) -> None:
    """Check types in strict mode."""
    session.install("-e", ".[dev]")
    session.run("mypy")
