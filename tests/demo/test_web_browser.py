"""The web demo in a real browser, fed with bundled pictures: the same labels as Python's, whatever happens around it.

Needs Chromium, its driver and the page's npm packages (`npm ci --prefix mobile_demo/web`).
"""

import time

import cv2
import numpy as np
import pytest
from browser_material import SAMPLES, agreement, chromium, served, two_threads

from seg_core import load_image

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

ARROW_UP, TAB = "\ue013", "\ue004"  # WebDriver's code points

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
        assert page.open(url) == "ready", page.problem
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
        page.wait("return segproof.labelled.geometry.box.top === 0 && segproof.labelled.geometry.box.height < 400")
        time.sleep(0.5)  # the last key's labelling
        _, _, box = page.labelled()
        assert box == (0, 76, 361, 361)
        assert agreement(page, models["onnx"]) == 1.0
        page.set_value("region", "whole")
        page.wait("return segproof.labelled.geometry.box.height === 600")
        assert agreement(page, models["onnx"]) == 1.0


def test_camera_is_labelled_live_on_a_phone(models, onnx_url, camera):
    with chromium(*camera, phone=True) as page:
        assert page.open(onnx_url) == "ready"
        page.find("camera").click()
        page.wait("return segproof.count > 8")
        assert "mirrored" in page.find("stage").get_attribute("class")
        assert float(page.find("fps").text) > 0.5
        for name in ("pre", "infer", "post"):
            assert float(page.find(name).text) > 0
        assert page.find("camera").text == "Stop"
        page.screenshot("camera-phone")
        page.find("pause").click()
        assert page.find("pause").get_attribute("aria-pressed") == "true"
        before = page.run("return new Promise((r) => setTimeout(() => r(segproof.count), 1500))")
        assert agreement(page, models["onnx"]) == 1.0
        assert page.run("return segproof.count") == before
        assert page.run("return document.documentElement.scrollWidth <= innerWidth")
        page.find("camera").click()  # it says "Stop" now
        assert page.find("camera").text == "Camera"
        assert not page.find("pause").is_displayed()
        assert page.complaints() == []


def test_cameras_are_flipped(onnx_url):
    two = ("--use-fake-device-for-media-stream=device-count=2", "--use-fake-ui-for-media-stream")
    with chromium(*two) as page:
        page.open(onnx_url)
        page.find("camera").click()
        page.wait("return segproof.count > 1 && !document.getElementById('flip').hidden")
        assert "mirrored" in page.find("stage").get_attribute("class")
        page.find("flip").click()
        page.wait("return !document.getElementById('stage').classList.contains('mirrored')")
        before = page.run("return segproof.count")
        page.wait(f"return segproof.count > {before + 1}")
        assert page.problem == ""


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
        time.sleep(1)
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


def _eroded(where):
    return cv2.erode(where.astype(np.uint8), np.ones((13, 13), np.uint8)).astype(np.bool_)


def test_effects_change_what_they_should(onnx_url):
    with chromium(phone=True) as page:
        page.open(onnx_url)
        page.choose_photo(SAMPLES / "astronaut.png")
        page.set_value("zoom", 170)
        page.find("stage").send_keys(ARROW_UP * 30)
        page.wait("return segproof.labelled.geometry.box.top === 0 && segproof.labelled.geometry.box.height < 400")
        time.sleep(0.5)  # the last key's labelling
        image_bgr, labels, (top, left, height, width) = page.labelled()
        inside = np.zeros(labels.shape, np.bool_)
        # A few pixels away from the dashed outline.
        inside[top + 8 : top + height - 8, left + 8 : left + width - 8] = True
        names = page.run("return segproof.engine.manifest.labels.names")
        skin, hair, behind = (labels == names.index(name) for name in ("skin", "hair", "background"))

        def change(where):
            """Mean change of the stage against the picture, in steps of 8 bits, away from class borders."""
            chosen = _eroded(where & inside)
            assert chosen.sum() > 500
            return np.abs(page.stage().astype(np.int16) - image_bgr)[chosen].mean()

        page.set_value("opacity", 0)
        assert change(skin) == 0
        page.set_value("opacity", 100)
        assert change(skin) > 30
        colour_bgr = page.stage()[_eroded(skin & inside)]
        assert np.array_equal(colour_bgr, np.broadcast_to((64, 214, 255), colour_bgr.shape))
        page.screenshot("classes-phone")
        page.find("classes").click()
        page.find("none").click()
        assert change(skin) == change(hair) == 0

        page.choose_mode("blur")
        assert change(skin) < 1
        assert change(behind) > 2
        page.choose_mode("replace")
        page.set_value("backdrop", "#00ff00")
        assert change(skin) < 1
        replaced = page.stage()[_eroded(behind & inside)]
        assert np.abs(replaced.astype(np.int16) - (0, 255, 0)).mean() < 3
        page.choose_mode("recolour")
        page.set_value("part", page.run("return segproof.parts.findIndex(({ name }) => name === 'hair')"))
        page.set_value("tint", "#ff0000")
        assert change(hair) > 10
        assert change(skin) == 0
        page.screenshot("recolour-phone")
        reddened = page.stage()[_eroded(hair & inside)].mean(axis=0) - image_bgr[_eroded(hair & inside)].mean(axis=0)
        assert reddened[2] > reddened[0] + 20


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


def test_keyboard_and_screen_reader(onnx_url):
    from selenium.webdriver.common.action_chains import ActionChains

    with chromium() as page:
        page.open(onnx_url)
        page.choose_photo(SAMPLES / "astronaut.png")
        assert page.find("stage").get_attribute("aria-label").startswith("Found ")
        tree = page.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        focusable = [
            node for node in tree
            if not node["ignored"] and any(p["name"] == "focusable" and p["value"]["value"] for p in node["properties"])
        ]  # fmt: skip
        nameless = [node["role"]["value"] for node in focusable if not node.get("name", {}).get("value")]
        assert nameless == []
        roles = {node["role"]["value"] for node in tree if not node["ignored"]}
        assert {"status", "slider", "radio", "button", "main", "banner"} <= roles
        reached = set()
        page.run("document.activeElement.blur(); window.focus()")
        for _ in range(25):
            ActionChains(page.driver).send_keys(TAB).perform()
            reached.add(page.run("return document.activeElement.id || document.activeElement.value"))
        assert {"stage", "camera", "photo-file", "video-file", "save", "opacity", "region", "zoom"} <= reached


def test_small_and_large_screens(onnx_url):
    for name, size_wh, phone in (
        ("small", (320, 568), True),
        ("phone", (412, 915), True),
        ("desktop", (1280, 800), False),
    ):
        with chromium(size_wh=size_wh, phone=phone) as page:
            page.open(onnx_url)
            page.choose_photo(SAMPLES / "obama.jpg")
            assert page.run("return document.documentElement.scrollWidth <= innerWidth"), name
            small = page.run(
                "return [...document.querySelectorAll('button, select, .button')].filter((each) => each.offsetParent)"
                ".filter((each) => each.getBoundingClientRect().height < 43.9).map((each) => each.id)"
            )
            assert small == [], name
            page.screenshot(f"photo-{name}")


def test_the_page_can_be_installed(onnx_url):
    with chromium() as page:
        page.open(onnx_url)
        assert page.driver.execute_cdp_cmd("Page.getInstallabilityErrors", {})["installabilityErrors"] == []
        page.wait("return !document.getElementById('install').hidden")
        page.wait("return navigator.serviceWorker.controller?.state === 'activated'")


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
