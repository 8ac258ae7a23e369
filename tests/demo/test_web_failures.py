"""The web demo when something around it is wrong: no server, another model, damage, no GPU, no https."""

import base64
import json
from dataclasses import replace

import pytest
from browser_material import SAMPLES, agreement, chromium, served, serving, two_threads, until

from seg_core.manifest import load_manifest
from seg_demo.golden import compute_golden
from seg_demo.site import WEB_DIRECTORY, build_site

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]


def kept_paths(page):
    """Return the paths of what the service worker keeps."""
    return page.driver.execute_async_script(
        "const done = arguments[0]; caches.keys().then((names) => caches.open(names[0])).then((cache) => cache.keys())"
        ".then((requests) => done(requests.map(({ url }) => new URL(url).pathname)));"
    )


@pytest.mark.parametrize("kind", ["onnx", "tflite"])
def test_the_page_works_when_its_server_is_gone(models, kind):
    with served(models[kind]) as (url, process), chromium() as page:
        assert page.open(url) == "ready"
        assert page.facts["Offline"].startswith("yes")
        # What the slowest backend needs, too, whatever is in use today.
        until(
            lambda: any(
                "wasm_internal.wasm" in path or "ort-wasm-simd-threaded.wasm" in path for path in kept_paths(page)
            )
        )
        process.terminate()
        process.wait(timeout=20)
        assert page.open(url) == "ready", page.problem
        assert page.run("return crossOriginIsolated")  # the kept answers keep their headers
        page.choose_photo(SAMPLES / "astronaut.png")
        assert agreement(page, models[kind]) == 1.0
        assert page.open(f"{url}?backend=wasm") == "ready", page.problem
        assert page.facts["Runs on"] == "WebAssembly"


def test_another_network_at_the_same_address_replaces_the_kept_one(models):
    manifests = {kind: load_manifest(model) for kind, model in models.items()}
    site = build_site(models["onnx"], manifests["onnx"], None)
    with serving(site) as url, chromium() as page:
        assert page.open(url) == "ready"
        assert any(path.endswith("face.onnx") for path in kept_paths(page))
        site.clear()
        site.update(build_site(models["tflite"], manifests["tflite"], None))
        assert page.open(url) == "ready", page.problem
        assert page.find("model").text == "face.tflite"
        # The service worker drops and keeps while the page runs already.
        until(lambda: not any(path.endswith(".onnx") or "onnxruntime" in path for path in kept_paths(page)))
        until(lambda: any(path.endswith("face.tflite") for path in kept_paths(page)))


