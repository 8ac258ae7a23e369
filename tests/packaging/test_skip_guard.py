"""The plugin that keeps CI from passing over tests."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PLUGINS = Path(__file__).resolve().parents[1] / "plugins"
RUNS = "def test_runs():\n    pass\n"


def run_guarded(folder, source):
    (folder / "test_sample.py").write_text(f"import pytest\n\n{source}{RUNS}", encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(PLUGINS), "PYTEST_ADDOPTS": ""}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no_silent_skips", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)


@pytest.mark.parametrize(
    "source",
    [
        "@pytest.mark.skip(reason='later')\ndef test_skipped():\n    pass\n",
        "def test_skipped():\n    pytest.skip('no time')\n",
        "pytest.importorskip('no_such_package')\n",
        "pytest.skip('not today', allow_module_level=True)\n",
    ],
)
def test_skip_fails_the_run(tmp_path, source):
    done = run_guarded(tmp_path, source)
    assert done.returncode == 1, done.stdout
    assert "error: skipped, but should have run: test_sample.py" in done.stdout


@pytest.mark.parametrize("source", ["", "def test_mac():\n    pytest.skip('platform: needs macOS')\n"])
def test_other_platforms_are_let_through(tmp_path, source):
    done = run_guarded(tmp_path, source)
    assert done.returncode == 0, done.stdout
    assert "error:" not in done.stdout


def test_expected_failure_is_no_skip(tmp_path):
    done = run_guarded(tmp_path, "@pytest.mark.xfail(strict=True)\ndef test_known():\n    assert False\n")
    assert done.returncode == 0, done.stdout
