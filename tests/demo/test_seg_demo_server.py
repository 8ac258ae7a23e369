"""The demo's server: a closed table, the right headers, and one clear line for everything that is missing."""

import errno
import http.client
import json
import os
import socket
import ssl
import struct
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from urllib.parse import urljoin, urlsplit

import numpy as np
import pytest
from click.testing import CliRunner

from seg_core import ArtifactError, ConfigError, LabelSet, ModelSpec, PostprocessSpec, PreprocessSpec, TensorSpec
from seg_core.geometry import Geometry, Roi
from seg_core.manifest import ArtifactInfo, GraphSpec, Manifest
from seg_core.reference import reference_preprocess
from seg_demo.address import draw_qr, make_url, reachable_host, write_certificate
from seg_demo.cli import demo_command
from seg_demo.golden import SEED, SOURCE_HW, draw_picture, hash_bytes
from seg_demo.server import create_server, is_loopback
from seg_demo.site import CONTENT_TYPES, WEB_DIRECTORY, build_site

MODEL = b"not really a network"


def make_manifest(target="onnx", file="net.onnx"):
    spec = PreprocessSpec((8, 8))
    image = TensorSpec("image", "image", spec.tensor_shape, "float32", "nchw")
    logits = TensorSpec("logits", "logits", (1, 2, 8, 8), "float32", "nchw")
    info = ArtifactInfo(file, target, "fp32", len(MODEL), "a" * 64)
    labels = LabelSet(("a", "b"))
    return Manifest(info, ModelSpec("net", 2), spec, PostprocessSpec(), labels, GraphSpec(), (image,), (logits,))


@pytest.fixture
def artifact(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(MODEL)
    return path


@contextmanager
def running(site, host="127.0.0.1", **options):
    server = create_server(site, host, 0, **options)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def port(web, artifact):
    with running(build_site(artifact, make_manifest(), '{"seed": 1}', web)) as port:
        yield port


def ask(port, path, method="GET", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def test_page_and_model_are_served(port):
    assert ask(port, "/")[1] == b"this is index.html"
    assert ask(port, "/index.html?backend=wasm")[1] == b"this is index.html"
    offer = json.loads(ask(port, "/demo.json")[1])
    assert ask(port, f"/{offer['model']}")[1] == MODEL
    assert json.loads(ask(port, f"/{offer['manifest']}")[1])["artifact"]["file"] == "net.onnx"
    assert json.loads(ask(port, f"/{offer['golden']}")[1]) == {"seed": 1}
    assert ask(port, f"/{offer['vectors']}")[1] == b"kind\n"
    assert ask(port, f"/{offer['runtimes']['onnx']}ort-wasm-simd-threaded.wasm")[1] == b"\0asm"


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/src/app.js", "text/javascript; charset=utf-8"),
        ("/manifest.webmanifest", "application/manifest+json; charset=utf-8"),
        ("/vendor/onnxruntime-web-9.8.7/ort.wasm.bundle.min.mjs", "text/javascript; charset=utf-8"),
        ("/vendor/onnxruntime-web-9.8.7/ort-wasm-simd-threaded.wasm", "application/wasm"),
        ("/model/aaaaaaaaaaaaaaaa/net.onnx", "application/octet-stream"),
    ],
)
def test_content_types(port, path, content_type):
    response, body = ask(port, path)
    assert (response.status, response.headers["Content-Type"]) == (200, content_type)
    assert int(response.headers["Content-Length"]) == len(body) > 0


def test_every_answer_has_the_protective_headers(port):
    for path in ("/", "/demo.json", "/nothing"):
        headers = ask(port, path)[0].headers
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert headers["X-Content-Type-Options"] == "nosniff"
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "connect-src 'self'" in policy
        assert "unsafe-inline" not in policy
        assert "'unsafe-eval'" not in policy


def test_isolation_can_be_left_out(web, artifact):
    with running(build_site(artifact, make_manifest(), None, web), isolated=False) as port:
        response, _ = ask(port, "/")
        assert response.headers["Cross-Origin-Opener-Policy"] is None
        assert response.headers["Cross-Origin-Embedder-Policy"] is None
        assert response.headers["Content-Security-Policy"]
        assert json.loads(ask(port, "/demo.json")[1])["golden"] is None


