"""The import rules hold, and each of them notices when it is broken."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ["seg_core", "train/seg_train", "export/seg_export", "benchmarks/seg_bench", "mobile_demo/seg_demo"]
ROOMS = "Rooms never import one another"
TORCH_FREE = "The library an app embeds is torch-free"

VIOLATIONS = [
    ("train/seg_train/planted.py", "import seg_export\n", ROOMS),
    ("export/seg_export/planted.py", "import seg_bench\n", ROOMS),
    ("benchmarks/seg_bench/planted.py", "import seg_train\n", ROOMS),
    ("mobile_demo/seg_demo/planted.py", "import seg_export\n", ROOMS),
    ("seg_core/planted.py", "def late() -> None:\n    import seg_export\n", ROOMS),
    ("seg_core/planted.py", "import torch\n", TORCH_FREE),
    ("seg_core/cli/planted.py", "def late() -> None:\n    import torch.nn\n", TORCH_FREE),
    ("seg_core/runners/planted.py", "import tensorflow\n", TORCH_FREE),
    ("seg_core/mil/planted.py", "import torch\n", TORCH_FREE),
]


@pytest.fixture
def tree(tmp_path):
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint_imports(tree):
    # Ahead of the editable installation, which points at the real sources.
    folders = os.pathsep.join(str((tree / package).parent) for package in PACKAGES)
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-cache"]
    environment = {**os.environ, "PYTHONPATH": folders, "COLUMNS": "200", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, capture_output=True, text=True, cwd=tree, env=environment)


def test_contracts_are_kept(tree):
    done = lint_imports(tree)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 broken" in done.stdout


@pytest.mark.parametrize(("module", "code", "contract"), VIOLATIONS)
def test_violation_is_noticed(tree, module, code, contract):
    (tree / module).parent.mkdir(parents=True, exist_ok=True)
    (tree / module).write_text(code, encoding="utf-8")
    done = lint_imports(tree)
    assert done.returncode == 1, done.stdout + done.stderr
    broken = [line for line in done.stdout.splitlines() if " BROKEN" in line]
    assert len(broken) == 1
    assert broken[0].startswith(contract)
