"""The C++ port: built, held to the golden vectors on two processors, and to Python's labels on real photographs."""

import csv
import json
import os
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from browser_material import CHECKPOINT, ROOT, SAMPLES, find_program
from cpp_material import carry_cases, draw_bytes, draw_files

from seg_core import Predictor, Roi, plan_geometry, reference_preprocess
from seg_core.images import load_image, load_mask
from seg_core.prior import carry_labels
from seg_core.visualize import overlay
from seg_demo.golden import hash_bytes

SOURCES = ROOT / "mobile_demo" / "cpp"
#: Kept between runs: a rebuild of nothing takes a second.
BUILD = ROOT / "build" / "cpp"
VECTORS = ROOT / "mobile_demo" / "vectors" / "vectors.csv"
ROIS = json.loads((SAMPLES / "rois.json").read_text(encoding="utf-8"))

pytestmark = [pytest.mark.cpp, pytest.mark.slow, pytest.mark.timeout(1500)]


def run(command, **options):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)


@pytest.fixture(scope="module")
def tree():
    """The built tree; each header that is missing is a package of mobile_demo/cpp/README.md."""
    cmake = find_program("cmake")
    find_program("c++", "g++", "clang++")
    find_program("aarch64-linux-gnu-g++")
    find_program("qemu-aarch64", "qemu-aarch64-static")
    done = run([cmake, "-S", SOURCES, "-B", BUILD, "-DSEGPROOF_ALSO=ON"])
    assert done.returncode == 0, done.stdout + done.stderr
    done = run([cmake, "--build", BUILD])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in done.stdout + done.stderr
    return BUILD


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The bundled network as ONNX."""
    out = tmp_path_factory.mktemp("models")
    code = "from seg_export.cli import export_command; export_command()"
    done = run([sys.executable, "-c", code, CHECKPOINT, "--target", "onnx", "--name", "face", "--out", out])
    assert done.returncode == 0, done.stdout + done.stderr
    return out / "face.onnx"


@pytest.fixture(scope="module")
def tool(tree):
    """Run segproof-cpp with the runtime of the Python wheel."""
    import onnxruntime

    (library,) = (Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*")

    def call(*arguments, runtime=library, folder=tree):
        return run([folder / "segproof-cpp", *arguments], env=os.environ | {"SEGPROOF_ORT": str(runtime)})

    return call


def build_by_ctest(tree, name):
    """Build and test one of the further trees, which ctest does; returns its folder."""
    done = run([find_program("ctest"), "--test-dir", tree, "--tests-regex", f"^{name}$", "--output-on-failure"])
    assert done.returncode == 0, done.stdout
    return tree / name


@pytest.fixture(scope="module")
def sanitized(tree):
    """The tree that is built with AddressSanitizer and UndefinedBehaviorSanitizer."""
    return build_by_ctest(tree, "sanitizers")


@pytest.fixture(scope="module")
def arm(tree):
    """The tree that is built for 64-bit ARM."""
    return build_by_ctest(tree, "aarch64")


def refused(done, *parts, code=1):
    """Whether the tool ended with `code` and one line that holds `parts`."""
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stdout == ""
    assert re.fullmatch(r"error: [^\n]+\n", done.stderr), done.stderr
    assert [part for part in parts if part not in done.stderr] == [], done.stderr
    return True


def test_ctest_passes(tree):
    done = run([find_program("ctest"), "--test-dir", tree, "--output-on-failure"])
    assert done.returncode == 0, done.stdout
    for name in ("contract_test", "files_test", "aarch64", "sanitizers"):
        assert re.search(rf"{name} \.+ +Passed", done.stdout), done.stdout
    assert "ARM aarch64" in describe_elf(tree / "aarch64" / "test" / "contract_test")


@pytest.mark.parametrize("processor", ["x86-64", "ARM aarch64"])
def test_every_golden_vector_is_reproduced(tree, arm, processor):
    program, emulator = tree / "test" / "contract_test", []
    if processor == "ARM aarch64":
        program = arm / "test" / "contract_test"
        emulator = [find_program("qemu-aarch64", "qemu-aarch64-static"), "-L", "/usr/aarch64-linux-gnu"]
    assert describe_elf(program) == processor
    done = run([*emulator, program, "--test-case=every golden vector*"])
    assert done.returncode == 0, done.stdout
    with VECTORS.open(newline="", encoding="utf-8") as stream:
        norms = [row["norm"] for row in csv.DictReader(stream)]
    floats = len(norms) - norms.count("raw")
    assert floats > 50
    assert f"{len(norms)} golden vectors are reproduced, {floats} of them float32" in done.stdout


def test_the_build_is_as_strict_as_is_said(tree, arm, sanitized):
    for folder in (tree, arm, sanitized):
        for target in ("segproof", "test/contract_test"):
            name = Path(target).name
            flags = folder / Path(target).parent / "CMakeFiles" / f"{name}.dir" / "flags.make"
            options = flags.read_text(encoding="utf-8").split()
            wanted = {"-Wall", "-Wextra", "-Werror", "-ffp-contract=off", "-std=c++17"}
            assert wanted <= set(options), flags
    for program in ("test/contract_test", "test/files_test", "segproof-cpp"):
        code = (sanitized / program).read_bytes()
        assert b"__asan_report_" in code, program
        assert b"__ubsan_handle_" in code, program
        assert b"__asan_report_" not in (tree / program).read_bytes()


def describe_elf(path):
    """Return the processor that a program was built for."""
    machine = struct.unpack_from("<H", path.read_bytes(), 18)[0]
    return {62: "x86-64", 183: "ARM aarch64"}[machine]


@pytest.mark.parametrize("name", sorted(ROIS))
def test_labels_are_those_of_python(tool, model, tmp_path, name):
    image = load_image(SAMPLES / name)
    with Predictor.open(model) as predictor:
        for roi in (None, Roi(*ROIS[name])):
            arguments = [] if roi is None else ["--roi", str(roi)]
            done = tool(model, SAMPLES / name, tmp_path / "o.png", "--mask", tmp_path / "m.png", *arguments)
            assert done.returncode == 0, done.stderr
            labels = predictor.predict(image, roi).labels
            assert len(np.unique(labels)) > 5
            assert np.array_equal(load_mask(tmp_path / "m.png"), labels)
            drawn = load_image(tmp_path / "o.png").astype(int)
            assert np.abs(drawn - overlay(image, labels, predictor.labels)).max() <= 1


def test_the_manifest_inside_a_model_is_read(tool, model, tmp_path):
    lone = shutil.copy(model, tmp_path / "lone.onnx")
    done = tool(lone, SAMPLES / "astronaut.png", tmp_path / "o.png", "--mask", tmp_path / "m.png")
    assert done.returncode == 0, done.stderr
    with Predictor.open(model) as predictor:
        labels = predictor.predict(load_image(SAMPLES / "astronaut.png")).labels
    assert np.array_equal(load_mask(tmp_path / "m.png"), labels)


def test_scores_are_resized_as_python_resizes_them(tool, model, tmp_path):
    changed = with_manifest(model, tmp_path, lambda data: data["postprocess"].update(resize="logits"))
    done = tool(changed, SAMPLES / "astronaut.png", tmp_path / "o.png", "--mask", tmp_path / "m.png")
    assert done.returncode == 0, done.stderr
    with Predictor.open(changed) as predictor:
        labels = predictor.predict(load_image(SAMPLES / "astronaut.png")).labels
    # Bilinear scores are not prescribed to the last bit: single pixels of a border may fall to either side.
    assert (load_mask(tmp_path / "m.png") == labels).mean() >= 0.9999


def with_manifest(model, folder, change):
    """Return a copy of `model` in `folder` with a manifest that `change` was applied to."""
    copied = Path(shutil.copy(model, folder / "changed.onnx"))
    data = json.loads(Path(f"{model}.json").read_text(encoding="utf-8"))
    change(data)
    Path(f"{copied}.json").write_text(json.dumps(data), encoding="utf-8")
    return copied


def test_what_is_wrong_is_said_in_one_line(tool, model, tmp_path):
    photo, out = SAMPLES / "astronaut.png", tmp_path / "o.png"
    out.write_bytes(b"an older result")
    broken = tmp_path / "broken.png"
    broken.write_bytes(photo.read_bytes()[:5000])
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(model.read_bytes()[:-1000])
    text = tmp_path / "text.so"
    text.write_text("no library")
    assert refused(tool(model, tmp_path / "none.png", out), "none.png", "no such file")
    assert refused(tool(model, broken, out), "broken.png", "cut short")
    assert refused(tool(model, model, out), "face.onnx", "not a PNG, JPEG")
    assert refused(tool(damaged, photo, out), "damaged.onnx", "not a readable ONNX file")
    assert refused(tool(model, photo, out, runtime=text), "cannot be loaded", "--ort")
    assert refused(tool(model, photo, out, "--roi", "0,0,9999"), "region 0,0,9999,9999", "512x512")
    assert refused(tool(model, photo, tmp_path / "no" / "o.png"), "no/o.png", "cannot be written")
    assert refused(tool(model, photo), "MODEL.onnx IMAGE OVERLAY.png", code=2)
    assert refused(tool(model, photo, tmp_path / "o.jpg"), "written as .png", code=2)
    assert refused(tool(model, photo, out, "--roi", "1,2"), "TOP,LEFT,SIDE", code=2)
    assert refused(tool(model, photo, out, "--sharpen", "1"), "no such option", code=2)
    assert out.read_bytes() == b"an older result"
    assert [path.name for path in tmp_path.iterdir() if ".part" in path.name] == []
    shown = tool("--help")
    assert shown.returncode == 0
    assert "--mask" in shown.stdout


def test_manifests_that_do_not_fit_the_model_are_refused(tool, model, tmp_path):
    photo, out = SAMPLES / "astronaut.png", tmp_path / "o.png"

    def call(change):
        return tool(with_manifest(model, tmp_path, change), photo, out)

    assert refused(call(lambda data: data["artifact"].update(sha256="0" * 64)), "SHA-256", "export it again")
    assert refused(call(lambda data: data["inputs"][0].update(name="x")), "no input 'x'")
    assert refused(call(lambda data: data["outputs"][0].update(name="y")), "no output 'y'")
    assert refused(call(lambda data: data["preprocess"].update(size_hw=[128, 128])), "inputs[0]")
    assert refused(call(lambda data: data["postprocess"].update(crf={})), "postprocess.crf")
    assert refused(call(lambda data: data.update(schema_version=2)), "schema_version")
    assert refused(call(lambda data: data["labels"].update(sheen=1)), "manifest.labels.sheen: unknown field")

    def shrink(data):
        data["preprocess"]["size_hw"] = [128, 128]
        data["inputs"][0]["shape"] = [1, 3, 128, 128]
        data["outputs"][0]["shape"][2:] = [128, 128]

    assert refused(call(shrink), "changed.onnx")  # the runtime's own complaint about the shape
    assert not out.exists()


def test_pictures_are_decoded_as_python_decodes_them(tree, tmp_path):
    files = [*draw_files(tmp_path), SAMPLES / "astronaut.png", SAMPLES / "grace_hopper.png"]
    done = run([tree / "test" / "segproof-check", "decode", *files])
    assert done.returncode == 0, done.stderr
    images = [load_image(path) for path in files]
    expected = [f"{image.shape[0]} {image.shape[1]} {hash_bytes(image.tobytes())}" for image in images]
    found = done.stdout.splitlines()
    assert dict(zip(files, found, strict=True)) == dict(zip(files, expected, strict=True))


def test_previous_labels_are_fed_as_python_feeds_them(tree, model):
    manifest = json.loads(Path(f"{model}.json").read_text(encoding="utf-8"))
    cases, expected = [], []
    for spec, case in carry_cases(manifest):
        labels = (draw_bytes(case["seed"], 120) % case["classes"]).reshape(12, 10)  # one label has no value
        regions = [case[name] and Roi(*case[name]) for name in ("roi_before", "roi_after")]
        old = plan_geometry(case["before"], spec, regions[0])
        prior = carry_labels(labels, old, plan_geometry(case["after"], spec, regions[1]))
        height, width = case["after"]
        picture = draw_bytes(case["seed"], height * width * 3).reshape(height, width, 3)
        tensor, _ = reference_preprocess(spec, picture, regions[1], prior)
        expected.append(hash_bytes(tensor.tobytes()))
        cases.append(json.dumps(case))
    done = run([tree / "test" / "segproof-check", "carry"], input="\n".join(cases))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == expected
    assert len(set(expected)) > 0.9 * len(expected) > 60


def test_the_tool_is_clean_under_sanitizers(tool, sanitized, model, tmp_path):
    photo, mask = SAMPLES / "astronaut.png", tmp_path / "m.png"
    done = tool(model, photo, tmp_path / "o.png", "--mask", mask, folder=sanitized)
    assert done.returncode == 0, done.stderr
    with Predictor.open(model) as predictor:
        assert np.array_equal(load_mask(mask), predictor.predict(load_image(photo)).labels)
    copied = Path(shutil.copy(model, tmp_path / "copied.onnx"))
    text, small = Path(f"{model}.json").read_bytes(), cv2.imencode(".png", load_image(photo)[::8, ::8])[1].tobytes()
    generator, codes = np.random.default_rng(11), []
    for _ in range(40):
        Path(f"{copied}.json").write_bytes(damage(generator, text))
        (tmp_path / "small.png").write_bytes(damage(generator, small) if generator.integers(2) else small)
        done = tool(copied, tmp_path / "small.png", tmp_path / "o.png", folder=sanitized)
        assert done.returncode == 0 or refused(done)
        codes.append(done.returncode)
    assert sum(codes) > 20


def damage(generator, data):
    """Return `data` with a few of its bytes changed, or cut short."""
    changed = bytearray(data)
    for at in generator.integers(0, len(data), generator.integers(1, 4)):
        changed[at] = generator.integers(0, 256)
    return bytes(changed[: generator.integers(len(data))] if generator.integers(5) == 0 else changed)
