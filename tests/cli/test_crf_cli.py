"""`--crf` of seg-predict and seg-eval: what it accepts, what it changes, and what is reported."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from seg_bench.cli import eval_command
from seg_core import CrfSpec, LabelSet, PostprocessSpec, PreprocessSpec, TensorSpec, load_mask, save_image
from seg_core.cli.crf import choose_crf
from seg_core.cli.predict import predict_command
from seg_core.manifest import ArtifactInfo, GraphSpec, Manifest
from seg_core.spec import ModelSpec

RED, BLUE = (0, 0, 200), (200, 0, 0)


class ShiftedRunner:
    """Give the colours' differences as scores, moved three pixels to the right: edges lie off the picture's."""

    target = "fake"

    def __init__(self):
        self.inputs = (TensorSpec("image", "image", (1, 3, 32, 32), "float32", "nchw"),)
        self.outputs = (TensorSpec("logits", "logits", (1, 2, 32, 32), "float32", "nchw"),)

    def run(self, feeds):
        (image,) = feeds.values()
        blue = np.roll(image[:, 2] - image[:, 0], 3, axis=2)
        blue[..., :3] = blue[..., 3:4]
        return {"logits": np.stack([-blue, blue], axis=1)}

    def close(self):
        pass


def manifest_with(crf):
    runner = ShiftedRunner()
    return Manifest(
        artifact=ArtifactInfo("model.fake", "fake", "fp32"),
        model=ModelSpec("shifted", 2),
        preprocess=PreprocessSpec((32, 32), mean=(0.0,) * 3, std=(1.0,) * 3),
        postprocess=PostprocessSpec(crf=crf),
        labels=LabelSet(("red", "blue")),
        graph=GraphSpec(),
        inputs=runner.inputs,
        outputs=runner.outputs,
    )


@pytest.fixture
def opened(monkeypatch):
    """Let any path open the shifted network; set the contract's CRF by calling it."""
    state = {"crf": None}

    def load(path, verify=True, stated=None):
        return manifest_with(state["crf"])

    for module in ("seg_core.cli.predict", "seg_core.manifest"):
        monkeypatch.setattr(f"{module}.load_manifest", load)
    monkeypatch.setattr("seg_core.predictor.open_runner", lambda path, manifest, threads=None: ShiftedRunner())
    return lambda crf: state.update(crf=crf)


@pytest.fixture
def half(tmp_path):
    """A data set of one picture, red to the left of column 32 and blue from there on, with its mask."""
    image = np.full((64, 64, 3), RED, np.uint8)
    image[:, 32:] = BLUE
    for folder, pixels in (("images", image), ("masks", (image[..., 0] > 0).astype(np.uint8))):
        (tmp_path / "data" / folder).mkdir(parents=True)
        save_image(tmp_path / "data" / folder / "half.png", pixels)
    (tmp_path / "model.fake").write_bytes(b"network")
    return tmp_path / "data" / "images" / "half.png"


def predicted(half, tmp_path, *options):
    out = tmp_path / "mask.png"
    arguments = [str(tmp_path / "model.fake"), str(half), "--save", "mask", "--out", str(out), "--json", *options]
    result = CliRunner().invoke(predict_command, arguments)
    assert result.exit_code == 0, result.output
    (record,) = json.loads(result.stdout)
    return int(np.count_nonzero(load_mask(out)[10] == 0)), record["timings_ms"]


def test_predict_moves_the_edge_to_the_pictures_when_asked(opened, half, tmp_path):
    column, timings = predicted(half, tmp_path)
    assert (column, "crf" in timings) == (38, False)
    settings = "iterations=10,appearance_weight=20,appearance_sigma_px=12"
    column, timings = predicted(half, tmp_path, "--crf", settings)
    assert column == 32
    assert 0 < timings["crf"] < timings["postprocess"]


def test_a_contracts_crf_runs_unless_switched_off(opened, half, tmp_path):
    opened(CrfSpec(10, appearance_weight=20.0, appearance_sigma_px=12.0))
    assert predicted(half, tmp_path)[0] == 32
    assert predicted(half, tmp_path, "--crf", "on")[0] == 32
    assert predicted(half, tmp_path, "--crf", "off")[0] == 38
    assert predicted(half, tmp_path, "--crf", "appearance_weight=0,smoothness_weight=0")[0] == 38


