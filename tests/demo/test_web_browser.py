"""The web demo in a real browser, fed with bundled pictures: the same labels as Python's, whatever happens around it.

Needs Chromium, its driver and the page's npm packages (`npm ci --prefix mobile_demo/web`).
"""

import numpy as np
import pytest
from browser_material import SAMPLES, agreement, chromium, served, two_threads

from seg_core import load_image

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

ARROW_UP = "\ue013"  # WebDriver's code point

PHOTOS = ("astronaut.png", "grace_hopper.png", "obama.jpg")


@pytest.mark.parametrize(
    ("kind", "isolated", "backend"),
    [("onnx", True, "WebAssembly threads (2)"), ("onnx", False, "WebAssembly"),
     ("tflite", True, "WebAssembly threads (2)"), ("tflite", False, "WebAssembly")],
)  # fmt: skip
def test_photos_get_pythons_labels(models, kind, isolated, backend):
    option = "--isolation" if isolated else "--no-isolation"
    with served(models[kind], option) as (url, _), chromium() as page:
        two_threads(page)
        # Asked for by name, threads are waited for however busy the machine is.
        assert page.open(f"{url}?backend=wasm-threads" if isolated else url) == "ready", page.problem
        assert page.run("return crossOriginIsolated") is isolated
        assert page.facts["Runs on"] == backend
        assert page.facts["Self-check"].endswith("golden vectors exact, 100.00 % of labels as expected")
        assert "SHA-256 as in its manifest" in page.facts["File"]
        for name in PHOTOS:
            page.choose_photo(SAMPLES / name)
            image_bgr, _, box = page.labelled()
            if name.endswith(".png"):  # JPEG decoders may differ in the last bit, PNG's may not
                assert np.array_equal(image_bgr, load_image(SAMPLES / name))
            assert box[2] == box[3] == min(image_bgr.shape[:2])
            assert agreement(page, models[kind]) == 1.0
        assert page.complaints() == []


def test_region_zooms_and_moves(models, onnx_url):
    with chromium() as page:
        page.open(onnx_url)
        page.choose_photo(SAMPLES / "grace_hopper.png")
        page.set_value("zoom", 142)
        page.find("stage").send_keys(ARROW_UP * 30)
        page.idle()
        _, _, box = page.labelled()
        assert box == (0, 76, 361, 361)
        assert agreement(page, models["onnx"]) == 1.0
        page.set_value("region", "whole")
        page.idle()
        assert page.labelled()[2] == (0, 0, 600, 512)
        assert agreement(page, models["onnx"]) == 1.0


@pytest.mark.parametrize("kind", ["onnx", "tflite"])
def test_camera_is_labelled_live_on_a_phone(models, kind, camera):
    with served(models[kind]) as (url, _), chromium(*camera, phone=True) as page:
        assert page.open(url) == "ready", page.problem
        page.find("camera").click()
        page.wait("return segproof.count > 2")
        start = page.run("return [segproof.count, performance.now()]")
        page.wait("return segproof.count > 10")
        count, ms = np.subtract(page.run("return [segproof.count, performance.now()]"), start)
        assert page.find("camera").text == "Stop"
        page.screenshot(f"camera-phone-{kind}")
        fps, *parts_ms = page.run(
            "return ['fps', 'pre', 'infer', 'post'].map((id) => +document.getElementById(id).textContent)"
        )
        page.find("pause").click()
        assert page.find("pause").get_attribute("aria-pressed") == "true"
        page.idle()
        assert min(parts_ms) > 0
        assert (
            0 < sum(parts_ms) <= 1000 / max(fps - 0.05, 1e-3) + 0.15
        )  # a frame takes at least its parts; both are rounded
        assert 0.1 < (fps + 0.05) / (1000 * count / ms) < 10  # of the right order on a busy machine, too
        before = page.run("return segproof.count")
        page.run("return new Promise((resolve) => setTimeout(resolve, 500))")  # nothing may come any more
        assert page.run("return segproof.count") == before
        assert agreement(page, models[kind]) == 1.0
        assert page.run("return document.documentElement.scrollWidth <= innerWidth")
        page.find("camera").click()  # it says "Stop" now
        assert page.find("camera").text == "Camera"
        assert not page.find("pause").is_displayed()
        assert page.complaints() == []


#: Keep what the page asks of its cameras, and what it is given.
WATCH_CAMERAS = """
const media = navigator.mediaDevices;
const original = media.getUserMedia.bind(media);
globalThis.asked = [];
globalThis.streams = [];
media.getUserMedia = async (wanted) => {
  asked.push(wanted.video.facingMode.ideal);
  streams.push(await original(wanted));
  return streams.at(-1);
};
"""


def open_watched(page, url):
    page.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH_CAMERAS})
    assert page.open(url) == "ready", page.problem
    page.find("camera").click()
    page.wait("return segproof.count > 1")


