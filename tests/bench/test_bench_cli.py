"""The two commands: what they print, where, and how they exit."""

import json
import subprocess
import sys

import numpy as np
import pytest
from bench_material import write_artifact, write_pair
from click.testing import CliRunner

from seg_bench.cli import bench_command, eval_command
from seg_bench.schema import load_report

SHOWN = np.kron(np.array([[0, 1], [2, 2]]), np.ones((8, 8), int))


@pytest.fixture
def model(tmp_path):
    return write_artifact(tmp_path / "tiny.onnx")


@pytest.fixture
def data(tmp_path):
    mask = SHOWN.copy()
    mask[:8, :8] = 1
    write_pair(tmp_path / "data", "one", SHOWN, mask)
    return tmp_path / "data"


def run(command, *arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments], env={"COLUMNS": "80"})


def test_eval_prints_json_alone_on_stdout_and_writes_the_same(model, data, tmp_path):
    out = tmp_path / "scores.json"
    result = run(eval_command, model, "--data", data, "--json", "--out", out)
    assert result.exit_code == 0
    scores = json.loads(result.stdout)
    assert scores == json.loads(out.read_text())
    assert scores["per_class"] == {"red": 0.0, "green": 0.5, "blue": 1.0}
    assert scores["miou"] == 0.5
    assert scores["pixel_accuracy"] == 0.75
    assert "pixel accuracy 0.7500" in result.stderr


def test_eval_prints_a_table_of_every_class(model, data):
    lines = run(eval_command, model, "--data", data).stdout.splitlines()
    assert lines[0].strip() == "tiny.onnx on 1 image at 8×8"
    # Of the 7 outline pixels predicted 6 are near the true outline, of its 8 pixels 6 near the predicted one.
    assert next(line for line in lines if "green" in line).split() == ["green", "1", "0.5000", "0.6667", "0.8000"]


def test_eval_gate_prints_the_scores_and_exits_3(model, data):
    result = run(eval_command, model, "--data", data, "--json", "--min-miou", "0.51")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["miou"] == 0.5
    assert result.stderr.splitlines()[-1].endswith("mIoU 0.5000 on " + str(data) + " is below the minimum 0.51")
    assert run(eval_command, model, "--data", data, "--min-miou", "0.5").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("tiny.onnx", "--data", "nowhere"), 1, "nowhere: no such file or directory"),
        (("missing.onnx", "--data", "data"), 1, "missing.onnx"),
        (("notes.txt", "--data", "data"), 1, "not a kind of artifact"),
        (("tiny.onnx",), 2, "--data"),
        (("tiny.onnx", "--data", "data", "--at", "somewhere"), 2, "somewhere"),
        (
            ("tiny.onnx", "--data", "data", "--out", "notes.txt/x.json"),
            1,
            "is no writable directory); choose",
        ),
        (("tiny.onnx", "--data", "data", "--out", "data"), 1, "data: cannot be written (it is a directory); choose"),
        (
            ("tiny.onnx", "--data", "data", "--out", "tiny.onnx"),
            1,
            "tiny.onnx: cannot be written (it is there and no report",
        ),
        (("tiny.onnx", "--data", "data", "--out", "tiny.onnx.json"), 1, "where the manifest of tiny.onnx lies"),
        (("data", "--data", "data"), 1, "data: is a directory; name the artifact in it (known suffixes: .pth, "),
        (
            ("tiny.onnx", "--data", "data", "--split", "vall"),
            1,
            "has no splits of its own, so no 'vall'",
        ),
    ],
)
def test_eval_failures_are_one_line(model, data, tmp_path, monkeypatch, arguments, code, message):
    (tmp_path / "notes.txt").write_text("x")
    monkeypatch.chdir(tmp_path)
    result = run(eval_command, *arguments)
    assert result.exit_code == code
    assert message in result.stderr.splitlines()[-1]
    assert code == 2 or len(result.stderr.splitlines()) == 1


def test_bench_writes_and_prints_the_report_and_goes_on_after_a_damaged_file(model, tmp_path):
    (tmp_path / "damaged.onnx").write_bytes(b"not a network")
    out = tmp_path / "latency.json"
    once = ("--rounds", 1, "--frames", 1, "--threads", 1)
    result = run(bench_command, model, tmp_path / "damaged.onnx", *once, "--json", "--out", out)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == "error: 1 of 2 rows were not measured: damaged.onnx"
    report = load_report(out)
    assert json.loads(result.stdout) == json.loads(out.read_text())
    assert [row.status for row in report.rows] == ["unverified", "failed"]
    assert "damaged.onnx" in report.rows[1].error


def test_bench_table_is_not_truncated_in_a_pipe(model):
    command = "from seg_bench.cli import bench_command; bench_command()"
    done = subprocess.run(
        [sys.executable, "-c", command, str(model), "--rounds", "1", "--frames", "1"],
        capture_output=True, text=True, check=True, encoding="utf-8",
    )  # fmt: skip
    (row,) = [line for line in done.stdout.splitlines() if "tiny.onnx" in line]
    assert row.split()[:5] == ["tiny.onnx", "onnx", "fp32", "8×8", "default"]
    assert row.rstrip().endswith("not verified")
    assert "…" not in row
    assert done.stderr == ""


@pytest.mark.parametrize("destination", [".", "notes.txt/x.json"])
def test_bench_finds_out_before_measuring_that_it_cannot_write(model, tmp_path, monkeypatch, destination):
    (tmp_path / "notes.txt").write_text("x")
    monkeypatch.chdir(tmp_path)
    result = run(bench_command, model, "--out", destination)
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"error: {destination}: cannot be written (")
    assert line.endswith("; choose another --out FILE")


@pytest.mark.parametrize("threads", ["0", "1,x", "", "1,,2", "1,100000"])
def test_bench_refuses_impossible_thread_counts_as_usage(model, threads):
    result = run(bench_command, model, "--threads", threads)
    assert result.exit_code == 2
    assert "expected numbers of 1 to 1024 such as 1,2" in result.stderr


def test_bench_names_an_unreadable_picture(model, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"x")
    result = run(bench_command, model, "--images", tmp_path / "bad.png")
    assert result.exit_code == 1
    assert "bad.png" in result.stderr


def test_help_needs_neither_runtime_nor_tables():
    blocked = ("torch", "onnx", "onnxruntime", "coremltools", "tensorflow", "pydantic", "rich")
    script = (
        f"import sys; sys.modules.update(dict.fromkeys({blocked!r}));from seg_bench.cli import {{0}}; {{0}}(['--help'])"
    )
    for command in ("bench_command", "eval_command"):
        done = subprocess.run([sys.executable, "-c", script.format(command)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "Examples:" in done.stdout
