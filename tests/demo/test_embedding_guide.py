"""The lines of docs/how-to/embed-preprocessing.md, run as they stand on a photograph."""

import re
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from browser_material import ROOT, SAMPLES, find_program

from seg_core import LabelSet, ModelSpec, PostprocessSpec, Predictor, PreprocessSpec, TensorSpec
from seg_core.manifest import ArtifactInfo, GraphSpec, Manifest, hash_artifact, manifest_path
from seg_demo.golden import hash_bytes

GUIDE = (ROOT / "docs" / "how-to" / "embed-preprocessing.md").read_text(encoding="utf-8")


def blocks(text, language):
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A photograph and a network whose scores are its input: the label is the brightest colour, normalised."""
    folder = tmp_path_factory.mktemp("guide")
    shutil.copyfile(SAMPLES / "astronaut.png", folder / "photo.png")
    spec = PreprocessSpec((96, 128), resize="letterbox", reduce="halve")
    tensors = [onnx.helper.make_tensor_value_info(name, 1, spec.tensor_shape) for name in ("image", "logits")]
    node = onnx.helper.make_node("Identity", ["image"], ["logits"])
    graph = onnx.helper.make_graph([node], "identity", tensors[:1], tensors[1:])
    opset = [onnx.helper.make_opsetid("", 17)]
    path = folder / "model.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    image, logits = (
        TensorSpec(name, role, spec.tensor_shape, "float32", "nchw")
        for name, role in (("image", "image"), ("logits", "logits"))
    )
    info = ArtifactInfo("model.onnx", "onnx", "fp32", path.stat().st_size, hash_artifact(path))
    manifest = Manifest(
        info, ModelSpec("identity", 3), spec, PostprocessSpec(), LabelSet(("red", "green", "blue")), GraphSpec(),
        (image,), (logits,),
    )  # fmt: skip
    manifest_path(path).write_text(manifest.to_json(), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def expected(folder):
    with Predictor.open(folder / "model.onnx") as predictor:
        labels = predictor.predict(cv2.imread(str(folder / "photo.png"))).labels
    assert len(np.unique(labels)) == 3
    return labels


def test_python_lines(folder, expected, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    names = {}
    for block in blocks(GUIDE, "python"):
        exec(block, names)
    assert np.array_equal(names["labels"], expected)
    assert capsys.readouterr().out.strip() == hash_bytes(names["prepared"].tensor.tobytes())


#: Where a page has its canvas, its server and its runtime, a script under Node has files.
NODE = """import { readFileSync, writeFileSync } from 'node:fs';
const [width, height] = [WIDTH, HEIGHT];
const context = { getImageData: () => ({ width, height, data: new Uint8ClampedArray(readFileSync('photo.rgba')) }) };
const fetch = async (name) => ({ text: async () => readFileSync(name, 'utf8') });
const yourRuntime = async (tensor) => tensor;
LINES
writeFileSync('labels.js.raw', labels);
"""


@pytest.mark.browser
def test_javascript_lines(folder, expected):
    (lines,) = blocks(GUIDE, "js")
    image = cv2.cvtColor(cv2.imread(str(folder / "photo.png")), cv2.COLOR_BGR2RGBA)
    (folder / "photo.rgba").write_bytes(image.tobytes())
    lines = lines.replace("from './", f"from '{(ROOT / 'mobile_demo' / 'web' / 'src').as_uri()}/")
    script = NODE.replace("LINES", lines).replace("WIDTH", str(image.shape[1])).replace("HEIGHT", str(image.shape[0]))
    command = [find_program("node"), "--input-type=module", "-"]
    done = subprocess.run(command, input=script, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (folder / "labels.js.raw").read_bytes() == expected.tobytes()


#: The lines inside a program that reads and writes files.
PROGRAM = """#include <algorithm>
#include <fstream>
#include <iterator>
#include <string>
INCLUDES
static std::string read(const char* name) {
    std::ifstream file(name, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}
static Tensor your_runtime(const Tensor& tensor) { return tensor; }
int main() {
    const std::string json = read("model.onnx.json");
    const std::string pixels = read("photo.bgr");
    const auto* bytes = reinterpret_cast<const unsigned char*>(pixels.data());
    const int height = HEIGHT, width = WIDTH;
LINES
    std::ofstream file("labels.cpp.raw", std::ios::binary);
    file.write(reinterpret_cast<const char*>(labels.bytes.data()), static_cast<std::streamsize>(labels.bytes.size()));
}
"""


@pytest.mark.slow
def test_cpp_lines(folder, expected):
    compiler = find_program("g++", "clang++")
    if not Path("/usr/include/nlohmann/json.hpp").is_file():
        pytest.skip("needs  apt-get install nlohmann-json3-dev")
    library = ROOT / "mobile_demo" / "cpp"
    (lines,) = blocks(GUIDE, "cpp")
    image_bgr = cv2.imread(str(folder / "photo.png"))
    (folder / "photo.bgr").write_bytes(image_bgr.tobytes())
    includes, code = lines.split("\n\n", 1)
    program = PROGRAM.replace("INCLUDES", includes).replace("LINES", code)
    program = program.replace("HEIGHT", str(image_bgr.shape[0])).replace("WIDTH", str(image_bgr.shape[1]))
    (folder / "program.cpp").write_text(program, encoding="utf-8")
    sources = sorted(map(str, (library / "src").glob("*.cpp")))
    flags = ["-std=c++17", "-O1", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", f"-I{library / 'include'}"]
    command = [compiler, *flags, "program.cpp", *sources, "-o", "program"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    subprocess.run([str(folder / "program")], cwd=folder, check=True)
    assert (folder / "labels.cpp.raw").read_bytes() == expected.tobytes()


def test_kotlin_lines_are_those_that_the_jvm_runs():
    readme = (ROOT / "mobile_demo" / "android" / "README.md").read_text(encoding="utf-8")
    (lines,) = blocks(GUIDE, "kotlin")
    assert lines == blocks(readme, "kotlin")[0]  # run by test_kotlin_demo.py


def test_columns_and_files_that_are_named_exist():
    header = (ROOT / "mobile_demo" / "vectors" / "vectors.csv").read_text(encoding="utf-8").split("\n", 1)[0].split(",")
    for column in re.findall(r"`(\w+)`", re.search(r"\| columns \|.*?\n\n", GUIDE, re.DOTALL).group()):
        assert column in {*header, "preprocess", "restore", "prior", "label"}, column
    for link in re.findall(r"\]\(([^)#]+)\)", GUIDE):
        assert (ROOT / "docs" / "how-to" / link).exists(), link