def test_cameras_are_flipped(onnx_url):
    two = ("--use-fake-device-for-media-stream=device-count=2", "--use-fake-ui-for-media-stream")
    with chromium(*two) as page:
        open_watched(page, onnx_url)
        for facing in ("user", "environment", "user"):
            page.wait("return !document.getElementById('flip').hidden")
            assert page.run("return asked.at(-1)") == facing
            # A mirror shows oneself, not what the camera at the back sees.
            assert ("mirrored" in page.find("stage").get_attribute("class")) is (facing == "user")
            assert page.run("return streams.filter((stream) => stream.active).length") == 1
            before = page.run("return segproof.count")
            page.wait(f"return segproof.count > {before + 1}")
            asked = page.run("return asked.length")
            page.find("flip").click()
            page.wait(f"return asked.length > {asked}")
            page.wait(
                "return streams.length === asked.length && document.getElementById('camera').textContent === 'Stop'"
            )
        assert page.problem == ""


def test_one_camera_is_not_flipped_and_may_end(onnx_url, camera):
    with chromium(*camera) as page:
        open_watched(page, onnx_url)
        assert not page.find("flip").is_displayed()
        page.run("streams[0].getVideoTracks()[0].dispatchEvent(new Event('ended'))")  # as when it is unplugged
        page.wait("return !document.getElementById('problem').hidden")
        assert page.problem == "Camera ended. Press Camera to start it again."
        assert page.find("camera").text == "Camera"


def test_a_refused_camera_is_explained(onnx_url):
    refused = {"profile.default_content_setting_values.media_stream_camera": 2}
    with chromium("--use-fake-device-for-media-stream", prefs=refused) as page:
        page.open(onnx_url)
        page.find("camera").click()
        page.wait("return !document.getElementById('problem').hidden")
        assert page.problem.startswith("The camera was refused. Allow it")
        page.choose_photo(SAMPLES / "astronaut.png")  # the page goes on
        assert page.problem == ""


def test_a_missing_camera_is_explained(onnx_url):
    with chromium() as page:
        page.open(onnx_url)
        page.find("camera").click()
        page.wait("return !document.getElementById('problem').hidden")
        assert page.problem == "This device has no camera. Photos and videos work without one."


def test_a_video_file_is_labelled(models, onnx_url):
    with chromium() as page:
        page.open(onnx_url)
        page.find("video-file").send_keys(str(SAMPLES / "carphone_pristine.mp4"))
        page.wait("return segproof.count > 5")
        page.find("pause").click()
        page.idle()
        assert agreement(page, models["onnx"]) == 1.0
        assert "mirrored" not in page.find("stage").get_attribute("class")


def test_what_is_no_picture_is_said(onnx_url, tmp_path):
    (tmp_path / "broken.png").write_bytes((SAMPLES / "astronaut.png").read_bytes()[:5000] + b"no")
    (tmp_path / "text.mp4").write_text("no video")
    with chromium() as page:
        page.open(onnx_url)
        page.find("photo-file").send_keys(str(tmp_path / "text.mp4"))
        page.wait("return !document.getElementById('problem').hidden")
        assert page.problem == "text.mp4 is not a picture that this browser can read."
        page.find("video-file").send_keys(str(tmp_path / "text.mp4"))
        page.wait("return document.getElementById('problem').textContent.includes('cannot be played')")


@pytest.mark.parametrize("kind", ["onnx", "tflite"])
def test_webgpu_gives_pythons_labels(models, kind):
    # A processor plays the GPU: right, and slow. The page takes such a one only where it is asked to.
    software = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan,WebGPU")
    with served(models[kind]) as (url, _), chromium(*software, "--use-vulkan=swiftshader") as page:
        assert page.open(f"{url}?backend=webgpu") == "ready", page.problem
        assert page.facts["Runs on"] == "WebGPU"
        page.choose_photo(SAMPLES / "astronaut.png")
        assert agreement(page, models[kind]) > 0.999  # GPUs may round otherwise
        assert page.open(url) == "ready", page.problem
        assert page.facts["Runs on"].startswith("WebAssembly")


def test_nothing_leaves_the_device(onnx_url):
    with chromium() as page:
        page.driver.execute_cdp_cmd("Network.enable", {})
        page.open(onnx_url)
        page.choose_photo(SAMPLES / "astronaut.png")
        loaded = page.run("return performance.getEntriesByType('resource').map(({ name }) => name)")
        assert loaded
        assert [name for name in loaded if not name.startswith((onnx_url, "blob:", "data:"))] == []
        refused = page.driver.execute_async_script(
            "const done = arguments[0]; fetch('https://example.com/', { method: 'POST', body: 'pixels' })"
            ".then(() => done('sent'), (error) => done(error.message));"
        )
        assert refused == "Failed to fetch"
        log = " ".join(entry["message"] for entry in page.driver.get_log("browser"))
        assert "violates the following Content Security Policy" in log
