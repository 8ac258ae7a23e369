"""What must hold for every export target, those added later included."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from core_ai_platform import skip_without_wheels
from export_material import LABELS, SIZE_HW

from seg_core.manifest import METADATA_KEY, load_manifest, manifest_path
from seg_core.runners import RUNNERS, open_runner, read_embedded_manifest
from seg_export.parity import load_parity, parity_path, tolerance_of
from seg_export.targets import get_target, list_targets, resolve_targets

pytestmark = pytest.mark.export


@pytest.fixture(params=list_targets())
def result(request, exported):
    skip_without_wheels(request.param)
    return exported[request.param]


def test_is_installed_and_proved(result):
    assert result.error is None
    assert result.status == "ok"
    (output,) = result.parity.outputs
    assert output.max_abs_relative <= 2e-5
    assert output.label_agreement >= 0.9995
    assert {image.image for image in output.images} == {"astronaut.png", "grace_hopper.png", "obama.jpg"}
    assert result.parity.preprocessing_identical
    assert load_parity(parity_path(result.path)) == result.parity


def test_manifest_inside_equals_the_one_beside_it(result):
    beside = load_manifest(result.path)
    assert read_embedded_manifest(result.path) == beside.embedded()
    assert beside.artifact.file == result.path.name
    assert beside.artifact.bytes == result.bytes


def test_manifest_states_tensors_and_origin(result, checkpoint):
    manifest = load_manifest(result.path)
    target = get_target(result.target)
    assert [tensor.name for tensor in manifest.inputs] == ["image"]
    assert [tensor.name for tensor in manifest.outputs] == ["logits"]
    assert manifest.preprocess.layout == target.layout
    assert manifest.inputs[0].size_hw == manifest.outputs[0].size_hw == SIZE_HW
    assert manifest.labels == LABELS
    assert manifest.provenance["checkpoint"]["file"] == checkpoint.name
    assert len(manifest.provenance["checkpoint"]["sha256"]) == 64
    assert manifest.provenance["converter"] == target.converter()
    assert "43 BatchNorms fused into convolutions" in manifest.provenance["prepared"]


def test_runs_from_its_own_metadata_alone(result, tmp_path):
    copy = tmp_path / result.path.name
    copy.symlink_to(result.path)
    runner = open_runner(copy)
    image = np.zeros(runner.inputs[0].shape, np.float32)
    logits = runner.run({"image": image})["logits"]
    runner.close()
    assert logits.shape == runner.outputs[0].shape
    assert logits.dtype == np.float32


def test_tables_know_it(result):
    target = get_target(result.target)
    assert RUNNERS.get(target.name).suffix == target.suffix
    for precision in target.precisions:
        assert 0.9 < tolerance_of(target.name, precision).label_agreement <= 1.0


def test_nothing_hidden_is_left(exporter, exported):
    names = sorted(path.name for path in exporter.out_dir.iterdir())
    wanted = [manifest_path(result.path).name for result in exported.values()]
    assert [name for name in names if name.endswith(".json") and ".parity." not in name] == sorted(wanted)
    assert not [name for name in names if name.startswith(".")]


def test_overlays_are_written(exporter, exported):
    folder = exporter.out_dir / "overlays" / "obama.jpg"
    found = {path.name for path in folder.iterdir()}
    assert {"input.png", "reference.png", "reference.labels.png"} <= found
    assert {f"{result.path.name}.labels.png" for result in exported.values()} <= found


def test_onnx_file_is_what_it_claims(exported):
    import onnx

    model = onnx.load(str(exported["onnx"].path))
    assert [entry.version for entry in model.opset_import if entry.domain == ""] == [18]
    assert not [node for node in model.graph.node if node.op_type == "BatchNormalization"]
    assert b"site-packages" not in exported["onnx"].path.read_bytes()


def test_tflite_file_has_no_transposes_and_no_padded_pools(exported):
    from ai_edge_litert.interpreter import Interpreter

    path = exported["tflite"].path
    operations = [operation["op_name"] for operation in Interpreter(str(path))._get_ops_details()]
    assert "TRANSPOSE" not in operations
    assert "AVERAGE_POOL_2D" not in operations
    assert zipfile.ZipFile(path).namelist() == [METADATA_KEY + ".json"]
    assert "3 padded average pools became depthwise convolutions" in exported["tflite"].notes


@pytest.mark.parametrize("name", [name for name in list_targets() if "fp16" in get_target(name).precisions])
def test_fp16_is_half_the_size_and_float32_at_the_boundary(name, reference, exporter, exported, tmp_path, monkeypatch):
    skip_without_wheels(name)
    monkeypatch.setattr(exporter, "out_dir", tmp_path)
    monkeypatch.setattr(exporter, "precision", "fp16")
    result = exporter.export(get_target(name))
    # Labels are judged on trained weights only; random ones decide by differences that half precision cannot hold.
    assert result.parity is not None, result.error
    assert result.parity.outputs[0].max_abs_relative < 5e-3
    assert result.bytes < 0.55 * exported[name].bytes
    assert result.parity.precision == "fp16"


def test_coreai_package_tells_nothing_of_its_builder(exported):
    skip_without_wheels()
    program = (exported["coreai"].path / "main.mlirb").read_bytes()
    for trace in (b"site-packages", b"torch/nn", str(Path(__file__).parents[2]).encode()):
        assert trace not in program


def test_coreml_boundary_is_float32_and_ios16(exported):
    import coremltools

    spec = coremltools.models.MLModel(str(exported["coreml"].path), skip_model_load=True).get_spec()
    assert spec.specificationVersion == coremltools.target.iOS16
    array = coremltools.proto.FeatureTypes_pb2.ArrayFeatureType
    for feature in (*spec.description.input, *spec.description.output):
        assert feature.type.multiArrayType.dataType == array.FLOAT32


def test_tables_import_no_converter():
    code = (
        "import sys, json\n"
        "from seg_export.targets import get_target, list_targets, missing_packages\n"
        "from seg_export import cli\n"
        "for name in list_targets(): missing_packages(get_target(name)), get_target(name).converter()\n"
        "print(json.dumps([m for m in sys.modules if '.' not in m]))"
    )
    modules = json.loads(
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout
    )
    assert not {"torch", "onnx", "onnxruntime", "coremltools", "litert_torch", "ai_edge_litert", "coreai"} & set(
        modules
    )


def test_all_are_the_targets_that_install_wherever_the_project_does():
    assert [target.name for target in resolve_targets(["all"])] == ["torchscript", "onnx", "coreml", "tflite"]
    assert [target.name for target in resolve_targets(["aimodel", "all"])] == list_targets()