def test_settings_start_from_the_contract():
    contract = CrfSpec(iterations=7, scale=3)
    assert choose_crf(None, None) is None
    assert choose_crf(None, contract) == choose_crf("on", contract) == contract
    assert choose_crf("off", contract) is None
    assert choose_crf("on", None) == CrfSpec()
    assert choose_crf({"scale": 1}, contract) == CrfSpec(iterations=7, scale=1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("yes", "'yes': expected on, off or name=number"),
        ("iterations=many", "'iterations=many': expected on, off or name=number"),
        ("iteration=3", "crf.iteration: unknown field"),
        ("scale=9", "crf.scale: expected 1..4, found 9"),
        ("scale=1.5", "crf.scale: expected int"),
        ("", "expected on, off or name=number"),
    ],
)
@pytest.mark.parametrize("command", [predict_command, eval_command])
def test_wrong_settings_are_a_usage_error_that_names_them(command, settings, message, tmp_path):
    where = [str(tmp_path), "--out", str(tmp_path)] if command is predict_command else ["--data", str(tmp_path)]
    result = CliRunner().invoke(command, ["model", *where, "--crf", settings], env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert message in result.stderr


def test_eval_reports_both_ways_gain_and_cost(opened, half, tmp_path):
    out = tmp_path / "crf.json"
    settings = "iterations=10,appearance_weight=20,appearance_sigma_px=12"
    arguments = [str(tmp_path / "model.fake"), "--data", str(half.parents[1]), "--at", "source", "--threads", "1"]
    result = CliRunner().invoke(eval_command, [*arguments, "--crf", settings, "--json", "--out", str(out)])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report == json.loads(out.read_text())
    assert [(row["resize"], row["with_crf"]) for row in report["rows"]] == [
        ("labels", False), ("labels", True), ("logits", False), ("logits", True),
    ]  # fmt: skip
    plain, refined = report["rows"][:2]
    # Six of 64 columns are blue and called red; the outline is six pixels off, beyond the tolerance of two.
    assert plain["miou"] == pytest.approx((32 / 38 + 26 / 32) / 2)
    assert (plain["boundary_f"], refined["boundary_f"], refined["miou"]) == (0.0, 1.0, 1.0)
    assert report["gains"][0]["boundary_f"] == 1.0
    assert "boundary_f_95" not in report["gains"][0]  # one picture tells nothing of others
    assert report["gains"][0]["cost_p50_ms"] == pytest.approx(
        refined["postprocess_p50_ms"] - plain["postprocess_p50_ms"]
    )
    assert report["crf"]["iterations"] == 10
    assert report["images"] == 1
    assert "carried back as" in result.stderr


def test_eval_on_nothing_but_ignored_pixels_has_no_scores_and_no_gains(opened, half, tmp_path):
    save_image(half.parents[1] / "masks" / "half.png", np.full((64, 64), 255, np.uint8))
    out = tmp_path / "crf.json"
    arguments = [str(tmp_path / "model.fake"), "--data", str(half.parents[1]), "--at", "source", "--crf", "on"]
    result = CliRunner().invoke(eval_command, [*arguments, "--out", str(out)])
    assert result.exit_code == 0, result.output
    (gain, _) = json.loads(out.read_text())["gains"]
    assert (gain["boundary_f"], gain["miou"]) == (None, None)
    assert "boundary F —, mIoU —" in result.output


def test_eval_at_network_size_and_its_gate(opened, half, tmp_path):
    arguments = [str(tmp_path / "model.fake"), "--data", str(half.parents[1]), "--min-miou", "0.99"]
    refined = CliRunner().invoke(
        eval_command, [*arguments, "--crf", "iterations=10,appearance_weight=20,appearance_sigma_px=12,scale=1"]
    )
    assert refined.exit_code == 0, refined.output
    assert "at 32×32" in refined.stdout
    assert CliRunner().invoke(eval_command, arguments).exit_code == 3


@pytest.mark.parametrize(
    ("crf", "at", "said", "miou"),
    [
        (None, "network", "none", (16 / 19 + 13 / 16) / 2),
        (CrfSpec(10, appearance_weight=20.0, appearance_sigma_px=12.0), "network", "left out", (16 / 19 + 13 / 16) / 2),
        (CrfSpec(10, appearance_weight=20.0, appearance_sigma_px=12.0), "source", "applied", 1.0),
    ],
)
def test_eval_says_whether_the_contracts_crf_took_part(opened, half, tmp_path, crf, at, said, miou):
    opened(crf)
    arguments = [str(tmp_path / "model.fake"), "--data", str(half.parents[1]), "--at", at, "--json"]
    result = CliRunner().invoke(eval_command, arguments)
    assert result.exit_code == 0, result.output
    scores = json.loads(result.stdout)
    assert (scores["contract_crf"], scores["miou"]) == (said, pytest.approx(miou))
    line = "The contract's CRF is left out at network size, as in training: --at source runs it, --crf on compares."
    assert (line in result.stderr.splitlines()) == (said == "left out")


def test_eval_with_nothing_to_compare_is_a_usage_error(opened, half, tmp_path):
    arguments = [str(tmp_path / "model.fake"), "--data", str(half.parents[1]), "--crf", "off"]
    result = CliRunner().invoke(eval_command, arguments)
    assert result.exit_code == 2
    assert "nothing to compare" in result.stderr
