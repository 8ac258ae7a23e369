"""The core as an app embeds it: numpy and OpenCV, no extra."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bare_python(wheel, tmp_path_factory):
    venv = tmp_path_factory.mktemp("bare") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    python = venv / "bin" / "python"
    command = [str(python), "-m", "pip", "install", "--quiet", "--no-compile", str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return python


def test_bare_environment_holds_only_numpy_and_opencv(bare_python):
    code = "import importlib.metadata as m, json; print(json.dumps([d.name.lower() for d in m.distributions()]))"
    done = subprocess.run([str(bare_python), "-c", code], capture_output=True, text=True, check=True)
    installed = set(json.loads(done.stdout)) - {"pip", "setuptools"}
    assert installed == {"numpy", "opencv-python-headless", "segproof"}


def test_core_imports_and_preprocesses(bare_python, root, tmp_path):
    code = (
        "import sys, seg_core\n"
        "from seg_core import Preprocessor\n"
        "from seg_core.images import load_image\n"
        "from seg_core.spec import PreprocessSpec\n"
        "image_bgr = load_image(sys.argv[1])\n"
        "print(Preprocessor(PreprocessSpec(size_hw=(64, 64)))(image_bgr).tensor.shape)\n"
    )
    photo = root / "mobile_demo" / "samples" / "astronaut.png"
    done = subprocess.run([str(bare_python), "-c", code, str(photo)], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "(1, 3, 64, 64)"


def test_every_command_asks_for_click_in_one_line(bare_python, pyproject):
    for name in pyproject["project"]["scripts"]:
        done = subprocess.run([str(bare_python.parent / name), "--help"], capture_output=True, text=True)
        assert done.returncode == 1, (name, done.stdout, done.stderr)
        assert len(done.stderr.strip().splitlines()) == 1, (name, done.stderr)
        assert "click" in done.stderr, name
        assert "pip install" in done.stderr, name