def test_a_model_that_changed_after_export_is_refused(models, tmp_path):
    model = tmp_path / "face.onnx"
    data = bytearray(models["onnx"].read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(data)
    site = build_site(model, load_manifest(models["onnx"]), None)
    with serving(site) as url, chromium() as page:
        assert page.open(url) == "failed"
        assert page.status == "The network could not be started."
        assert "is not the manifest's" in page.problem
        assert "export it again" in page.problem
        assert page.find("camera").get_attribute("disabled")
        # Exported again it has the same address, under which caches have kept the damaged one.
        model.write_bytes(models["onnx"].read_bytes())
        assert page.open(url) == "ready", page.problem
        assert "SHA-256 as in its manifest" in page.facts["File"]


@pytest.mark.parametrize("kind", ["onnx", "tflite"])
def test_a_corrupt_model_is_refused(models, tmp_path, kind):
    manifest = load_manifest(models[kind])
    model = tmp_path / models[kind].name
    model.write_bytes(models[kind].read_bytes()[:100_000] + bytes(50_000))
    unhashed = replace(manifest.artifact, bytes=None, sha256=None)
    site = build_site(model, replace(manifest, artifact=unhashed), None)
    with serving(site) as url, chromium() as page:
        assert page.open(url) == "failed"
        assert page.problem.startswith("the network does not run here. WebAssembly")
        assert "\n" not in page.problem


def test_a_broken_manifest_is_refused(models):
    manifest = load_manifest(models["onnx"])
    site = build_site(models["onnx"], manifest, None)
    (path,) = (path for path in site if path.endswith(".onnx.json"))
    broken = json.loads(manifest.to_json())
    broken["preprocess"]["resize"] = "fill"
    site[path] = replace(site[path], content=json.dumps(broken).encode())
    with serving(site) as url, chromium() as page:
        assert page.open(url) == "failed"
        assert page.problem.startswith("manifest.preprocess.resize: expected one of stretch, letterbox, center_crop")


def test_backends_that_fail_their_check_are_not_used(models):
    manifest = load_manifest(models["onnx"])
    golden = json.loads(compute_golden(models["onnx"], manifest))
    site = build_site(models["onnx"], manifest, json.dumps(golden | {"tensor_fnv1a64": "0" * 16}))
    with serving(site) as url, chromium() as page:
        assert page.open(url) == "failed"
        assert "instead of 0000000000000000" in page.problem
    reversed_labels = base64.b64encode(base64.b64decode(golden["labels"])[::-1]).decode()
    wrong = json.dumps(golden | {"labels": reversed_labels})
    with serving(build_site(models["onnx"], manifest, wrong)) as url, chromium() as page:
        assert page.open(url) == "failed"
        assert "too few to be trusted" in page.problem


#: Scores of the wrong sign, which a GPU's or a compiler's mistake may well give, on all but one backend.
WRONG_SCORES = "values = await results[output.name].getData(true); if (BROKEN) values = values.map((value) => -value)"
PROMISED_GPU = "Object.defineProperty(navigator, 'gpu', { value: { requestAdapter: async () => ({}) } });"


def test_backends_are_tried_fastest_first_until_one_labels_rightly(models):
    manifest = load_manifest(models["onnx"])
    site = build_site(models["onnx"], manifest, compute_golden(models["onnx"], manifest))
    source = (WEB_DIRECTORY / "src" / "runtime-ort.js").read_text(encoding="utf-8")
    for old, new in {
        "const values = await results[output.name].getData(true)": f"let {WRONG_SCORES}",
        # No GPU here: WebAssembly plays its part, and is as wrong.
        "[backend === 'webgpu' ? 'webgpu' : 'wasm']": "['wasm']",
        "BROKEN": "backend !== 'wasm'",
    }.items():
        assert source.count(old) == 1
        source = source.replace(old, new)
    site["/src/runtime-ort.js"] = replace(site["/src/runtime-ort.js"], file=None, content=source.encode())
    with serving(site) as url, chromium() as page:
        two_threads(page)
        page.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": PROMISED_GPU})
        assert page.open(url) == "ready", page.problem
        assert page.facts["Runs on"] == "WebAssembly"
        tried = page.facts["Not used"].split(" | ")
        assert [reason.partition(": ")[0] for reason in tried] == ["WebGPU", "WebAssembly threads"]
        assert [reason.endswith("of the golden picture, too few to be trusted") for reason in tried] == [True, True]
        page.choose_photo(SAMPLES / "astronaut.png")
        assert agreement(page, models["onnx"]) == 1.0


def test_what_cannot_be_kept_is_said(models):
    site = build_site(models["onnx"], load_manifest(models["onnx"]), None)
    del site["/icons/icon-512.png"]
    with serving(site) as url, chromium() as page:
        assert page.open(url) == "ready", page.problem
        assert page.facts["Offline"] == "no: the browser could not keep the files of this page"


def test_the_next_backend_is_tried_when_one_fails(onnx_url):
    with chromium() as page:
        # A GPU that is promised and then not there.
        page.driver.execute_cdp_cmd(
            "Page.addScriptToEvaluateOnNewDocument",
            {"source": "Object.defineProperty(navigator.gpu, 'requestAdapter', { value: async () => ({}) });"},
        )
        assert page.open(onnx_url) == "ready", page.problem
        assert page.facts["Runs on"].startswith("WebAssembly")
        assert page.facts["Not used"].startswith("WebGPU: ")


def test_the_next_backend_is_tried_when_one_hangs(models):
    site = build_site(models["onnx"], load_manifest(models["onnx"]), None)
    source = (WEB_DIRECTORY / "src" / "runtime-ort.js").read_text(encoding="utf-8")
    start = "runtime }) {"
    assert source.count(start) == 1
    hanging = source.replace(start, f"{start} if (threads > 1) await new Promise(() => {{}});")
    site["/src/runtime-ort.js"] = replace(site["/src/runtime-ort.js"], file=None, content=hanging.encode())
    with serving(site) as url, chromium() as page:
        two_threads(page)
        assert page.open(url) == "ready", page.problem
        assert page.facts["Runs on"] == "WebAssembly"
        assert page.facts["Not used"] == "WebAssembly threads: did not start within 30 s"


def test_plain_http_on_the_network_does_without(models, camera):
    with served(models["onnx"], "--host", "0.0.0.0") as (url, _), chromium(*camera) as page:
        assert "127.0.0.1" not in url
        assert page.open(url) == "ready", page.problem
        assert not page.run("return isSecureContext")
        assert page.facts["Runs on"] == "WebAssembly"
        assert page.facts["File"].endswith("hash not checked")
        assert page.facts["Offline"] == "no: browsers keep pages of https and localhost only"
        page.choose_photo(SAMPLES / "astronaut.png")
        assert agreement(page, models["onnx"]) == 1.0
        page.find("camera").click()
        page.wait("return !document.getElementById('problem').hidden")
        assert page.problem.endswith("serve this page with --https.")
        two_threads(page)
        assert page.open(f"{url}?backend=wasm-threads") == "failed"
        assert page.problem.endswith("WebAssembly threads: threads need a cross-origin isolated page")


def test_https_on_the_network_gives_the_camera(models, camera):
    with served(models["onnx"], "--host", "0.0.0.0", "--https") as (url, _), chromium(*camera, insecure=True) as page:
        assert page.open(url) == "ready", page.problem
        assert page.run("return isSecureContext && crossOriginIsolated")
        assert "SHA-256 as in its manifest" in page.facts["File"]
        page.find("camera").click()
        page.wait("return segproof.count > 3")
        assert page.problem == ""
