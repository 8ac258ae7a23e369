"""Heavy packages stay out of `import seg_core` and of every `--help`."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]

# All that lies beyond the core and the `cli` extra.
HEAVY = [
    "torch", "torchvision", "timm", "tensorflow", "tensorboard", "jax",
    "onnx", "onnxscript", "onnxsim", "onnxruntime",
    "coremltools", "litert_torch", "ai_edge_litert", "ai_edge_quantizer", "coreai", "coreai_torch",
    "pydantic", "yaml", "PIL", "scipy",
]  # fmt: skip

BLOCK = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"No module named {name!r} (blocked)", name=name)

sys.meta_path.insert(0, Blocker())
"""

HELP = """
import importlib
module, _, function = sys.argv[1].partition(":")
command = getattr(importlib.import_module(module), function)
sys.argv = [sys.argv[2], "--help"]
command()
"""


def run_blocked(code, *arguments, blocked=HEAVY):
    prelude = f"blocked = {blocked!r}\n" + BLOCK
    command = [sys.executable, "-c", prelude + code, *arguments]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize("package", ["torch", "onnxruntime", "pydantic"])
def test_blocker_blocks(package):
    done = run_blocked(f"import {package}")
    assert done.returncode == 1
    assert "(blocked)" in done.stderr


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_help_runs_without_heavy_packages(name):
    done = run_blocked(HELP, SCRIPTS[name], name)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Usage: {name}"), done.stdout
    assert re.search(r"(?im)^\s*examples?\b", done.stdout), f"{name} --help shows no example"


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_wrong_option_is_a_usage_error(name):
    done = run_blocked(HELP.replace('"--help"', '"--no-such-option"'), SCRIPTS[name], name)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr


def test_import_seg_core_loads_no_heavy_package():
    code = "import sys, json, seg_core; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout))
    assert loaded & {*HEAVY, "click", "rich"} == set()
    assert "seg_core" in loaded


def test_public_names_resolve_without_heavy_packages():
    code = "import seg_core\nfor name in seg_core.__all__: getattr(seg_core, name)\nprint(*seg_core.__all__)"
    done = run_blocked(code)
    assert done.returncode == 0, done.stderr
    assert {"Postprocessor", "Predictor", "Preprocessor", "load_manifest"} <= set(done.stdout.split())