@pytest.mark.parametrize(
    "path",
    [
        "/secret.txt", "/../secret.txt", "/src/../secret.txt", "/%2e%2e/secret.txt", "/src/%2e%2e%2fsecret.txt",
        "/..%5csecret.txt", "//secret.txt", "/src/", "/src", "/model/", "/vendor/onnxruntime-web-9.8.7/secret.js",
        "/node_modules/onnxruntime-web/package.json", "/package.json", "/etc/passwd", "/src/app.js/", "/src/app.js%00",
        "/%252e%252e/secret.txt", "/src/..%252f..%252fsecret.txt", "/%c0%ae%c0%ae/secret.txt", "/.%2e/.%2e/etc/passwd",
        "/src/%2e%2e%2f%2e%2e%2f%2e%2e%2fetc/passwd", "/icons", "/icons/", "/vendor/", "/vendor/onnxruntime-web-9.8.7/",
        "/model/aaaaaaaaaaaaaaaa/", "/link.txt", "/link/", "/link/passwd", "/src/link/passwd", "/src/link.txt",
    ],
)  # fmt: skip
def test_nothing_else_exists(web, port, path):
    for name in ("link", "src/link"):
        (web / name).symlink_to("/etc", target_is_directory=True)
        (web / f"{name}.txt").symlink_to("/etc/passwd")
    response, body = ask(port, path)
    assert response.status == 404
    assert body == b"404 Not Found\n"


def test_other_methods_are_refused_and_head_has_no_body(port):
    assert ask(port, "/", "POST")[0].status == 501
    assert ask(port, "/", "DELETE")[0].status == 501
    response, body = ask(port, "/", "HEAD")
    assert (response.status, body) == (200, b"")
    assert int(response.headers["Content-Length"]) > 0


def test_unchanged_files_are_not_sent_again(port, web):
    first, _ = ask(port, "/src/app.js")
    assert first.headers["Cache-Control"] == "no-cache"
    again, body = ask(port, "/src/app.js", If_None_Match=first.headers["ETag"])
    assert (again.status, body) == (304, b"")
    (web / "src" / "app.js").write_text("another", encoding="utf-8")
    assert ask(port, "/src/app.js", If_None_Match=first.headers["ETag"])[1] == b"another"
    assert "immutable" in ask(port, "/model/aaaaaaaaaaaaaaaa/net.onnx")[0].headers["Cache-Control"]


def test_a_file_that_went_away_is_gone(port, artifact):
    artifact.unlink()
    assert ask(port, "/model/aaaaaaaaaaaaaaaa/net.onnx")[0].status == 410


def test_another_name_for_this_machine_is_refused(port):
    assert ask(port, "/", Host="evil.example:80")[0].status == 421
    assert ask(port, "/", Host=f"localhost:{port}")[0].status == 200
    assert ask(port, "/", Host=f"[::1]:{port}")[0].status == 200


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True), ("127.3.2.1:80", True), ("localhost:8000", True), ("LOCALHOST", True), ("::1", True),
        ("[::1]:8000", True), ("[::1]", True), ("0.0.0.0", False), ("192.168.1.2:8000", False), ("", False),
        ("localhost.evil.example", False), ("::", False), ("evil.example:127", False),
    ],
)  # fmt: skip
def test_loopback_is_told_apart(host, loopback):
    assert is_loopback(host) is loopback


def test_a_silent_visitor_holds_nobody_up(port):
    with socket.create_connection(("127.0.0.1", port)):
        assert ask(port, "/")[0].status == 200


def test_https_with_a_certificate_of_its_own(web, artifact, tmp_path):
    pair = write_certificate(tmp_path, "127.0.0.1")
    assert pair[1].stat().st_mode & 0o077 == 0
    site = build_site(artifact, make_manifest(), None, web)
    with running(site, certificate=pair) as port, socket.create_connection(("127.0.0.1", port)):
        context = ssl.create_default_context(cafile=str(pair[0]))
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=10)
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"this is index.html"
        connection.close()


