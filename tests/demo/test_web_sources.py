"""The page's own tests and types, under Node."""

import itertools
import json
import re
import subprocess

import pytest
from browser_material import find_program

from seg_core import PreprocessSpec, Roi, plan_geometry, reference_preprocess
from seg_core.prior import carry_labels
from seg_core.spec import to_json
from seg_demo.golden import draw_picture, hash_bytes
from seg_demo.site import WEB_DIRECTORY

pytestmark = pytest.mark.browser


def test_node_tests_pass():
    found = sorted((WEB_DIRECTORY / "test").glob("*.test.mjs"))
    command = [find_program("node"), "--test", "--test-reporter=tap", *map(str, found)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert int(re.search(r"^# pass (\d+)$", done.stdout, re.MULTILINE).group(1)) > 40
    assert re.search(r"^# skipped 0$", done.stdout, re.MULTILINE)


def test_types_are_right():
    compiler = WEB_DIRECTORY / "node_modules" / "typescript" / "bin" / "tsc"
    if not compiler.is_file():
        pytest.skip(f"needs  npm ci --prefix {WEB_DIRECTORY}")
    command = [find_program("node"), str(compiler), "--project", str(WEB_DIRECTORY)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


#: Carry labels from one frame's geometry to the next and hash the tensor that they are part of.
CARRY = """
import { planGeometry } from './geometry.js';
import { preprocess } from './preprocess.js';
import { carryLabels } from './prior.js';
import { drawBytes, drawPicture, hashBytes } from './vectors.js';
const rect = (roi) => roi && { top: roi[0], left: roi[1], height: roi[2], width: roi[3] };
const found = CASES.map(({ spec, seed, before, after, roi_before, roi_after }) => {
  const size = (hw) => ({ height: hw[0], width: hw[1] });
  const labels = drawBytes(seed, spec.size_hw[0] * spec.size_hw[1]).map((byte) => byte % 4);
  const old = planGeometry(size(before), spec, rect(roi_before));
  const recall = (geometry) => carryLabels(labels, old, geometry);
  return hashBytes(preprocess(spec, drawPicture(seed, ...after), rect(roi_after), recall).tensor);
});
console.log(JSON.stringify(found));
"""


def draw_bytes(seed, count):
    return draw_picture(seed, (1, -(-count // 3))).ravel()[:count]


def carry_cases():
    for seed, (policy, layout, color, dtype) in enumerate(
        itertools.product(
            ("stretch", "letterbox", "center_crop"), ("nchw", "nhwc"), ("rgb", "gray"), ("float32", "uint8")
        ),
        start=1,
    ):
        channels = 2 if color == "gray" else 4
        raw = dtype == "uint8"
        spec = PreprocessSpec(
            (12, 10), color, policy, layout=layout, dtype=dtype, scale=1.0 if raw else 1 / 255, pad_value=7,
            mean=(0.0,) * channels if raw else (0.485, 0.456, 0.406, 0.0)[-channels:],
            std=(1.0,) * channels if raw else (0.229, 0.224, 0.225, 0.25)[-channels:],
            prior="previous_labels", prior_values=(63, 126, 189),
        )  # fmt: skip
        source = (23, 37)
        yield spec, seed, source, source, None, None
        yield spec, seed, source, source, (2, 3, 15, 20), (4, 1, 17, 21)
        yield spec, seed, source, (24, 37), None, (0, 0, 20, 20)


def test_previous_labels_are_fed_as_python_feeds_them():
    cases, expected = [], []
    for spec, seed, before, after, roi_before, roi_after in carry_cases():
        labels = (draw_bytes(seed, 120) % 4).reshape(12, 10)  # one label more than values: it is fed as unknown
        old = plan_geometry(before, spec, roi_before and Roi(*roi_before))
        new = plan_geometry(after, spec, roi_after and Roi(*roi_after))
        prior = carry_labels(labels, old, new)
        picture = draw_bytes(seed, after[0] * after[1] * 3).reshape(*after, 3)
        tensor, _ = reference_preprocess(spec, picture, roi_after and Roi(*roi_after), prior)
        expected.append(hash_bytes(tensor.tobytes()))
        cases.append(
            {"spec": to_json(spec), "seed": seed, "before": before, "after": after}
            | {"roi_before": roi_before, "roi_after": roi_after}
        )
    sources = CARRY.replace("CASES", json.dumps(cases)).replace("'./", f"'{(WEB_DIRECTORY / 'src').as_uri()}/")
    command = [find_program("node"), "--input-type=module", "-"]
    done = subprocess.run(command, input=sources, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == expected
    assert len(set(expected)) > 0.9 * len(expected) > 60
