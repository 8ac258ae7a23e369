"""Packages that are damaged, foreign or beyond the evaluator: one line each, and what a good one tells."""

import json
import shutil
import struct
import subprocess
import sys
import warnings

import numpy as np
import pytest
from mil_material import convert

from seg_core.errors import ArtifactError, MissingDependencyError
from seg_core.mil import load_program, protocol, read_metadata
from seg_core.mil.blobs import WeightFile

pytest.importorskip("torch")
ct = pytest.importorskip("coremltools")
pytestmark = pytest.mark.export
INNER = "Data/com.apple.CoreML"


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    import torch

    path = tmp_path_factory.mktemp("good") / "good.mlpackage"
    convert(torch.nn.Conv2d(3, 8, 3), [(1, 3, 8, 8)], path)
    return path


@pytest.fixture
def copy(good, tmp_path):
    return shutil.copytree(good, tmp_path / "copy.mlpackage")


def refused(path):
    with pytest.raises(ArtifactError) as caught:
        load_program(path)
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message
    return message


def edit(package, change):
    """Let `change` alter the parsed specification and write it back."""
    from coremltools.proto import Model_pb2

    path = package / INNER / "model.mlmodel"
    model = Model_pb2.Model()
    model.ParseFromString(path.read_bytes())
    change(model)
    path.write_bytes(model.SerializeToString())


def block_of(model):
    function = model.mlProgram.functions["main"]
    return function.block_specializations[function.opset]


def operation_of(model, kind):
    return next(item for item in block_of(model).operations if item.type == kind)


def test_good_package_runs_and_reads_its_inputs(good):
    program = load_program(str(good))
    (name, kind), *_ = program.inputs.items()
    assert (name, kind.dtype, kind.shape) == ("x0", "fp32", (1, 3, 8, 8))
    assert program.opset == "CoreML5"
    out = program.run({"x0": np.zeros((1, 3, 8, 8), np.float32)})
    assert [array.shape for array in out.values()] == [(1, 8, 6, 6)]


def test_results_do_not_alias_the_program(good):
    program = load_program(good)
    feeds = {"x0": np.ones((1, 3, 8, 8), np.float32)}
    first = next(iter(program.run(feeds).values()))
    kept = first.copy()
    first[...] = 0
    np.testing.assert_array_equal(next(iter(program.run(feeds).values())), kept)


def test_missing_weights(copy):
    (copy / INNER / "weights" / "weight.bin").unlink()
    assert "weight.bin are missing" in refused(copy)


@pytest.mark.parametrize("kept", [0, 60, 70, 130, 600])
def test_truncated_weights(copy, kept):
    path = copy / INNER / "weights" / "weight.bin"
    path.write_bytes(path.read_bytes()[:kept])
    assert "weight.bin" in refused(copy)


def test_garbage_weights(copy):
    path = copy / INNER / "weights" / "weight.bin"
    path.write_bytes(b"\x55" * path.stat().st_size)
    assert "no constant at offset" in refused(copy)


def test_blob_offset_outside_the_file(copy):
    def move(model):
        blobs = [
            item for item in block_of(model).operations if item.attributes["val"].WhichOneof("value") == "blobFileValue"
        ]
        blobs[0].attributes["val"].blobFileValue.offset = 1 << 40

    edit(copy, move)
    assert "ends before the constant at offset" in refused(copy)


def test_blob_file_outside_the_package(copy):
    def point_away(model):
        for item in block_of(model).operations:
            if item.attributes["val"].WhichOneof("value") == "blobFileValue":
                item.attributes["val"].blobFileValue.fileName = "@model_path/../../../elsewhere.bin"

    edit(copy, point_away)
    assert "outside the package" in refused(copy)


@pytest.mark.parametrize("content", [b"", b"not a protobuf message" * 40, b"\x08"])
def test_garbage_specification(copy, content):
    (copy / INNER / "model.mlmodel").write_bytes(content)
    assert "model.mlmodel" in refused(copy)


