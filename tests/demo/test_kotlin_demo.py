"""The Kotlin library: compiled by kotlinc, run on the JVM, and held to Python's tensors and labels."""

import re
import subprocess
from pathlib import Path

import pytest
from browser_material import ROOT, find_program
from kotlin_material import write_material

ANDROID = ROOT / "mobile_demo" / "android"

# The compiler takes half a minute of processor time, on a busy machine several.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def need_toolchain():
    """Skip where a part is missing, which CI turns into a failure."""
    find_program("javac")  # kotlinc looks up the older Java in its JDK
    if not (ANDROID / "node_modules" / "kotlin-compiler").is_dir():
        pytest.skip(f"needs  npm ci --prefix {ANDROID}")
    for jar in ("junit4", "hamcrest", "jna"):
        if not Path(f"/usr/share/java/{jar}.jar").is_file():
            pytest.skip("needs  apt-get install junit4 libjna-java")


@pytest.fixture(scope="module")
def tested(models, tmp_path_factory):
    """What the build and its tests printed."""
    need_toolchain()
    material = tmp_path_factory.mktemp("material")
    example = re.search(r"```kotlin\n(.*?)```", (ANDROID / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    write_material(material, models, example.group(1))
    done = subprocess.run([str(ANDROID / "build.sh"), str(material)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_kotlin_tests_pass(tested):
    passed = int(re.search(r"^OK \((\d+) tests\)$", tested, re.MULTILINE).group(1))
    assert passed > 40
    assert "left out" not in tested
    # Built last but one, from nothing: Android's side fits the library, as far as its declarations go.
    assert (ANDROID / "build" / "jvm" / "segproof-adapters.jar").is_file()


def test_the_tested_part_knows_nothing_of_android():
    sources = sorted((ANDROID / "segproof" / "src").rglob("*.kt"))
    assert len(sources) > 15
    assert [path.name for path in sources if re.search(r"\bandroidx?\.", path.read_text(encoding="utf-8"))] == []


def test_labels_on_photographs_are_pythons(tested):
    found = re.findall(r"([a-z]+\.\w+) on \S+\.bgr .*: (\d+) of (\d+) labels differ$", tested, re.MULTILINE)
    assert {name for name, _, _ in found} == {"face.onnx", "face.tflite", "letterbox.onnx", "cropped.onnx"}
    assert len(found) == 16
    for name, differing, total in found:
        assert int(total) > 100_000
        assert int(differing) == 0 or name == "letterbox.onnx"  # bilinear scores
