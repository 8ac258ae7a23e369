"""`docs/models.md` and `proven.json` are what the command makes of the committed results."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from seg_bench import zoo
from seg_bench.zoo import Files, list_proofs, zoo_command
from seg_bench.zoo_page import NOT_MEASURED, render_page
from seg_bench.zoo_schema import ZooLatency, ZooReport, ZooTime, load_results
from seg_core.errors import SegError, SpecError

ROOT = Path(__file__).parents[2]
FILES = Files(ROOT)


@pytest.fixture(scope="module")
def report():
    return load_results(ZooReport, FILES.report)


@pytest.fixture(scope="module")
def committed_latency():
    return load_results(ZooLatency, FILES.latency) if FILES.latency.exists() else None


def test_page_and_proofs_are_those_of_the_results(report, committed_latency):
    assert FILES.page.read_text(encoding="utf-8") == render_page(report, committed_latency), "run  make zoo"
    assert json.loads(FILES.proven.read_text(encoding="utf-8"))["proofs"] == list_proofs(report), "run  make zoo"


def test_every_registered_network_is_on_the_page(report):
    from seg_core.models import list_models

    assert [entry.model for entry in report.entries] == list_models(), "run  make zoo"


def test_what_failed_is_named_with_its_reason_and_not_proven(report):
    entry = report.entries[0]
    broken = replace(entry.exports[0], status="parity", max_abs_relative=0.25, label_agreement=0.5, error="too\nfar")
    lost = replace(entry.exports[1], status="failed", max_abs_relative=None, label_agreement=None, error="no such op")
    changed = replace(report, entries=(replace(entry, exports=(broken, lost, *entry.exports[2:])),))
    page = render_page(changed, None)
    assert "✗ 2.5e-01, 50.000 %" in page
    assert "✗ failed" in page
    assert f"- {entry.model}, {broken.target} fp32: too far\n" in page
    assert f"- {entry.model}, {lost.target} fp32: no such op\n" in page
    targets = {(proof["target"], proof["precision"]) for proof in list_proofs(changed)}
    assert not {(broken.target, "fp32"), (lost.target, "fp32")} & targets
    assert len(targets) == len(entry.exports) - 2


def test_times_are_shown_where_there_are_some(report):
    assert NOT_MEASURED in render_page(report, None)
    model = report.entries[0].model
    times = (
        ZooTime(model, "onnx", 20.04, 1.0, 9, "2026-01-02"),
        ZooTime(model, "tflite", 19.0, 0.948, 9, "2026-01-02"),
    )
    latency = ZooLatency("make zoo-latency", (256, 256), 2, model, report.environment, times)
    (row,) = [line for line in render_page(report, latency).splitlines() if line.startswith(f"| [{model}](")]
    assert row.endswith("| 20.0 ms, 1.00× | 19.0 ms, 0.95× |")


def test_99_point_9999_percent_is_not_100(report):
    entry = report.entries[0]
    export = replace(entry.exports[0], label_agreement=0.999999)
    page = render_page(replace(report, entries=(replace(entry, exports=(export,)),)), None)
    assert "99.999 %" in page


@pytest.fixture
def repository(tmp_path, monkeypatch, report):
    """A root with results of the first network alone; proving is faked and its calls are counted."""
    calls = []
    entry = report.entries[0]

    def prove(model, targets, shop, date):
        calls.append(model)
        if model == "ddrnet_39":
            raise SegError("ddrnet_39: stopped here")
        return replace(entry, model=model, date=date)

    files = Files(tmp_path)
    for path in (files.report, files.page, files.proven):
        path.parent.mkdir(parents=True, exist_ok=True)
    for folder in ("samples", "checkpoints"):
        (tmp_path / "mobile_demo" / folder).mkdir(parents=True)
    monkeypatch.setattr(zoo, "prove_model", prove)
    monkeypatch.setattr(zoo, "remove_untimed", lambda model, shop: None)
    monkeypatch.setattr(zoo, "list_installed_targets", lambda: {"onnx": ["fp32"]})
    return files, calls


def test_an_interrupted_run_goes_on_where_it_was(repository):
    files, calls = repository
    arguments = ["--root", str(files.root), "--model", "ddrnet_23_slim", "--model", "ddrnet-23", "--model", "ddrnet_39"]
    done = CliRunner().invoke(zoo_command, arguments)
    assert done.exit_code == 1
    assert "stopped here" in done.stderr
    done = CliRunner().invoke(zoo_command, arguments[:-2])
    assert done.exit_code == 0
    assert calls == ["ddrnet_23_slim", "ddrnet_23", "ddrnet_39"]
    assert "measured already" in done.stderr
    assert [entry.model for entry in load_results(ZooReport, files.report).entries] == ["ddrnet_23_slim", "ddrnet_23"]
    assert "[ddrnet_23](" in files.page.read_text(encoding="utf-8")
    CliRunner().invoke(zoo_command, [*arguments[:4], "--force"])
    assert calls[-1] == "ddrnet_23_slim"


def test_without_results_it_says_how_to_make_them(tmp_path):
    done = CliRunner().invoke(zoo_command, ["--root", str(tmp_path), "--page-only"])
    assert done.exit_code == 1
    assert "not there yet; run  make zoo" in done.stderr


def test_damaged_results_are_named(tmp_path):
    path = tmp_path / "zoo.json"
    path.write_text('{"schema_version": 7}')
    with pytest.raises(SpecError, match=r"zoo\.json: zoo\."):
        load_results(ZooReport, path)
