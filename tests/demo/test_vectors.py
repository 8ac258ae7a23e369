"""The golden vectors say what every port must do; here OpenCV and numpy are held to them."""

import csv
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from seg_core.reference import carry_labels, reference_preprocess, restore_labels

FOLDER = Path(__file__).parents[2] / "mobile_demo" / "vectors"


@pytest.fixture(scope="module")
def vectors():
    specification = importlib.util.spec_from_file_location("make_vectors", FOLDER / "make_vectors.py")
    module = importlib.util.module_from_spec(specification)
    sys.modules["make_vectors"] = module  # dataclasses look their module up
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def rows():
    with (FOLDER / "vectors.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_the_generator_writes_the_committed_file(tmp_path):
    subprocess.run([sys.executable, str(FOLDER / "make_vectors.py"), str(tmp_path / "again.csv")], check=True)
    assert (tmp_path / "again.csv").read_bytes() == (FOLDER / "vectors.csv").read_bytes()


def numpy_hash(vectors, case):
    """The hash of a case by numpy alone."""
    geometry = case.geometry()
    if case.kind == "restore":
        return vectors.hash_bytes(restore_labels(geometry, vectors.draw_labels(case), outside_label=255).tobytes())
    if case.kind == "label":
        scores = vectors.draw_scores(case)
        labels = np.argmax(scores[0], axis=0 if case.layout == "nchw" else 2).astype(np.uint8)
        labels = labels.repeat(vectors.SCORE_STRIDE, axis=0).repeat(vectors.SCORE_STRIDE, axis=1)
        return vectors.hash_bytes(restore_labels(geometry, labels, outside_label=case.pad_value).tobytes())
    prior = None
    if case.kind == "prior":
        prior = carry_labels(vectors.draw_labels(case), case.geometry_before(), geometry)
    tensor, _ = reference_preprocess(case.spec(), vectors.draw_picture(case), case.region(), prior)
    return vectors.hash_tensor(tensor)


def test_pure_numpy_gives_every_row(vectors, rows):
    cases = list(vectors.list_cases())
    assert len(cases) == len(rows)
    for case, row in zip(cases, rows, strict=True):
        assert numpy_hash(vectors, case) == row["fnv1a64"], row


def test_the_rows_cover_the_contract(rows):
    for column, values in {
        "kind": {"resize", "preprocess", "restore", "prior", "label"},
        "color": {"rgb", "bgr", "gray"},
        "resize": {"stretch", "letterbox", "center_crop"},
        "interpolation": {"linear_exact", "nearest"},
        "reduce": {"none", "halve"},
        "norm": {"imagenet", "half", "pixels", "raw"},
        "layout": {"nchw", "nhwc"},
    }.items():
        assert {row[column] for row in rows} == values, column
    assert len({row["fnv1a64"] for row in rows}) > 0.95 * len(rows)  # a hash of nothing would repeat


def test_hash_and_generator_are_the_published_ones(vectors):
    assert vectors.hash_bytes(b"") == "cbf29ce484222325"
    assert vectors.hash_bytes(b"foobar") == "85944171f73967e8"  # from the authors' test suite
    state = 2463534242  # Marsaglia's seed: the first output of his xor32 is 723471715
    assert vectors.draw_bytes(state, 1)[0] == 723471715 >> 24


def test_the_whole_contract_is_asked_for_with_either_interpolation_under_every_policy(rows):
    found = {tuple(row[key] for key in ("interpolation", "resize")) for row in rows if row["kind"] == "preprocess"}
    assert len(found) == 6


def test_the_rows_of_priors_and_labels_ask_for_every_layout_and_policy(rows):
    for kind in ("prior", "label"):
        for columns in (("layout", "resize"), ("layout", "roi"), ("resize", "roi")):
            found = {tuple(bool(row[key]) if key == "roi" else row[key] for key in columns)
                     for row in rows if row["kind"] == kind}  # fmt: skip
            assert len(found) == (4 if columns == ("layout", "roi") else 6), (kind, columns)
    assert {row["color"] for row in rows if row["kind"] == "prior"} == {"rgb", "bgr", "gray"}
    assert {"0", "255"} < {row["pad_value"] for row in rows if row["kind"] == "label" and row["roi"]}


def test_rows_at_the_sizes_of_networks_hold_ties_and_the_last_bit_of_the_scale(rows):
    def weights(source, target, scale):
        return np.rint((scale * (np.arange(target) + 0.5) - 0.5) % 1 * 256) % 256

    ties = bits = 0
    for row in rows:
        for side in ("h", "w"):
            source, target = int(row[f"source_{side}"]), int(row[f"size_{side}"])
            if target < 256:
                continue
            scale = 1.0 / (target / source)
            ties += bool(((scale * (np.arange(target) + 0.5) - 0.5) % 1 * 256 % 1 == 0.5).all())
            bits += bool((weights(source, target, scale) != weights(source, target, source / target)).any())
    assert ties >= 3
    assert bits >= 3