def wait_for_visitors():
    for thread in threading.enumerate():
        if "process_request_thread" in thread.name:
            thread.join(timeout=10)
            assert not thread.is_alive()


def test_visitors_that_break_off_leave_nothing_in_the_terminal(web, artifact, tmp_path, capsys):
    pair = write_certificate(tmp_path, "127.0.0.1")
    with running(build_site(artifact, make_manifest(), None, web), certificate=pair) as port:
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=ssl.create_default_context(), timeout=10)
        with pytest.raises(ssl.SSLCertVerificationError):  # a phone before its owner accepts the warning
            connection.request("GET", "/")
        with pytest.raises((http.client.HTTPException, OSError)):
            ask(port, "/")  # http:// typed for https://
        with socket.create_connection(("127.0.0.1", port)) as visitor:  # gone in the midst of a handshake
            visitor.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            visitor.sendall(b"\x16\x03\x01\x02\0")
        wait_for_visitors()
        connection = http.client.HTTPSConnection(
            "127.0.0.1", port, context=ssl.create_default_context(cafile=str(pair[0])), timeout=10
        )
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
        connection.close()
        wait_for_visitors()
    assert capsys.readouterr() == ("", "")


def test_a_file_that_cannot_be_read_is_said_in_one_line(web, artifact, capsys, monkeypatch):
    site = build_site(artifact, make_manifest(), None, web)

    def refuse(path, mode):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    with running(site) as port:
        monkeypatch.setattr(type(artifact), "open", refuse)
        with pytest.raises((http.client.HTTPException, OSError)):
            ask(port, "/")
        wait_for_visitors()
    assert capsys.readouterr().err == f"error: {web / 'index.html'}: cannot be sent (Permission denied)\n"


@pytest.mark.parametrize("name", ["my #1.onnx", "what?.onnx", "100%23.onnx", "Gesicht ü;a&b+c.onnx"])
def test_any_name_of_a_file_can_be_fetched(web, tmp_path, name):
    path = tmp_path / name
    path.write_bytes(MODEL)
    with running(build_site(path, make_manifest(file=name), None, web)) as port:
        offer = json.loads(ask(port, "/demo.json")[1])
        for key in ("model", "manifest"):
            # As `new URL(…)` of the page: what follows # stays at home, what follows ? is no part of the path.
            parts = urlsplit(urljoin("http://127.0.0.1/", offer[key]))
            assert ask(port, parts.path)[0].status == 200, offer[key]
        assert ask(port, urlsplit(f"/{offer['model']}").path)[1] == MODEL


def test_what_is_no_certificate_is_said(web, artifact):
    with pytest.raises(ConfigError, match="no certificate and key in PEM"):
        create_server(build_site(artifact, make_manifest(), None, web), "127.0.0.1", 0, certificate=(artifact,) * 2)


def test_a_port_in_use_is_said(web, artifact):
    site = build_site(artifact, make_manifest(), None, web)
    with running(site) as port, pytest.raises(ConfigError, match=rf"--port {port}: cannot listen there"):
        create_server(site, "127.0.0.1", port)


def test_missing_npm_packages_are_said_in_one_line(web, artifact):
    for change in (
        lambda ort: (ort / "dist" / "ort-wasm-simd-threaded.wasm").unlink(),
        lambda ort: (ort / "package.json").write_text("{", encoding="utf-8"),
        lambda ort: (ort / "package.json").unlink(),
    ):
        change(web / "node_modules" / "onnxruntime-web")
        with pytest.raises(ConfigError, match="run  npm ci --prefix") as caught:
            build_site(artifact, make_manifest(), None, web)
        assert "\n" not in str(caught.value)
        assert str(web) in str(caught.value)
    with pytest.raises(ConfigError, match=r"@litertjs/core.*run  npm ci"):
        build_site(artifact, make_manifest("tflite", "net.tflite"), None, web)


def test_an_installed_package_without_the_page_is_said(artifact, tmp_path):
    with pytest.raises(ConfigError, match="run seg-demo from a checkout"):
        build_site(artifact, make_manifest(), None, tmp_path)


