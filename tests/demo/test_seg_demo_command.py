"""seg-demo as it is run: what it prints, who can reach it, and how it ends."""

import http.client
import re
import signal
import socket
import ssl
import subprocess
import sys
from contextlib import contextmanager

import cv2
import numpy as np
import pytest
from test_web_contracts import make_network

from seg_core import PostprocessSpec, PreprocessSpec

#: Of the loopback range, but not the address that the command listens on unless told otherwise.
ANOTHER_ADDRESS = "127.0.0.2"


@pytest.fixture
def model(tmp_path):
    make_network(tmp_path / "net.onnx", PreprocessSpec((8, 8)), PostprocessSpec(), argmax=False)
    return tmp_path / "net.onnx"


@contextmanager
def running(model, web, *options):
    """Run the command; yields the first line, the port and a function that ends it and returns what came after."""
    # A background shell starts children with the signal ignored, and what is run from there would not end by it.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from seg_demo.cli import demo_command; demo_command()"
    )
    command = [sys.executable, "-u", "-c", code, str(model), "--web", str(web), "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:

        def end():
            process.send_signal(signal.SIGINT)
            return *process.communicate(timeout=60), process.returncode

        try:
            line = process.stdout.readline()
            yield line, int(re.search(r":(\d+)/", line).group(1)), end
        finally:
            process.kill()


def read_qr(text):
    """Return what the QR code says that is drawn in half blocks, white where there is one."""
    halves = {" ": (0, 0), "▀": (255, 0), "▄": (0, 255), "█": (255, 255)}
    lines = [line for line in text.splitlines() if line and set(line) <= set(halves)]
    rows = [[halves[letter][half] for letter in line] for line in lines for half in (0, 1)]
    enlarged = np.kron(np.array(rows, np.uint8), np.ones((8, 8), np.uint8))
    # The other detector of OpenCV misses 8 such addresses in 1,000, depending on the port; this one none in 1,500.
    return cv2.QRCodeDetectorAruco().detectAndDecode(enlarged)[0]


def test_only_this_machine_is_served_unless_told_otherwise(model, web):
    with running(model, web) as (line, port, end):
        assert line == f"serving net.onnx at http://127.0.0.1:{port}/  (Ctrl-C ends it)\n"
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"this is index.html"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((ANOTHER_ADDRESS, port), timeout=60)
        assert end() == ("", "interrupted\n", 130)


@pytest.mark.parametrize("https", [False, True])
def test_others_are_invited_by_a_qr_code_when_told_to(model, web, https):
    with running(model, web, "--host", "0.0.0.0", *["--https"][:https]) as (line, port, end):
        url = re.search(r"https?://\S+", line).group()
        assert re.fullmatch(rf"{'https' if https else 'http'}://[^/]+:{port}/", url)
        assert "127.0.0.1" not in url
        if https:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            connection = http.client.HTTPSConnection(ANOTHER_ADDRESS, port, context=context, timeout=60)
        else:
            connection = http.client.HTTPConnection(ANOTHER_ADDRESS, port, timeout=60)
        connection.request("GET", "/demo.json")
        assert connection.getresponse().status == 200
        printed, said, code = end()
        assert read_qr(printed) == url
        assert ("accept the browser's warning" in printed) is https
        assert ("without --https" in said) is not https
        assert code == 130