def test_truncated_specification_at_every_tenth(copy):
    path = copy / INNER / "model.mlmodel"
    whole = path.read_bytes()
    for tenth in range(10):
        path.write_bytes(whole[: len(whole) * tenth // 10])
        refused(copy)


def test_missing_specification(copy):
    (copy / INNER / "model.mlmodel").unlink()
    assert "model.mlmodel cannot be read" in refused(copy)


def test_missing_manifest(copy):
    (copy / "Manifest.json").unlink()
    assert "no Manifest.json" in refused(copy)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"rootModelIdentifier": "a", "itemInfoEntries": {}}'])
def test_broken_manifest(copy, text):
    (copy / "Manifest.json").write_text(text)
    assert "Manifest.json names no root model" in refused(copy)


def test_manifest_pointing_out_of_the_package(copy):
    manifest = json.loads((copy / "Manifest.json").read_text())
    manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]["path"] = "../../other/model.mlmodel"
    (copy / "Manifest.json").write_text(json.dumps(manifest))
    assert "outside the package" in refused(copy)


def test_not_a_package(tmp_path):
    empty = tmp_path / "empty.mlpackage"
    empty.mkdir()
    assert "no Manifest.json" in refused(empty)
    file = tmp_path / "file.mlpackage"
    file.write_bytes(b"zip")
    assert "is a file" in refused(file)
    assert "does not exist" in refused(tmp_path / "absent.mlpackage")


def test_neural_network_model(copy):
    def downgrade(model):
        model.neuralNetwork.layers.add().name = "conv"

    edit(copy, downgrade)
    assert "'neuralNetwork'" in refused(copy)


def test_unknown_operation_is_named_with_its_output_and_not_called_wrong(copy):
    def rename(model):
        operation_of(model, "conv").type = "conv_quantum"

    edit(copy, rename)
    message = refused(copy)
    assert "'conv_quantum'" in message
    assert repr(next(iter(load_output_names(copy)))) in message
    assert "may be right but is not proven" in message


def load_output_names(package):
    names = []
    edit(package, lambda model: names.extend(block_of(model).outputs))
    return names


def test_unknown_input_of_a_known_operation(copy):
    def add_input(model):
        conv = operation_of(model, "conv")
        conv.inputs["temperature"].CopyFrom(conv.inputs["bias"])

    edit(copy, add_input)
    assert "temperature" in refused(copy)


def test_name_that_nothing_makes(copy):
    def break_link(model):
        operation_of(model, "conv").inputs["x"].arguments[0].name = "nowhere"

    edit(copy, break_link)
    assert "'nowhere'" in refused(copy)


def test_results_are_held_against_the_stated_shape(copy):
    def misstate(model):
        tensor = operation_of(model, "conv").outputs[0].type.tensorType
        tensor.dimensions[3].constant.size = 7

    edit(copy, misstate)
    with pytest.raises(ArtifactError, match=r"'conv'.* 1x8x6x6, but the program states 1x8x6x7"):
        load_program(copy).run({"x0": np.zeros((1, 3, 8, 8), np.float32)})


def test_weights_of_the_wrong_shape_fail_when_run(copy):
    def misstate(model):
        for item in block_of(model).operations:
            if item.type == "const" and item.attributes["val"].type.tensorType.rank == 4:
                tensor = item.attributes["val"].type.tensorType
                tensor.dimensions[0].constant.size, tensor.dimensions[1].constant.size = 3, 8

    edit(copy, misstate)
    with pytest.raises(ArtifactError, match="'conv'"):
        load_program(copy).run({"x0": np.zeros((1, 3, 8, 8), np.float32)})


