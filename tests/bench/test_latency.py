"""Rounds, statistics and failures of the latency benchmark, with sessions whose times are known."""

import json
import re

import fake_sessions
import numpy as np
import pytest
from bench_material import write_artifact

from seg_bench.latency import BenchPlan, measure_latency
from seg_bench.parity import read_parity
from seg_bench.schema import LatencyReport, load_report, save_json
from seg_bench.worker import Worker, WorkerError
from seg_core.errors import SegError, SpecError
from seg_core.manifest import hash_artifact

IMAGE = np.zeros((4, 6, 3), np.uint8)


def measure(tmp_path, *names, plan=None, opener=fake_sessions.open_some):
    paths = [tmp_path / f"{name}.onnx" for name in names]
    for path in paths:
        if not path.exists():
            path.write_bytes(path.name.encode())
    plan = plan or BenchPlan(rounds=4, frames=3, warmup=1, budget_s=60)
    return measure_latency(paths, IMAGE, "a test frame", plan, opener=opener)


def test_statistics_and_ratio_follow_from_the_frame_times(tmp_path):
    report = measure(tmp_path, "a", "b")
    first, second = report.rows
    # Three frames on opening, then per round one untimed and three timed; the fake adds 1 ms with every frame.
    expected = [10.0 + 3 + 4 * burst + frame for burst in range(4) for frame in (2, 3, 4)]
    assert first.samples_ms == tuple(expected)
    assert first.p50_ms == np.percentile(expected, 50)
    assert first.p90_ms == pytest.approx(np.percentile(expected, 90), abs=1e-4)
    assert first.mean_ms == pytest.approx(np.mean(expected), abs=1e-4)
    assert (first.min_ms, first.rounds, first.preprocess_ms, first.postprocess_ms) == (15.0, 4, 1.0, 2.0)
    assert first.ratio_to_first == 1.0
    assert second.ratio_to_first == pytest.approx(
        np.median([(16 + 10 + 4 * r) / (16 + 4 * r) for r in range(4)]), abs=1e-4
    )
    assert first.sha256 == hash_artifact(tmp_path / "a.onnx")
    assert (first.bytes, first.status, first.ran, first.backend, first.size_hw) == (
        6,
        "unverified",
        True,
        "fake",
        (8, 8),
    )
    assert first.load_ms is not None
    assert first.peak_rss_mb is None or first.peak_rss_mb > 5
    assert report.environment.cores >= 1


def test_every_round_runs_all_and_rotates_who_begins(tmp_path):
    measure(tmp_path, "a", "b", plan=BenchPlan(rounds=3, frames=1, warmup=0, budget_s=60))
    assert (tmp_path / "order.log").read_text().split() == [*"aaabbb", *"ab", *"ba", *"ab"]


def test_a_spent_budget_still_gives_three_rounds(tmp_path):
    (row,) = measure(tmp_path, "a", plan=BenchPlan(rounds=50, frames=1, warmup=0, budget_s=0)).rows
    assert row.rounds == 3


def test_each_thread_count_is_a_row_with_its_own_reference(tmp_path):
    report = measure(tmp_path, "a", "b", plan=BenchPlan((1, 2), rounds=1, frames=1, warmup=0))
    assert [(row.artifact, row.threads) for row in report.rows] == [
        ("a.onnx", 1),
        ("b.onnx", 1),
        ("a.onnx", 2),
        ("b.onnx", 2),
    ]
    assert [row.ratio_to_first for row in report.rows] == [1.0, pytest.approx(24 / 14, abs=1e-4)] * 2


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("b_refuses", r"^b_refuses\.onnx: damaged, sadly$"),
        ("b_raises", r"^ValueError: a bug in the runtime$"),
        ("b_dies", r"^opening: the process ended with exit code 7 \(last words\)$"),
        ("b_dies_later", r"^running: the process was killed by SIGABRT \(Fatal Python error: Aborted\)$"),
    ],
)
def test_a_failing_artifact_is_a_row_and_the_others_go_on(tmp_path, name, reason):
    first, failed, last = measure(tmp_path, "a", name, "b").rows
    assert failed.status == "failed"
    assert not failed.ran
    assert failed.p50_ms is None
    assert failed.samples_ms == ()
    assert re.match(reason, failed.error)
    assert first.rounds == last.rounds == 4


def test_files_of_one_name_are_told_apart_by_their_paths(tmp_path):
    (tmp_path / "old").mkdir()
    rows = measure(tmp_path, "a", "old/a", "b", plan=BenchPlan(rounds=1, frames=1, warmup=0)).rows
    assert [row.artifact for row in rows] == [str(tmp_path / "a.onnx"), str(tmp_path / "old" / "a.onnx"), "b.onnx"]


def test_without_a_first_artifact_there_is_no_ratio(tmp_path):
    assert [row.ratio_to_first for row in measure(tmp_path, "b_raises", "b").rows] == [None, None]


