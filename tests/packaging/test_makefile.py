"""The Makefile's installation: which Python it takes, and what an interruption leaves behind."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Stands for the environment's python: pip is there, and installing does what PIP_EXIT says.
FAKE_PYTHON = """#!/bin/sh
echo "$*" >> calls.txt
case "$*" in *"pip install"*) exit "${PIP_EXIT:-0}";; esac
"""


@pytest.fixture
def clone(tmp_path):
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


@pytest.fixture
def installed_clone(clone):
    python = clone / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(FAKE_PYTHON, encoding="utf-8")
    python.chmod(0o755)
    return clone


def make(folder, *arguments, **environment):
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    return subprocess.run(
        ["make", *arguments], capture_output=True, text=True, cwd=folder, env={**inherited, **environment}
    )


def installations(folder):
    return (folder / "calls.txt").read_text(encoding="utf-8").count("pip install")


def test_unusable_python_is_one_clear_line(clone):
    done = make(clone, "PYTHON=/no/such/python", "test")
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert len(lines) == 1
    assert lines[0].startswith("error: no usable Python among: /no/such/python")
    assert "make PYTHON=" in lines[0]
    assert not (clone / ".venv").exists()


def test_first_python_that_runs_is_taken(clone, tmp_path):
    shims = tmp_path / "shims"
    shims.mkdir()
    (shims / "python3").write_text("#!/bin/sh\nexit 127\n", encoding="utf-8")
    (shims / "python3.13").write_text("#!/bin/sh\nexit 127\n", encoding="utf-8")
    # Only its version is looked at; it fails where the environment would be made.
    (shims / "python3.12").write_text(
        '#!/bin/sh\ncase "$1" in -c) exit 0;; --version) echo Python 3.12.9;; *) exit 1;; esac\n', encoding="utf-8"
    )
    for shim in shims.iterdir():
        shim.chmod(0o755)
    done = make(clone, "install", PATH=f"{shims}:{os.environ['PATH']}")
    assert "creating .venv with Python 3.12.9" in done.stdout
    assert done.returncode == 2


def test_failed_installation_is_taken_up_again(installed_clone):
    assert make(installed_clone, f"PYTHON={sys.executable}", "install", PIP_EXIT="1").returncode == 2
    assert not (installed_clone / ".venv" / ".installed").exists()
    assert make(installed_clone, f"PYTHON={sys.executable}", "install").returncode == 0
    assert (installed_clone / ".venv" / ".installed").exists()
    assert installations(installed_clone) == 3  # with Core AI and without, both refused; then the one that went well


def test_installation_is_repeated_only_for_new_requirements(installed_clone):
    for _ in range(2):
        assert make(installed_clone, f"PYTHON={sys.executable}", "install").returncode == 0
    assert installations(installed_clone) == 1
    later = (installed_clone / ".venv" / ".installed").stat().st_mtime + 10
    os.utime(installed_clone / "pyproject.toml", (later, later))
    assert make(installed_clone, f"PYTHON={sys.executable}", "install").returncode == 0
    assert installations(installed_clone) == 2


def test_help_names_every_public_target(clone):
    shown = make(clone).stdout
    for target in ("demo", "test", "lint", "types", "contracts", "wheel", "check", "format", "clean"):
        assert f"make {target} " in shown
