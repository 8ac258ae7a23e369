"""The judgement itself: numbers, verdicts, files and images."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from seg_core.errors import CheckpointError, ConfigError, ImageError, SpecError
from seg_core.geometry import Roi
from seg_core.images import save_image
from seg_core.models.checkpoint import load_checkpoint, save_checkpoint
from seg_export.cli.console import Console, parity_tree
from seg_export.parity import (
    ParityReport,
    Reference,
    Tolerance,
    load_parity,
    load_samples,
    synthetic_samples,
    tolerance_of,
)
from seg_export.parity.compare import compare_image, summarise_output
from seg_export.parity.tolerances import TOLERANCES
from seg_export.targets import get_target, list_targets

STRICT = Tolerance(max_abs_relative=2e-5, label_agreement=0.9995)


@pytest.fixture
def logits():
    return np.random.default_rng(0).standard_normal((4, 50, 40)).astype(np.float32)


def test_equal_logits_agree(logits):
    verdict = compare_image("a", logits, logits.copy(), STRICT)
    assert (verdict.max_abs, verdict.max_abs_relative, verdict.label_agreement, verdict.passed) == (0.0, 0.0, 1.0, True)


def test_one_logit_beyond_the_bound_fails(logits):
    found = logits.copy()
    largest = float(np.abs(logits).max())
    found[0, 0, 0] += np.float32(3e-5 * largest)
    verdict = compare_image("a", found, logits, STRICT)
    assert verdict.max_abs_relative == pytest.approx(3e-5, rel=0.02)
    assert not verdict.passed
    assert compare_image("a", found, logits, Tolerance(None, 0.9995)).passed


def test_labels_alone_can_fail(logits):
    found = logits.copy()
    found[:, :2] = found[::-1, :2]
    verdict = compare_image("a", found, logits, Tolerance(None, 0.99))
    assert verdict.label_agreement == pytest.approx(0.96, abs=0.005)
    assert not verdict.passed


@pytest.mark.parametrize("damage", [np.nan, np.inf])
def test_values_that_are_not_finite_fail(logits, damage):
    found = logits.copy()
    found[1, 2, 3] = damage
    verdict = compare_image("a", found, logits, Tolerance(None, 0.0))
    assert not verdict.passed
    assert verdict.max_abs is None


def test_another_shape_fails(logits):
    assert not compare_image("a", logits.transpose(0, 2, 1), logits, Tolerance(None, 0.0)).passed


def test_the_worst_image_speaks_for_the_output(logits):
    noise = np.random.default_rng(1).standard_normal(logits.shape).astype(np.float32) * 1e-5
    images = [
        compare_image("good", logits, logits, STRICT),
        compare_image("bad", logits + 100 * noise, logits, STRICT),
        compare_image("fair", logits + noise, logits, STRICT),
    ]
    output = summarise_output("logits", logits.shape, 1.0, images)
    assert output.worst_image == "bad"
    assert not output.passed
    assert output.label_agreement == min(image.label_agreement for image in images)


@pytest.fixture
def report(logits):
    found = logits.copy()
    found[0, 0, 0] = np.nan
    images = [compare_image("a.png", found, logits, STRICT)]
    output = summarise_output("logits", (1, *logits.shape), 3.0, images)
    return ParityReport("net.onnx", "0" * 64, "onnx", "fp32", (50, 40), "net.pth", "1" * 64, STRICT, "real", True,
                        (output,), False, "2026-01-01T00:00:00Z")  # fmt: skip


def test_report_survives_its_file(report, tmp_path):
    path = tmp_path / "net.onnx.parity.json"
    path.write_text(report.to_json())
    assert load_parity(path) == report


def test_report_of_another_version_is_refused(report, tmp_path):
    path = tmp_path / "net.onnx.parity.json"
    path.write_text(json.dumps({**json.loads(report.to_json()), "schema_version": 99}))
    with pytest.raises(SpecError, match=r"net\.onnx\.parity\.json.*version 1, found 99"):
        load_parity(path)


def test_tree_marks_what_failed(report):
    lines = parity_tree(report)
    assert any("✓ preprocessing" in line for line in map(unstyled, lines))
    assert any("✗ logits" in line and "not finite" in line for line in map(unstyled, lines))
    for backend in ("evaluator", "core ai interpreter"):
        changed = parity_tree(replace(report, preprocessing_identical=False, backend=backend))
        assert any("✗ preprocessing" in line and "NOT identical" in line for line in map(unstyled, changed))
        assert any("not the Neural Engine" in line for line in changed)


def unstyled(line):
    import click

    return click.unstyle(line)


def test_plain_terminals_get_ascii(monkeypatch, capsys):
    class Latin:
        encoding = "latin-1"

    monkeypatch.setattr("seg_export.cli.console.sys.stdout", Latin())
    printed = []
    monkeypatch.setattr("seg_export.cli.console.click.echo", lambda text, err: printed.append(text))
    Console().say("├─ ✓ 1×2 ≤ 3 – …")
    assert printed == ["|- ok 1x2 <= 3 - ..."]


def test_every_offered_precision_has_a_tolerance():
    for name in list_targets():
        for precision in get_target(name).precisions:
            tolerance_of(name, precision)
    with pytest.raises(ConfigError, match="no parity tolerance for onnx in int8"):
        tolerance_of("onnx", "int8")


def test_fp32_is_never_looser_than_promised():
    for name in list_targets():
        tolerance = tolerance_of(name, "fp32")
        assert tolerance.max_abs_relative <= 2e-5
        assert tolerance.label_agreement >= 0.9995


def test_the_table_says_what_the_zoo_measured():
    root = Path(__file__).parents[2]
    source = (root / "export" / "seg_export" / "parity" / "tolerances.py").read_text()
    entries = json.loads((root / "benchmarks" / "results" / "zoo_256x256.json").read_text())["entries"]
    for target, precision in TOLERANCES:
        comment = next(line for line in source.splitlines() if f'("{target}", "{precision}")' in line).partition("#")[2]
        rows = {
            entry["model"]: row
            for entry in entries
            for row in entry["exports"]
            if (row["target"], row["precision"]) == (target, precision)
        }
        bundled = rows["ddrnet_23_slim"]
        agreement = f"{100 * bundled['label_agreement']:.3f}".replace("100.000", "100")
        assert f" {_exponent(bundled['max_abs_relative'])}, labels {agreement} %" in comment
        if precision == "fp32":
            largest = max(rows, key=lambda name: rows[name]["max_abs_relative"])
            assert largest == "bisenet_v2_large"
            assert f"largest {_exponent(rows[largest]['max_abs_relative'])}" in comment


def _exponent(value):
    return f"{value:.1e}".replace("e-0", "e-")


def test_synthetic_images_are_the_same_every_time():
    first, second = synthetic_samples(), synthetic_samples()
    assert len(first) == 3
    for one, other in zip(first, second, strict=True):
        assert np.array_equal(one.image_bgr, other.image_bgr)
        assert one.synthetic
    assert not np.array_equal(first[0].image_bgr, first[1].image_bgr)
    assert first[0].image_bgr.std() > 20


@pytest.mark.parametrize(
    ("rois", "words"),
    [
        ('{"Obama.jpg": [0, 0, 9, 9]}', r"'Obama\.jpg' is no file beside it; did you mean 'obama\.jpg'\?"),
        ('{"obama.jpg": [0, 0, 9, 9], "x": [0, 0, 1, 1]}', "'x' is no file beside it; remove its entry"),
        ('{"obama.jpg": [6.9, 0, 9, 9]}', r"obama\.jpg: expected .* whole pixels, found \[6\.9, 0, 9, 9\]"),
        ('{"obama.jpg": [6, "0", 9, 9]}', r"obama\.jpg: expected .* whole pixels, found \[6, '0', 9, 9\]"),
        ('{"obama.jpg": [6, true, 9, 9]}', r"obama\.jpg: expected .* whole pixels, found \[6, True, 9, 9\]"),
        ('{"obama.jpg": [6, 0, 9]}', r"obama\.jpg: expected .* whole pixels"),
        ('{"obama.jpg": {}}', r"obama\.jpg: expected .* whole pixels"),
        ('{"obama.jpg": [-1, 0, 9, 9]}', r"obama\.jpg: region -1,0,9,9: needs a corner inside"),
        ('{"obama.jpg": [0, 5, 20, 26]}', r"obama\.jpg: region 0,5,20,26 .* reaches beyond the image of 20x30"),
        ("[]", "expected {"),
        ("{", "expected {"),
    ],
)
def test_regions_that_mean_nothing_are_refused_and_named(tmp_path, rois, words):
    save_image(tmp_path / "obama.jpg", np.zeros((20, 30, 3), np.uint8))
    (tmp_path / "rois.json").write_text(rois)
    with pytest.raises(ImageError, match=rf"rois\.json: {words}"):
        load_samples(tmp_path)


def test_regions_of_the_other_images_may_stay_beside_one(tmp_path):
    for name in ("a.png", "b.png"):
        save_image(tmp_path / name, np.zeros((20, 30, 3), np.uint8))
    (tmp_path / "rois.json").write_text('{"a.png": [0, 5, 20, 25], "b.png": [1, 2, 3, 4]}')
    assert [sample.roi for sample in load_samples(tmp_path / "b.png")] == [Roi(1, 2, 3, 4)]
    assert [sample.roi for sample in load_samples(tmp_path)] == [Roi(0, 5, 20, 25), Roi(1, 2, 3, 4)]


@pytest.fixture
def exploded(checkpoint, tmp_path):
    """A checkpoint of finite weights whose logits are not."""
    loaded = load_checkpoint(checkpoint)
    weights = {name: value * 1e4 if value.ndim == 4 else value for name, value in loaded.state_dict.items()}
    save_checkpoint(tmp_path / "big.pth", replace(loaded, state_dict=weights))
    return tmp_path / "big.pth"


def test_a_checkpoint_whose_logits_are_not_finite_is_no_reference(exploded):
    reference = Reference(exploded, synthetic_samples(1))
    with pytest.raises(CheckpointError, match=r"big\.pth: its logits on synthetic_0 are not all finite.* epoch"):
        reference.runs()


def test_bundled_images_come_with_regions():
    from export_material import SAMPLES

    samples = {sample.name: sample for sample in load_samples(SAMPLES)}
    assert samples["obama.jpg"].roi == Roi(60, 50, 1214, 1214)
    for sample in samples.values():
        assert sample.roi is not None
        rows, columns = sample.roi.slices
        assert sample.image_bgr[rows, columns].shape[:2] == sample.roi.size_hw