@pytest.mark.parametrize(("name", "backend"), [("b_evaluates", "evaluator"), ("b_interprets", "core ai interpreter")])
def test_a_substitute_for_the_device_runs_but_gets_no_times(tmp_path, name, backend):
    first, substitute = measure(tmp_path, "a", name).rows
    assert first.p50_ms is not None
    assert (substitute.backend, substitute.ran, substitute.p50_ms, substitute.samples_ms) == (backend, True, None, ())


def test_a_hanging_network_is_given_up(tmp_path):
    with Worker(tmp_path / "a.onnx", None, IMAGE, fake_sessions.SilentSession, timeout_s=20) as worker:
        worker.wait_ready()
        worker.timeout_s = 0.2
        with pytest.raises(WorkerError, match=r"running: no answer within 0\.2 s"):
            worker.time_frames(1)


def test_a_real_artifact_is_timed_from_picture_to_labels(tmp_path):
    path = write_artifact(tmp_path / "tiny.onnx")
    (row,) = measure_latency([path], IMAGE, "a test frame", BenchPlan((1,), rounds=2, frames=2)).rows
    assert (row.status, row.ran, row.target, row.precision) == ("unverified", True, "onnx", "fp32")
    assert len(row.samples_ms) == 4
    assert min(row.p50_ms, row.preprocess_ms, row.postprocess_ms) > 0


@pytest.mark.parametrize(
    ("content", "name", "status", "error"),
    [
        ({"passed": True}, "a.onnx.parity.json", "ok", None),
        ({"passed": False}, "a.onnx.parity.json", "failed", "parity failed"),
        (
            {"results": [{"file": "z.onnx", "passed": False}, {"file": "x/a.onnx", "passed": True}]},
            "parity.json",
            "ok",
            None,
        ),
        ({"passed": True}, "parity.json", "unverified", "says nothing about this file"),
        ({"passed": True, "sha256": "0" * 64}, "a.onnx.parity.json", "unverified", "another version"),
        ({"passed": "yes"}, "a.onnx.parity.json", "unverified", "says nothing"),
        ("{", "a.onnx.parity.json", "unverified", "cannot be read"),
    ],
)
def test_status_comes_from_the_parity_record_of_this_very_file(tmp_path, content, name, status, error):
    (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
    verdict = read_parity(tmp_path / "a.onnx", "onnx", "f" * 64)
    assert verdict.status == status
    assert (error is None and verdict.reason is None) or error in verdict.reason


def test_a_verdict_reaches_the_row_and_a_failed_one_keeps_its_times(tmp_path):
    for name, passed in (("a", True), ("b", False)):
        (tmp_path / f"{name}.onnx.parity.json").write_text(json.dumps({"passed": passed}))
    good, bad = measure(tmp_path, "a", "b", plan=BenchPlan(rounds=1, frames=1, warmup=0)).rows
    assert (good.status, good.error) == ("ok", None)
    assert (bad.status, bad.error, bad.ran) == ("failed", "parity failed (b.onnx.parity.json)", True)
    assert bad.p50_ms is not None


def test_a_checkpoint_is_the_reference_and_needs_no_record(tmp_path):
    assert read_parity(tmp_path / "ckpt.pth", "pytorch", "f" * 64).status == "ok"


@pytest.mark.parametrize(
    ("name", "message"), [("missing.onnx", "no such artifact"), ("notes.txt", "not a kind of artifact")]
)
def test_a_wrong_path_stops_before_anything_is_measured(tmp_path, name, message):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(SegError, match=message):
        measure_latency([tmp_path / name], IMAGE, "a test frame", opener=fake_sessions.open_some)


@pytest.mark.parametrize("wrong", [{"rounds": 0}, {"frames": 0}, {"warmup": -1}, {"threads": (0,)}, {"threads": ()}])
def test_an_impossible_plan_is_refused(wrong):
    with pytest.raises(SegError, match="benchmark"):
        BenchPlan(**wrong)


def test_the_report_survives_disk_and_is_read_strictly(tmp_path):
    report = measure(tmp_path, "a", plan=BenchPlan(rounds=1))
    path = tmp_path / "results" / "latency.json"
    save_json(path, report)
    assert load_report(path) == report
    data = json.loads(path.read_text())
    assert isinstance(report, LatencyReport)
    for change, message in (
        ({"schema_version": 2}, "reads version 1, found 2"),
        ({"extra": 1}, "extra: unknown field"),
    ):
        path.write_text(json.dumps(data | change))
        with pytest.raises(SpecError, match=message):
            load_report(path)
    data["rows"][0]["status"] = "fine"
    path.write_text(json.dumps(data))
    with pytest.raises(SpecError, match=r"rows\[0\]\.status"):
        load_report(path)


def test_a_report_that_cannot_be_written_keeps_the_older_one(tmp_path):
    path = tmp_path / "latency.json"
    save_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        save_json(path, {"a": float("nan")})
    (tmp_path / "blocked").write_text("")
    with pytest.raises(SegError, match=r"blocked.*cannot be written"):
        save_json(tmp_path / "blocked" / "latency.json", {})
    assert json.loads(path.read_text()) == {"a": 1}
    assert sorted(item.name for item in tmp_path.iterdir()) == ["blocked", "latency.json"]
