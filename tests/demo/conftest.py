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


@pytest.fixture
def web(tmp_path):
    """A web folder with the page's names and empty npm packages of the right shape."""
    folder = tmp_path / "mobile_demo" / "web"
    for path in ("index.html", "sw.js", "styles.css", "manifest.webmanifest", "icons/icon.svg", "src/app.js"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(f"this is {path}", encoding="utf-8")
    (folder.parent / "vectors").mkdir()
    (folder.parent / "vectors" / "vectors.csv").write_text("kind\n", encoding="utf-8")
    ort = folder / "node_modules" / "onnxruntime-web"
    (ort / "dist").mkdir(parents=True)
    (ort / "package.json").write_text('{"version": "9.8.7"}', encoding="utf-8")
    for name in ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm", "ort.webgpu.bundle.min.mjs",
                 "ort-wasm-simd-threaded.asyncify.wasm", "secret.js"):  # fmt: skip
        (ort / "dist" / name).write_bytes(b"\0asm")
    (folder / "secret.txt").write_text("secret", encoding="utf-8")
    return folder