@pytest.mark.parametrize(
    ("feeds", "words"),
    [
        ({}, "'x0' is not fed"),
        ({"x0": np.zeros((1, 3, 8, 9), np.float32)}, "takes fp32 1x3x8x8, found float32 1x3x8x9"),
        ({"x0": np.zeros((1, 8, 8, 3), np.uint8)}, "found uint8 1x8x8x3"),
        ({"x0": np.zeros((1, 3, 8, 8), np.complex64)}, "complex64"),
        ({"x0": np.zeros((1, 3, 8, 8), np.float32), "y": np.zeros(1)}, "no input 'y'"),
    ],
)
def test_wrong_feeds(good, feeds, words):
    with pytest.raises(ArtifactError, match=words):
        load_program(good).run(feeds)


def test_blob_of_another_type(tmp_path):
    record = struct.pack("<IIQQ", 0xDEADBEEF, 1, 8, 128)
    (tmp_path / "weight.bin").write_bytes(bytes(64) + record.ljust(64, b"\0") + np.float16([1, 2, 3, 4]).tobytes())
    weights = WeightFile(tmp_path / "weight.bin", tmp_path)
    assert weights.read(64, "fp16", 4).tolist() == [1, 2, 3, 4]
    with pytest.raises(ArtifactError, match="holds fp16, not the fp32"):
        weights.read(64, "fp32", 2)
    with pytest.raises(ArtifactError, match="needs 10 bytes from 128 on, the file has 8"):
        weights.read(64, "fp16", 5)


def test_image_inputs_take_pixels_or_planes(tmp_path):
    import torch

    warnings.simplefilter("ignore")
    net = torch.jit.trace(torch.nn.ReLU(), torch.zeros(1, 3, 4, 6))
    declared = [ct.ImageType(name="image", shape=(1, 3, 4, 6), scale=0.5, bias=[-1, 0, 1])]
    model = ct.convert(net, inputs=declared, convert_to="mlprogram", compute_precision=ct.precision.FLOAT32)
    model.save(str(tmp_path / "image.mlpackage"))
    program = load_program(tmp_path / "image.mlpackage")
    pixels = np.random.default_rng(0).integers(0, 256, (1, 4, 6, 3), np.uint8)
    planes = pixels.transpose(0, 3, 1, 2)
    expected = np.maximum(planes * np.float32(0.5) + np.float32([-1, 0, 1]).reshape(1, 3, 1, 1), 0)
    for fed in (pixels, planes.astype(np.float32)):
        (found,) = program.run({"image": fed}).values()
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_metadata(good, copy):
    assert read_metadata(good)["com.github.apple.coremltools.version"] == ct.__version__

    def write(model):
        model.description.metadata.userDefined["mine"] = "ä"

    edit(copy, write)
    assert read_metadata(copy)["mine"] == "ä"
    assert load_program(copy).metadata["mine"] == "ä"


def test_reading_imports_neither_coremltools_nor_torch(good):
    """The converter's import takes seconds; a later one in the same process must still work."""
    script = (
        "import sys, numpy as np\n"
        "from seg_core.mil import load_program\n"
        "program = load_program(sys.argv[1])\n"
        "program.run({'x0': np.zeros((1, 3, 8, 8), np.float32)})\n"
        "heavy = {'coremltools', 'torch', 'tensorflow', 'sklearn', 'cv2'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "import coremltools\n"
        "assert coremltools.proto.Model_pb2.Model is type(coremltools.utils.load_spec(sys.argv[1]))\n"
        "load_program(sys.argv[1])\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(good)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("gone", "package"), [("coremltools", "coremltools"), ("google.protobuf", "protobuf")])
def test_without_coremltools(good, monkeypatch, gone, package):
    find_spec = protocol.importlib.util.find_spec
    monkeypatch.delitem(sys.modules, "coremltools", raising=False)
    monkeypatch.setattr(
        protocol.importlib.util, "find_spec", lambda name, *rest: None if name == gone else find_spec(name, *rest)
    )
    protocol.load_protocol.cache_clear()
    try:
        with pytest.raises(MissingDependencyError, match=package) as caught:
            load_program(good)
    finally:
        protocol.load_protocol.cache_clear()
    assert "segproof[coreml]" in str(caught.value)
