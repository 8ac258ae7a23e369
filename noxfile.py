"""Sessions over interpreters and dependency versions that one .venv cannot hold: `nox --list`."""

from __future__ import annotations

import nox

nox.options.sessions = ["core", "lint", "types"]
nox.options.error_on_missing_interpreters = False

PYTHONS = ["3.11", "3.12", "3.13"]

# The oldest and the newest OpenCV the core is promised to run with. Wheels of 4.8 were built for numpy 1.
OPENCV = {
    "opencv4.8": ["opencv-python-headless==4.8.*", "numpy<2"],
    "opencv5": ["opencv-python-headless>=5,<6"],
}


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run everything `make test` runs on one interpreter, with all extras."""
    session.install("-e", ".[dev]")
    session.run("pytest", "-m", "not gpu and not browser and not slow", *session.posargs)


@nox.session(python="3.11")
@nox.parametrize("opencv", list(OPENCV))
def core(session: nox.Session, opencv: str) -> None:
    """Run the core's tests with numpy and OpenCV alone; tests that need an extra skip themselves."""
    session.install(".", *OPENCV[opencv], "pytest", "pytest-timeout")
    # The `faces` extra asks for OpenCV below 5, whose wheels still have the detector.
    without_faces = ["--ignore=tests/core/test_faces.py"] if opencv == "opencv5" else []
    session.run("python", "-m", "pytest", "tests/core", *without_faces, *session.posargs)


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
