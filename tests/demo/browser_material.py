"""A served page and a browser that looks at it: what the browser tests are made of."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from seg_core import Predictor, Roi
from seg_demo.server import create_server

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "mobile_demo" / "samples"
CHECKPOINT = ROOT / "mobile_demo" / "checkpoints" / "ddrnet23_slim_celebamask_256.pth"
#: Kept by CI as artefacts.
SCREENSHOTS = ROOT / "build" / "screenshots"

#: Loading a network and checking it takes seconds; on a busy machine, some more.
READY_S = 120

#: A JavaScript expression: the promise of what is on the stage.
READ_LABELLED = """(async () => {
const encode = async (bytes) => {
  const reader = new FileReader();
  reader.readAsDataURL(new Blob([bytes]));
  await new Promise((resolve) => { reader.onload = resolve; });
  return reader.result.slice(reader.result.indexOf(',') + 1);
};
const { frame, labelled } = globalThis.segproof;
const { top, left, height, width } = labelled.geometry.box;
return JSON.stringify({
  pixels: await encode(frame.data), labels: await encode(labelled.source),
  size_hw: [frame.height, frame.width], box: [top, left, height, width],
});
})()"""


def find_program(*names):
    """Return the path of the first of `names` that is installed; a skip, which CI turns into a failure, otherwise."""
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip(f"needs {' or '.join(names)} on PATH")
    return found


def until(condition, seconds=READY_S):
    """Call `condition` until what it returns is true, and return that."""
    end = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < end, "never true"
        time.sleep(0.05)
    return result


@contextmanager
def served(model, *options):
    """Run seg-demo on a free port; yields the page's address and the process."""
    command = [sys.executable, "-c", "from seg_demo.cli import demo_command; demo_command()", str(model), "--port", "0"]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            line = process.stdout.readline()
            url = re.search(r"https?://\S+", line)
            assert url, f"seg-demo said {line!r}"
            yield url.group(), process
        finally:
            process.terminate()
            process.wait(timeout=20)


@contextmanager
def serving(site, **options):
    """Serve a site that seg-demo itself would not make."""
    server = create_server(site, "127.0.0.1", 0, **options)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def chromium(*arguments, size_wh=(412, 915), prefs=None, phone=False, insecure=False):
    """Open a headless Chromium; yields a `Page`."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = find_program("chromium", "chromium-browser", "google-chrome")
    # No sandbox: containers give their root no user namespaces. The pages are our own.
    fixed = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars")
    for argument in (*fixed, f"--window-size={size_wh[0]},{size_wh[1]}", *arguments):
        options.add_argument(argument)
    options.accept_insecure_certs = insecure
    if prefs:
        options.add_experimental_option("prefs", prefs)
    if phone:
        metrics = {"width": size_wh[0], "height": size_wh[1], "pixelRatio": 2.625, "touch": True, "mobile": True}
        options.add_experimental_option("mobileEmulation", {"deviceMetrics": metrics})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(find_program("chromedriver")))
    try:
        driver.set_script_timeout(READY_S)
        yield Page(driver)
    finally:
        driver.quit()


class Page:
    """The demo's page, by what a person sees and does."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, url):
        """Go to the page and wait until it is ready or has failed; returns which."""
        self.driver.get(url)
        return self.wait("return document.documentElement.dataset.state")

    def wait(self, script, seconds=READY_S):
        """Return the first true result of a script."""
        end = time.monotonic() + seconds
        while not (result := self.driver.execute_script(script)):
            assert time.monotonic() < end, f"never true: {script}; the page says {self.status!r}, {self.problem!r}"
            time.sleep(0.05)
        return result

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def find(self, identity):
        return self.driver.find_element("id", identity)

    @property
    def status(self):
        return self.find("status").text

    @property
    def problem(self):
        return self.find("problem").text

    @property
    def facts(self):
        words = self.run("return [...document.querySelectorAll('#facts > *')].map((each) => each.textContent)")
        pairs = list(zip(words[::2], words[1::2], strict=True))
        return {term: " | ".join(text for name, text in pairs if name == term) for term, _ in pairs}

    def idle(self):
        """Wait until all that was asked for so far is labelled."""
        self.driver.execute_async_script("segproof.idle().then(arguments[0])")

    def choose_photo(self, path):
        """Give a photo to the page and wait until it is labelled."""
        before = self.run("return globalThis.segproof.count")
        self.find("photo-file").send_keys(str(path))
        self.wait(
            f"return globalThis.segproof.count > {before}"
            " && document.getElementById('status').textContent.startsWith('Found')"
        )

    def set_value(self, identity, value):
        """Set a control as if it had been moved."""
        self.run(
            "const e = document.getElementById(arguments[0]); e.value = arguments[1];"
            "for (const kind of ['input', 'change']) e.dispatchEvent(new Event(kind, { bubbles: true }));",
            identity,
            str(value),
        )

    def choose_mode(self, mode):
        self.run("document.querySelector(`input[name='mode'][value='${arguments[0]}']`).click()", mode)

    def labelled(self):
        """Return what was labelled: picture BGR uint8 (H, W, 3), labels uint8 (H, W), region (top, left, h, w)."""
        return decode_labelled(self.driver.execute_async_script(f"{READ_LABELLED}.then(arguments[0]);"))

    def stage(self):
        """Return what is on the stage, BGR uint8 (H, W, 3)."""
        url = self.run("return document.getElementById('stage').toDataURL('image/png')")
        encoded = np.frombuffer(base64.b64decode(url.partition(",")[2]), np.uint8)
        return cv2.imdecode(encoded, cv2.IMREAD_COLOR)

    def screenshot(self, name):
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.driver.save_screenshot(str(SCREENSHOTS / f"{name}.png"))

    def complaints(self):
        """Return warnings of the page's own policy and uncaught errors from the console."""
        texts = [entry["message"] for entry in self.driver.get_log("browser")]
        return [text for text in texts if "Content Security Policy" in text or "Uncaught" in text]


def decode_labelled(text):
    """Return picture BGR uint8 (H, W, 3), labels uint8 (H, W) and region (top, left, height, width)."""
    found = json.loads(text)
    pixels = np.frombuffer(base64.b64decode(found["pixels"]), np.uint8).reshape(*found["size_hw"], 4)
    labels = np.frombuffer(base64.b64decode(found["labels"]), np.uint8).reshape(found["size_hw"])
    return np.ascontiguousarray(pixels[..., 2::-1]), labels, tuple(found["box"])


def agreement(page, model):
    """Share of a page's labels that are Python's on the very bytes that the page saw."""
    image_bgr, labels, box = page.labelled()
    with Predictor.open(model) as predictor:
        expected = predictor.predict(image_bgr, Roi(*box)).labels
    assert len(np.unique(expected)) > 5  # a face has parts
    return (expected == labels).mean()


def two_threads(page):
    """Let the browser claim two cores, whatever the machine has."""
    page.driver.execute_cdp_cmd(
        "Page.addScriptToEvaluateOnNewDocument",
        {"source": "Object.defineProperty(navigator, 'hardwareConcurrency', { value: 2 });"},
    )


def write_fake_camera(path, frames=60):
    """Write the bundled clip as the motion JPEG that Chromium takes for a camera."""
    clip = cv2.VideoCapture(str(SAMPLES / "carphone_pristine.mp4"))
    with path.open("wb") as stream:
        for _ in range(frames):
            read, frame_bgr = clip.read()
            assert read
            stream.write(cv2.imencode(".jpg", frame_bgr, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes())
    clip.release()
    return path
