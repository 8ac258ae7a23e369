"""The web demo in Firefox and in WebKitGTK, the engine of Safari: it opens, checks itself and labels as Python does.

Needs firefox-esr; webkit2gtk-driver and xvfb.
"""

import itertools
import json
import os
import re
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from browser_material import READ_LABELLED, READY_S, SAMPLES, Page, agreement, decode_labelled, find_program

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

PHOTO = SAMPLES / "astronaut.png"


class Firefox:
    """A Firefox that is spoken to by WebDriver BiDi, for which it needs no driver."""

    def __init__(self, address):
        import websocket

        self._socket = websocket.create_connection(f"{address}/session", timeout=READY_S, suppress_origin=True)
        self._numbers = itertools.count(1)
        self.send("session.new", capabilities={})
        self._context = self.send("browsingContext.getTree")["contexts"][0]["context"]

    def send(self, method, **parameters):
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while (answer := json.loads(self._socket.recv())).get("id") != number:
            pass  # an event
        assert answer["type"] == "success", answer
        return answer["result"]

    def evaluate(self, expression):
        target = {"context": self._context}
        answer = self.send("script.evaluate", expression=expression, target=target, awaitPromise=True)
        assert answer["type"] == "success", answer
        return answer["result"].get("value")

    def wait(self, expression):
        end = time.monotonic() + READY_S
        while not (value := self.evaluate(expression)):
            assert time.monotonic() < end, expression
            time.sleep(0.1)
        return value

    def open(self, url):
        self.send("browsingContext.navigate", context=self._context, url=url, wait="complete")
        return self.wait("document.documentElement.dataset.state")

    def text(self, identity):
        return self.evaluate(f"document.getElementById('{identity}').textContent")

    def choose_file(self, identity, path):
        locator = {"type": "css", "value": f"#{identity}"}
        (node,) = self.send("browsingContext.locateNodes", context=self._context, locator=locator)["nodes"]
        element = {"sharedId": node["sharedId"]}
        self.send("input.setFiles", context=self._context, element=element, files=[str(path)])

    def labelled(self):
        return decode_labelled(self.evaluate(READ_LABELLED))


@contextmanager
def firefox(profile):
    """Open a headless Firefox whose camera is a drawn one."""
    preferences = {"remote.active-protocols": 1, "media.navigator.streams.fake": True,
                   "media.navigator.permission.disabled": True}  # fmt: skip
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in preferences.items()]
    (profile / "user.js").write_text("".join(lines), encoding="utf-8")
    command = [find_program("firefox-esr", "firefox"), "--headless", "--no-remote", "--profile", str(profile)]
    command += ["--remote-debugging-port", "0"]
    with (profile / "log").open("w+") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            end = time.monotonic() + READY_S
            while not (address := re.search(r"ws://\S+", (profile / "log").read_text())):
                assert process.poll() is None, (profile / "log").read_text()
                assert time.monotonic() < end, "Firefox did not start"
                time.sleep(0.1)
            yield Firefox(address.group())
        finally:
            process.terminate()


def test_firefox_gives_pythons_labels(models, onnx_url, tmp_path):
    with firefox(tmp_path) as page:
        assert page.open(onnx_url) == "ready", page.text("problem")
        assert "100.00 % of labels as expected" in page.text("facts")
        page.choose_file("photo-file", PHOTO)
        page.wait("document.getElementById('status').textContent.startsWith('Found')")
        assert agreement(page, models["onnx"]) == 1.0
        page.evaluate("document.getElementById('camera').click()")
        page.wait("segproof.count > 4")
        assert page.text("problem") == ""


@contextmanager
def webkit(display):
    """Open WebKitGTK's MiniBrowser on a display of its own."""
    from selenium import webdriver
    from selenium.webdriver.webkitgtk.service import Service

    driver_path = find_program("WebKitWebDriver")
    screen = [find_program("Xvfb"), "-displayfd", "1", "-screen", "0", "1024x900x24"]
    with subprocess.Popen(screen, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            display.setenv("DISPLAY", f":{server.stdout.readline().strip()}")
            options = webdriver.WebKitGTKOptions()
            options.binary_location = _mini_browser()
            options.add_argument("--automation")
            driver = webdriver.WebKitGTK(options=options, service=Service(driver_path))
            try:
                driver.set_script_timeout(READY_S)
                yield Page(driver)
            finally:
                driver.quit()
        finally:
            server.terminate()


def _mini_browser():
    found = next(Path("/usr/lib").glob("*/webkit2gtk-4.*/MiniBrowser"), None)
    return str(found or find_program("MiniBrowser"))


def test_webkit_gives_pythons_labels(models, onnx_url, monkeypatch):
    # WebKit's own sandbox needs user namespaces, which containers lack; the page is our own.
    monkeypatch.setitem(os.environ, "WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS", "1")
    with webkit(monkeypatch) as page:
        assert page.open(onnx_url) == "ready", page.problem
        assert page.facts["Self-check"].endswith("100.00 % of labels as expected")
        page.choose_photo(PHOTO)
        assert agreement(page, models["onnx"]) == 1.0
        page.choose_mode("blur")
        page.screenshot("photo-webkit")