def test_what_browsers_do_not_run_is_said(artifact, web):
    with pytest.raises(ArtifactError, match=r"runs \.onnx and \.tflite"):
        build_site(artifact, make_manifest("torchscript"), None, web)


def test_bare_names_of_litert_are_made_relative(web, artifact):
    packages = web / "node_modules" / "@litertjs"
    for path in ("core/dist/index.js", "core/wasm/litert_wasm_internal.wasm", "wasm-utils/dist/index.js"):
        (packages / path).parent.mkdir(parents=True, exist_ok=True)
        (packages / path).write_text('import { x } from "@litertjs/wasm-utils";', encoding="utf-8")
    (packages / "core" / "package.json").write_text('{"version": "1.2.3"}', encoding="utf-8")
    manifest = make_manifest("tflite", "net.tflite")
    site = build_site(artifact, manifest, None, web)
    assert site["/vendor/litertjs-core-1.2.3/index.js"].content == b'import { x } from "./wasm-utils.js";'
    assert site["/vendor/litertjs-core-1.2.3/wasm/litert_wasm_internal.wasm"].content_type == "application/wasm"
    (packages / "core" / "dist" / "index.js").write_text("bundled differently", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"another LiteRT\.js"):
        build_site(artifact, manifest, None, web)


def test_every_file_of_the_real_page_has_a_content_type():
    sources = [path for path in WEB_DIRECTORY.rglob("*") if path.is_file() and "node_modules" not in path.parts]
    served = [path for path in sources if path.parent.name in ("src", "icons") or path.name in ("index.html", "sw.js")]
    assert len(served) > 20
    assert {path.suffix for path in served} <= set(CONTENT_TYPES)


def test_golden_picture_is_that_of_the_vectors():
    picture = draw_picture(SEED, SOURCE_HW)
    assert picture.shape == (*SOURCE_HW, 3)
    assert draw_picture(2463534242, (1, 1))[0, 0, 0] == 723471715 >> 24  # Marsaglia's seed and first output
    assert hash_bytes(b"foobar") == "85944171f73967e8"
    tensor, geometry = reference_preprocess(PreprocessSpec((8, 8)), picture)
    assert tensor.shape == (1, 3, 8, 8)
    assert geometry == Geometry(SOURCE_HW, Roi(0, 0, *SOURCE_HW), (8, 8), (0, 0), (8, 8))


def test_golden_numbers_are_the_same_in_page_and_server():
    source = (WEB_DIRECTORY / "src" / "protocol.js").read_text(encoding="utf-8")
    assert f"seed: {SEED}," in source
    assert f"([{SOURCE_HW[0]}, {SOURCE_HW[1]}])" in source


def test_address_and_qr_code():
    assert make_url("::1", 80, secure=False) == "http://[::1]:80/"
    assert reachable_host("10.1.2.3") == "10.1.2.3"
    assert reachable_host("0.0.0.0") not in ("", "0.0.0.0")
    drawn = draw_qr("https://192.168.1.2:8000/")
    assert len(drawn.splitlines()) > 12
    assert set("▀▄█") & set(drawn)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.onnx"], "no such artifact"),
        (["net.onnx", "--key", "key.pem"], "give both or none"),
    ],
)
def test_command_fails_with_one_line(arguments, message):
    done = CliRunner().invoke(demo_command, arguments)
    assert done.exit_code == 1
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_help_needs_nothing_but_click():
    code = (
        "import sys\n"
        "for name in ('numpy', 'cv2', 'segno', 'cryptography', 'torch', 'onnxruntime'): sys.modules[name] = None\n"
        "from seg_demo.cli import demo_command\n"
        "demo_command(['--help'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert "seg-demo build/export/model.onnx" in done.stdout


def test_manifest_is_served_without_loss(web, artifact):
    manifest = replace(make_manifest(), provenance={"note": "ü", "list": [1, 2.5]})
    site = build_site(artifact, manifest, None, web)
    served = json.loads(site["/model/aaaaaaaaaaaaaaaa/net.onnx.json"].content)
    assert served == json.loads(manifest.to_json())
    assert np.isclose(served["preprocess"]["scale"], 1 / 255, rtol=0, atol=0)
