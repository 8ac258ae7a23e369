"""The three commands as a user meets them: output, exit codes and one line for every mistake."""

import json
import shutil
import subprocess
import sys

import pytest
from click.testing import CliRunner
from export_material import SAMPLES, Broken, Wrong, write_checkpoint

from seg_core.manifest import hash_artifact, load_manifest, manifest_path
from seg_export.cli import export_command, parity_command, report_command
from seg_export.targets import TARGETS

pytestmark = pytest.mark.export


def invoke(command, *arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def error_line(result, code=1):
    assert result.exit_code == code, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, result.output
    assert "Traceback" not in result.output
    return lines[0]


@pytest.fixture
def artifacts(exported, tmp_path):
    """A directory with copies of the exported ONNX and TorchScript artifacts and all that lies beside them."""
    source = exported["onnx"].path.parent
    for pattern in ("net.onnx*", "net.pt*"):
        for path in source.glob(pattern):
            shutil.copy2(path, tmp_path)
    shutil.copytree(source / "overlays", tmp_path / "overlays")
    return tmp_path


def test_export_prints_proof_and_next_commands(checkpoint, tmp_path):
    out = tmp_path / "out"
    result = invoke(export_command, checkpoint, "--target", "jit", "--images", SAMPLES, "--out", out)
    assert result.exit_code == 0, result.output
    for words in ("ddrnet_23_slim", "5: background, skin", "64×128 (H×W) rgb", "✓ torchscript", "bit for bit"):
        assert words in result.stdout
    for words in ("obama.jpg", f"seg-bench {out / 'net.pt'}", "seg-predict", "seg-report"):
        assert words in result.stdout
    assert {path.name for path in out.iterdir()} == {"net.pt", "net.pt.json", "net.pt.parity.json", "overlays"}


def test_export_json_at_another_size_on_synthetic_images(checkpoint, tmp_path):
    arguments = ("--target", "torchscript", "--size", "128x64", "--out", tmp_path, "--json")
    result = invoke(export_command, checkpoint, *arguments)
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer["passed"] is True
    (row,) = answer["results"]
    assert row["parity"]["images"] == "synthetic"
    assert load_manifest(row["artifact"]).preprocess.size_hw == (128, 64)
    assert row["artifact"].endswith("net-128x64.pt")
    assert "synthetic" in result.stderr


def test_failed_parity_shows_the_tree_and_exits_with_3(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr("seg_export.targets.torchscript.TARGET", Wrong())
    result = invoke(export_command, checkpoint, "--target", "torchscript", "--out", tmp_path / "out")
    assert "parity failed: not installed" in error_line(result, code=3)
    assert "✗ logits" in result.stdout
    assert "next" not in result.stdout
    assert not (tmp_path / "out").exists()


def test_one_failing_converter_does_not_stop_the_others(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr("seg_export.targets.onnx.TARGET", renamed(Broken(RuntimeError("no such operator")), "onnx"))
    targets = ("--target", "onnx", "--target", "torchscript")
    result = invoke(export_command, checkpoint, *targets, "--out", tmp_path, "--json")
    assert "error: onnx: conversion failed (RuntimeError: no such operator)" in error_line(result)
    rows = {row["target"]: row["status"] for row in json.loads(result.stdout)["results"]}
    assert rows == {"torchscript": "ok", "onnx": "failed"}
    assert (tmp_path / "net.pt").exists()


def renamed(target, name):
    target.name, target.suffix = name, f".{name}"
    return target


def test_misspelt_target_names_the_nearest(checkpoint):
    line = error_line(invoke(export_command, checkpoint, "--target", "tflit"))
    assert "did you mean 'tflite'?" in line


@pytest.mark.parametrize(
    ("alias", "name"), [("ios", "coreml"), ("apple", "coreml"), ("litert", "tflite"), ("ort", "onnx")]
)
def test_aliases(alias, name):
    assert TARGETS.resolve(alias) == name


def test_missing_converter_names_the_pip_line(checkpoint, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "coremltools", None)
    line = error_line(invoke(export_command, checkpoint, "--target", "all", "--out", tmp_path / "out"))
    assert "exporting to coreml needs the package 'coremltools'" in line
    assert "pip install 'segproof[coreml]'" in line
    assert not (tmp_path / "out").exists()


def test_size_that_the_network_cannot_take(checkpoint, tmp_path):
    line = error_line(invoke(export_command, checkpoint, "--target", "onnx", "--size", "100x128", "--out", tmp_path))
    assert "100x128" in line
    assert "multiples of" in line


@pytest.mark.parametrize("size", ["256", "0x64", "axb", "64x64x3"])
def test_malformed_size_is_a_usage_error(checkpoint, size):
    result = invoke(export_command, checkpoint, "--target", "onnx", "--size", size)
    assert result.exit_code == 2
    assert "is not HEIGHTxWIDTH" in result.stderr


def test_name_must_not_be_a_path(checkpoint):
    assert invoke(export_command, checkpoint, "--target", "onnx", "--name", "../net").exit_code == 2


def test_precision_that_a_target_cannot_honour(checkpoint):
    line = error_line(invoke(export_command, checkpoint, "--target", "torchscript", "--precision", "fp16"))
    assert "'torchscript' cannot be exported in fp16" in line
    assert "targets that can: coreml, tflite" in line
    assert "no target can yet" in error_line(
        invoke(export_command, checkpoint, "--target", "onnx", "--precision", "int8")
    )


@pytest.mark.parametrize("place", ["file", "file/out"])
def test_a_file_in_the_place_of_the_output_directory(checkpoint, tmp_path, place):
    blocker = tmp_path / "file"
    blocker.write_text("in the way")
    line = error_line(invoke(export_command, checkpoint, "--target", "torchscript", "--out", tmp_path / place))
    assert line == f"error: {tmp_path / place}: is a file or lies in one; choose a directory: --out DIR"
    assert blocker.read_text() == "in the way"


def test_missing_and_corrupt_checkpoints(tmp_path):
    missing = tmp_path / "none.pth"
    assert str(missing) in error_line(invoke(export_command, missing, "--target", "onnx"))
    corrupt = tmp_path / "bad.pth"
    corrupt.write_bytes(b"not a checkpoint")
    assert str(corrupt) in error_line(invoke(export_command, corrupt, "--target", "onnx"))


def test_images_directory_without_images(checkpoint, tmp_path):
    line = error_line(invoke(export_command, checkpoint, "--target", "onnx", "--images", tmp_path))
    assert str(tmp_path) in line
    assert "no image" in line


def test_malformed_rois_file(checkpoint, tmp_path):
    shutil.copy2(SAMPLES / "astronaut.png", tmp_path)
    (tmp_path / "rois.json").write_text('{"astronaut.png": [1, 2]}')
    assert "rois.json" in error_line(invoke(export_command, checkpoint, "--target", "onnx", "--images", tmp_path))


def test_nothing_to_do_is_a_usage_error(checkpoint):
    assert invoke(export_command).exit_code == 2
    assert invoke(export_command, checkpoint).exit_code == 2


def test_list_targets():
    assert "coreml" in invoke(export_command, "--list-targets").stdout
    rows = json.loads(invoke(export_command, "--list-targets", "--json").stdout)["targets"]
    assert [row["name"] for row in rows] == TARGETS.names()


def test_parity_passes_and_writes_its_report(checkpoint, artifacts):
    report = artifacts / "net.onnx.parity.json"
    report.unlink()
    files = (artifacts / "net.onnx", artifacts / "net.pt")
    result = invoke(parity_command, checkpoint, *files, "--images", SAMPLES / "obama.jpg", "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert [row["passed"] for row in answer["reports"]] == [True, True]
    assert json.loads(report.read_text()) == answer["reports"][0]


def test_parity_with_another_checkpoint_fails_with_3(artifacts, tmp_path):
    other = write_checkpoint(tmp_path / "other.pth", seed=9)
    before = hash_artifact(artifacts / "net.onnx.parity.json")
    result = invoke(parity_command, other, artifacts / "net.onnx", "--images", SAMPLES / "obama.jpg", "--no-save")
    assert "net.onnx" in error_line(result, code=3)
    assert "✗ logits" in result.stdout
    assert "✓ preprocessing" in result.stdout
    assert hash_artifact(artifacts / "net.onnx.parity.json") == before


def test_parity_sees_changed_preprocessing(checkpoint, artifacts):
    path = manifest_path(artifacts / "net.onnx")
    data = json.loads(path.read_text())
    data["preprocess"]["mean"] = [0.5, 0.5, 0.5]
    path.write_text(json.dumps(data))
    result = invoke(parity_command, checkpoint, artifacts / "net.onnx", "--no-save")
    assert result.exit_code == 3
    assert "✗ preprocessing" in result.stdout


def test_parity_refuses_a_changed_file(checkpoint, artifacts):
    with (artifacts / "net.onnx").open("r+b") as stream:
        stream.seek(1000)
        stream.write(b"\0\0\0\0")
    line = error_line(invoke(parity_command, checkpoint, artifacts / "net.onnx"))
    assert "SHA-256" in line


def test_report_is_one_self_contained_page(artifacts):
    latency = {
        "schema_version": 1,
        "environment": {"cpu": "a <cpu>", "cores": 2},
        "rows": [
            {
                "artifact": "net.onnx",
                "status": "ok",
                "threads": 2,
                "p50_ms": 12.34,
                "p90_ms": 13.0,
                "ratio_to_first": 1.0,
            },
            {"artifact": "net.pt", "status": "ok", "threads": 2, "p50_ms": None, "backend": "evaluator"},
        ],
    }
    (artifacts / "latency.json").write_text(json.dumps(latency))
    result = invoke(report_command, artifacts, "--title", "A <b>title</b>")
    assert result.exit_code == 0, result.output
    page = (artifacts / "report.html").read_text(encoding="utf-8")
    assert "A &lt;b&gt;title&lt;/b&gt;" in page
    assert "a &lt;cpu&gt;" in page
    assert "http" not in page
    assert page.count("data:image/jpeg;base64,") >= 3 * 4
    assert "12.3 ms (2 threads)" in page
    table = [line.split() for line in result.stdout.splitlines()[:3]]
    assert [row[0] for row in table] == ["target", "torchscript", "onnx"]
    assert "12.3 ms (2 threads)" in result.stdout


def test_report_needs_no_torch(artifacts):
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from seg_export.cli import report_command\n"
        "report_command([sys.argv[1]], standalone_mode=False)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(artifacts)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (artifacts / "report.html").exists()


def test_report_ignores_figures_of_an_older_file(artifacts):
    row = {"artifact": "net.onnx", "sha256": "0" * 64, "status": "ok", "threads": 1, "p50_ms": 5.0}
    (artifacts / "latency.json").write_text(json.dumps({"schema_version": 1, "rows": [row]}))
    result = invoke(report_command, artifacts)
    assert "5.0 ms" not in result.stdout


@pytest.mark.parametrize("text", ["{", "[]", '{"schema_version": 2, "rows": []}'])
def test_report_refuses_a_malformed_latency_file(artifacts, text):
    (artifacts / "latency.json").write_text(text)
    assert "latency.json" in error_line(invoke(report_command, artifacts))
    assert not (artifacts / "report.html").exists()


def test_report_of_nothing(tmp_path):
    assert "no exported artifact" in error_line(invoke(report_command, tmp_path))
    assert "no such directory" in error_line(invoke(report_command, tmp_path / "none"))


@pytest.mark.parametrize("command", [export_command, parity_command, report_command])
def test_help_has_examples(command):
    result = invoke(command, "--help")
    assert result.exit_code == 0
    assert "Examples:" in result.stdout
