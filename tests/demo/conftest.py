"""What the browser tests share: the bundled network, exported once."""

import subprocess
import sys

import pytest
from browser_material import CHECKPOINT, served, write_fake_camera

from seg_demo.site import WEB_DIRECTORY


@pytest.fixture(scope="session")
def npm_packages():
    """The two runtimes of the page."""
    for package in ("onnxruntime-web", "@litertjs/core"):
        if not (WEB_DIRECTORY / "node_modules" / package).is_dir():
            pytest.skip(f"needs  npm ci --prefix {WEB_DIRECTORY}")


@pytest.fixture(scope="session")
def models(tmp_path_factory, npm_packages):
    """The bundled network as .onnx and .tflite."""
    out = tmp_path_factory.mktemp("models")
    code = "from seg_export.cli import export_command; export_command()"
    options = ["--target", "onnx", "--target", "tflite", "--name", "face", "--out", str(out)]
    done = subprocess.run([sys.executable, "-c", code, str(CHECKPOINT), *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return {"onnx": out / "face.onnx", "tflite": out / "face.tflite"}


@pytest.fixture(scope="session")
def onnx_url(models):
    """Address of the page that runs the bundled network."""
    with served(models["onnx"]) as (url, _):
        yield url


@pytest.fixture(scope="session")
def camera(tmp_path_factory):
    """Arguments that make Chromium's camera play the bundled clip, and allow it."""
    path = write_fake_camera(tmp_path_factory.mktemp("camera") / "carphone.mjpeg")
    return (
        "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-video-capture={path}",
    )  # fmt: skip
