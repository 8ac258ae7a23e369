"""docs/how-to/add-a-model.md, followed to the letter in a copy of the sources."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.export]

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "add-a-model.md"
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
COPIED = ("seg_core", "export", "train", "benchmarks/seg_bench", "tests", "pyproject.toml", "mobile_demo/samples")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """The sources with the page's file and row in them."""
    root = tmp_path_factory.mktemp("clone")
    for name in COPIED:
        source, copy = ROOT / name, root / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__", "*.mp4"))
        else:
            shutil.copy(source, copy)
    file, import_line, row, _use = blocks("python")
    models = root / "seg_core" / "models"
    (models / "lraspp.py").write_text(file, encoding="utf-8")
    registry = (models / "__init__.py").read_text(encoding="utf-8")
    last_import = re.findall(r"^from seg_core\.models\..*\n", registry, re.MULTILINE)[-1]
    registry = registry.replace(last_import, last_import + import_line)
    before, after = registry.split("\n\ndef list_models", 1)
    (models / "__init__.py").write_text(f"{before}{row}\n\ndef list_models{after}", encoding="utf-8")
    return root


def run(clone, line):
    """Run a line of the page with the sources of `clone`; installed commands are entered through their functions."""
    command, *arguments = shlex.split(line)
    if command == "python":
        words = [sys.executable, *arguments]
    else:
        module, function = SCRIPTS[command].split(":")
        words = [
            sys.executable,
            "-c",
            f"from {module} import {function}; {function}(prog_name={command!r})",
            *arguments,
        ]
    path = os.pathsep.join(str(clone / folder) for folder in (".", "export", "train", "benchmarks"))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PYTEST_ADDOPTS": ""}
    return subprocess.run(words, capture_output=True, text=True, cwd=clone, env=environment)


def commands():
    return [line for block in blocks("sh") for line in block.splitlines()]


def test_the_page_uses_existing_commands():
    assert [shlex.split(line)[0] for line in commands()] == ["seg-models", *["python"] * 3, "seg-export"]


@pytest.mark.timeout(900)
def test_every_step_works(clone):
    show, *tests, export = commands()
    shown = run(clone, show)
    assert shown.returncode == 0, shown.stderr
    assert "(also lr_aspp)" in shown.stdout
    assert "https://arxiv.org/abs/1905.02244" in shown.stdout
    for line in tests:
        done = run(clone, line)
        assert done.returncode == 0, done.stdout
        assert re.search(r"^[1-9]\d* passed", done.stdout, re.MULTILINE), done.stdout
    made = run(clone, f"python -c {shlex.quote(blocks('python')[-1])}")
    assert made.returncode == 0, made.stderr
    exported = run(clone, export)
    assert exported.returncode == 0, exported.stderr
    assert (clone / "build" / "lraspp" / "lraspp.pt").exists()


def test_the_file_is_written_as_the_project_writes(clone):
    path = clone / "seg_core" / "models" / "lraspp.py"
    for arguments in (("check",), ("format", "--check")):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *arguments, "--no-cache", str(path)],
            capture_output=True,
            text=True,
            cwd=clone,
        )
        assert done.returncode == 0, done.stdout
