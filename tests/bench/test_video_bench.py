"""Clips filmed of labelled pictures, and networks compared on them."""

import json
from itertools import pairwise

import cv2
import numpy as np
import onnx
import pytest
from bench_material import NAMES, write_pair
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

from seg_bench.camera_path import CameraPath
from seg_bench.video import video_command
from seg_bench.video_measure import Clip, film_clips, measure, read_clip, summarise
from seg_core.errors import SegError
from seg_core.labels import LabelSet
from seg_core.manifest import METADATA_KEY, ArtifactInfo, GraphSpec, Manifest
from seg_core.prior import even_values
from seg_core.spec import ModelSpec, PostprocessSpec, PreprocessSpec, TensorSpec

HW = (64, 64)
STILL = CameraPath(4, HW, pan=0, zoom=0, rotate_deg=0, shake_px=0, brightness=0, noise=0, jpeg_quality=(100, 100))


def write_network(path, loyalty=None):
    """Write an ONNX file whose scores are R, G and B in 0..255; with `loyalty` the previous label gets as much more."""
    with_prior = loyalty is not None
    channels = 3 + with_prior
    shapes = {"image": (1, channels, *HW), "logits": (1, 3, *HW)}
    values = even_values(3)
    manifest = Manifest(
        artifact=ArtifactInfo(path.name, "onnx", "fp32"),
        model=ModelSpec("colours", 3, channels),
        preprocess=PreprocessSpec(
            HW, scale=1.0, mean=(0.0,) * channels, std=(1.0,) * channels,
            **({"prior": "previous_labels", "prior_values": values} if with_prior else {}),
        ),
        postprocess=PostprocessSpec(),
        labels=LabelSet(NAMES),
        graph=GraphSpec(),
        inputs=(TensorSpec("image", "image", shapes["image"], "float32", "nchw"),),
        outputs=(TensorSpec("logits", "logits", shapes["logits"], "float32", "nchw"),),
    )  # fmt: skip
    nodes, constants = [helper.make_node("Identity", ["image"], ["logits"])], []
    if with_prior:
        constants = [
            numpy_helper.from_array(np.array(value), name)
            for name, value in {"zero": [0], "three": [3], "four": [4], "axis": [1]}.items()
        ]
        constants.append(numpy_helper.from_array(np.float32(values).reshape(1, 3, 1, 1), "values"))
        constants.append(numpy_helper.from_array(np.float32(loyalty), "loyalty"))
        nodes = [
            helper.make_node("Slice", ["image", "zero", "three", "axis"], ["colours"]),
            helper.make_node("Slice", ["image", "three", "four", "axis"], ["prior"]),
            helper.make_node("Equal", ["prior", "values"], ["said"]),
            helper.make_node("Cast", ["said"], ["was"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["was", "loyalty"], ["bonus"]),
            helper.make_node("Add", ["colours", "bonus"], ["logits"]),
        ]
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    graph = helper.make_graph(nodes, "colours", tensors[:1], tensors[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {METADATA_KEY: manifest.to_json()})
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def scene():
    """A picture in dim colours, one of them the strongest everywhere, and its labels."""
    rng = np.random.default_rng(0)
    labels = np.zeros((96, 96), np.uint8)
    cv2.circle(labels, (44, 50), 24, 1, -1)
    cv2.rectangle(labels, (55, 20), (80, 44), 2, -1)
    image = rng.integers(60, 100, (12, 12, 3)).astype(np.uint8)
    image = cv2.resize(image, (96, 96))
    image[np.arange(96)[:, None], np.arange(96), 2 - labels] += 70
    return image, labels


@pytest.fixture
def data(tmp_path, scene):
    image, labels = scene
    for stem in ("a", "b"):
        write_pair(tmp_path / "data", stem, labels, labels)
        cv2.imwrite(str(tmp_path / "data" / "images" / f"{stem}.png"), image)
    return tmp_path / "data"


def test_a_still_camera_shows_the_picture_again_and_again(scene):
    image, labels = scene
    shots = list(STILL.film(image, labels, seed=0))
    assert len(shots) == 4
    expected = cv2.resize(labels, HW, interpolation=cv2.INTER_NEAREST)
    for frame, truth in shots:
        np.testing.assert_array_equal(frame, shots[0][0])
        assert (truth != expected).mean() < 0.06  # at outlines: by centre here, by corner there
        assert truth.shape == HW


def test_truth_moves_with_the_picture(scene):
    _, labels = scene
    picture = np.repeat((80 * labels)[..., None], 3, axis=2)
    path = CameraPath(6, HW, brightness=0, noise=0, jpeg_quality=(100, 100))
    shots = list(path.film(picture, labels, seed=3))
    assert len({truth.tobytes() for _, truth in shots}) == 6
    for frame, truth in shots:
        seen = truth != 255
        assert (np.rint(frame[..., 0] / 80) == truth)[seen].mean() > 0.95
        assert seen.mean() > 0.8


def test_equal_seeds_film_equal_clips(scene):
    first, second, other = (list(CameraPath(3, HW).film(*scene, seed=seed)) for seed in (1, 1, 2))
    for (frame, truth), (again, truth_again) in zip(first, second, strict=True):
        np.testing.assert_array_equal(frame, again)
        np.testing.assert_array_equal(truth, truth_again)
    assert not np.array_equal(first[0][0], other[0][0])


def test_neighbouring_frames_are_close_and_noisy(scene):
    frames = [frame.astype(int) for frame, _ in CameraPath(8, HW).film(*scene, seed=5)]
    steps = [np.abs(after - before).mean() for before, after in pairwise(frames)]
    assert min(steps) > 2
    assert max(steps) < 25


def test_loyalty_to_the_last_answer_calms_and_is_not_credited_without_memory(tmp_path, data):
    picture, video = write_network(tmp_path / "picture.onnx"), write_network(tmp_path / "video.onnx", loyalty=60)
    path = CameraPath(6, HW, pan=0.01, zoom=0.02, rotate_deg=1, shake_px=0, noise=60, jpeg_quality=(95, 95))
    rows = measure([picture, video], film_clips(data, LabelSet(NAMES), path, None, 0), threads=1)
    assert [(row.model, row.memory) for row in rows] == [
        ("picture.onnx", "none"), ("video.onnx", "kept"), ("video.onnx", "none")]  # fmt: skip
    alone, kept, forgetful = (row.to_json() for row in rows)
    assert alone["flicker"] == forgetful["flicker"] > 0.05
    assert kept["flicker"] < 0.8 * alone["flicker"]
    assert kept["temporal_consistency"] > alone["temporal_consistency"]
    assert alone["accuracy"]["miou"] == forgetful["accuracy"]["miou"]
    gains = summarise(rows, {})["gains"]
    assert [gains[0][name] for name in ("model", "memory", "over")] == ["video.onnx", "kept", "picture.onnx"]
    assert gains[0]["flicker"] == pytest.approx(kept["flicker"] - alone["flicker"])
    low, high = gains[0]["flicker_95"]
    assert low <= gains[0]["flicker"] <= high < 0
    assert gains[1]["miou"] == 0.0


def test_memory_does_not_reach_from_clip_to_clip(tmp_path, data):
    video = write_network(tmp_path / "video.onnx", loyalty=1000)  # never changes its mind
    first, _ = film_clips(data, LabelSet(NAMES), STILL, None, 0)
    upside_down = [np.ascontiguousarray(frame[::-1]) for frame in first.frames]
    second = Clip("flipped", tuple(upside_down), first.motions, tuple(truth[::-1] for truth in first.truths))
    kept, alone = measure([video], [first, second], threads=1)
    assert kept.confusion().mean_iou() == alone.confusion().mean_iou() > 0.9


def test_the_command_writes_what_it_found(tmp_path, data, samples_dir):
    (clip,) = samples_dir.glob("*.mp4")
    picture, video = write_network(tmp_path / "picture.onnx"), write_network(tmp_path / "video.onnx", loyalty=30)
    out = tmp_path / "video.json"
    arguments = ["--data", data, "--clips", 1, "--frames", 3, "--video", clip, "--threads", 1, "--out", out, "--json"]
    result = CliRunner().invoke(video_command, [str(part) for part in (picture, video, *arguments)])
    assert result.exit_code == 0, result.output
    written = json.loads(out.read_text())
    assert json.loads(result.stdout) == written
    assert written["filmed"]["clips"] == 1
    assert 0 <= written["filmed"]["truth"]["flicker"] < 0.05
    assert len(written["video"]["rows"]) == 3
    assert "accuracy" not in written["video"]["rows"][0]
    assert "accuracy" in written["filmed"]["rows"][0]


def test_masks_that_are_ignored_everywhere_have_no_scores(tmp_path, data):
    for mask in (data / "masks").iterdir():
        cv2.imwrite(str(mask), np.full((96, 96), 255, np.uint8))
    picture, video = write_network(tmp_path / "picture.onnx"), write_network(tmp_path / "video.onnx", loyalty=30)
    out = tmp_path / "video.json"
    arguments = ["--data", data, "--clips", 1, "--frames", 3, "--threads", 1, "--out", out]
    result = CliRunner().invoke(video_command, [str(part) for part in (picture, video, *arguments)])
    assert result.exit_code == 0, result.output
    assert "—" in result.output
    filmed = json.loads(out.read_text())["filmed"]
    assert filmed["rows"][0]["accuracy"]["miou"] is None
    assert [gain["miou"] for gain in filmed["gains"]] == [None, None]


def test_a_clip_too_small_to_follow_is_named(tmp_path):
    writer = cv2.VideoWriter(str(tmp_path / "tiny.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 5, (8, 8))
    for _ in range(3):
        writer.write(np.zeros((8, 8, 3), np.uint8))
    writer.release()
    with pytest.raises(SegError, match=r"tiny\.avi: frames: 8x8 .* at least 16"):
        read_clip(tmp_path / "tiny.avi", None)


def test_nothing_to_look_at_and_unlike_classes_are_refused(tmp_path, data, samples_dir):
    picture = write_network(tmp_path / "picture.onnx")
    result = CliRunner().invoke(video_command, [str(picture)])
    assert result.exit_code == 2
    assert "--data DIR, --video CLIP or both" in result.output
    (clip,) = samples_dir.glob("*.mp4")
    with pytest.raises(SegError, match="has one frame"):
        read_clip(clip, None, limit=1)
