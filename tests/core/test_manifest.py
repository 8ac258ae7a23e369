"""The manifest: round trip, agreement with its artifact, and one line for every contradiction."""

import json
from dataclasses import replace

import pytest

from seg_core.errors import ArtifactError, SegError, SpecError
from seg_core.labels import LabelSet
from seg_core.manifest import (
    ArtifactInfo,
    GraphSpec,
    Manifest,
    artifact_bytes,
    hash_artifact,
    load_manifest,
    manifest_path,
    parse_manifest,
)
from seg_core.spec import ModelSpec, PostprocessSpec, PreprocessSpec, TensorSpec


@pytest.fixture
def manifest():
    preprocess = PreprocessSpec(size_hw=(64, 128))
    return Manifest(
        artifact=ArtifactInfo("net.onnx", "onnx", "fp32", 3, None),
        model=ModelSpec("ddrnet_23_slim", 3, options={"upsample": True}),
        preprocess=preprocess,
        postprocess=PostprocessSpec(),
        labels=LabelSet(("a", "b", "c")),
        graph=GraphSpec(),
        inputs=(TensorSpec("image", "image", (1, 3, 64, 128), "float32", "nchw"),),
        outputs=(TensorSpec("logits", "logits", (1, 3, 64, 128), "float32", "nchw"),),
        provenance={"checkpoint": {"file": "net.pth"}, "prepared": ["one", "two"]},
    )


@pytest.fixture
def artifact(manifest, tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(b"abc")
    info = replace(manifest.artifact, sha256=hash_artifact(path))
    manifest_path(path).write_text(replace(manifest, artifact=info).to_json())
    return path


def test_survives_json(manifest):
    assert parse_manifest(manifest.to_json(), "here") == manifest


def test_embedded_copy_has_no_hash_of_itself(artifact):
    embedded = load_manifest(artifact).embedded()
    assert (embedded.artifact.bytes, embedded.artifact.sha256) == (None, None)
    assert embedded.artifact.file == "net.onnx"


def test_loads_by_either_name(artifact):
    assert load_manifest(artifact) == load_manifest(manifest_path(artifact)) == load_manifest(str(artifact))


def test_a_changed_artifact_is_refused(artifact):
    artifact.write_bytes(b"abd")
    with pytest.raises(ArtifactError, match=r"SHA-256 .* is not the .* of net\.onnx\.json.*export it again"):
        load_manifest(artifact)
    assert load_manifest(artifact, verify=False).artifact.file == "net.onnx"


def test_a_missing_artifact_is_named(tmp_path):
    with pytest.raises(ArtifactError, match=r"none\.onnx: no such artifact"):
        load_manifest(tmp_path / "none.onnx")


def test_an_artifact_without_manifest_is_refused(tmp_path):
    path = tmp_path / "foreign.tflite"
    path.write_bytes(b"\x1c\0\0\0TFL3" + bytes(64))
    with pytest.raises(ArtifactError, match=r"foreign\.tflite: .*without a readable segproof manifest"):
        load_manifest(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema_version": 2}, "reads version 1, found 2"),
        ({"unheard": 1}, "manifest.unheard: unknown field"),
        ({"inputs": []}, "at least one input"),
        ({"labels": {"names": ["a", "b"]}}, "2 names for 3 classes"),
        ({"graph": {"scaling": "yes"}}, "manifest.graph.scaling: expected bool"),
        ({"preprocess": {"size_hw": [64, 128], "scale": 10**400}}, "preprocess.scale: expected a finite number"),
        ({"preprocess": {"size_hw": [64, 128], "scale": 1e300}}, "all constants finite, as float32"),
        ({"preprocess": {"size_hw": [64, 128], "mean": [0, 0, 1e300]}}, "all constants finite, as float32"),
        ({"preprocess": {"size_hw": [64, 128], "std": [1, 1, 1e-50]}}, "scale and std must be positive"),
        ({"preprocess": {"size_hw": [64, 64]}}, "is not what preprocess makes"),
    ],
)
def test_contradictions_are_one_line(manifest, change, words):
    text = json.dumps({**json.loads(manifest.to_json()), **change})
    with pytest.raises(SpecError) as caught:
        parse_manifest(text, "net.onnx.json")
    assert words in str(caught.value)
    assert str(caught.value).startswith("net.onnx.json: ")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON (nested too deeply)"),
        (b"\xff\xfe\x00", "not UTF-8 text (invalid start byte at byte 0)"),
        (b"[]", "manifest: expected an object"),
    ],
)
def test_a_damaged_sidecar_names_its_file(artifact, content, words):
    manifest_path(artifact).write_bytes(content)
    with pytest.raises(SegError) as caught:
        load_manifest(artifact)
    assert str(caught.value).startswith(f"{manifest_path(artifact)}: {words}")


def test_a_package_is_hashed_by_names_and_contents(tmp_path):
    package = tmp_path / "net.mlpackage"
    (package / "Data").mkdir(parents=True)
    (package / "Data" / "weights").write_bytes(b"12345")
    (package / "Manifest.json").write_bytes(b"{}")
    first = hash_artifact(package)
    assert artifact_bytes(package) == 7
    (package / "Data" / "weights").rename(package / "Data" / "other")
    second = hash_artifact(package)
    (package / "Data" / "other").write_bytes(b"12346")
    assert len({first, second, hash_artifact(package)}) == 3
