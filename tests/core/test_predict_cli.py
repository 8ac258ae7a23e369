import json
import shutil
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from seg_core import Predictor, load_image, load_mask, open_video, save_image
from seg_core.cli import predict
from seg_core.cli.predict import predict_command


@pytest.fixture
def opened(monkeypatch, colour_predictor):
    """Let any model path open the colour predictor; holds what was asked for."""
    asked = []

    def fake_open(path, threads=None, manifest=None):
        asked.append((path, threads))
        return colour_predictor

    monkeypatch.setattr(Predictor, "open", fake_open)
    monkeypatch.setattr(predict, "load_manifest", lambda path, stated: SimpleNamespace(provenance={}))
    return asked


@pytest.fixture
def red(tmp_path):
    """A red picture with a blue square at rows 8..24, columns 16..32."""
    image = np.zeros((40, 60, 3), np.uint8)
    image[..., 2] = 200
    image[8:24, 16:32] = (200, 0, 0)
    path = tmp_path / "in" / "red one.png"
    path.parent.mkdir()
    save_image(path, image)
    return path


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for _ in range(5):
        writer.write(np.full((48, 64, 3), (0, 200, 0), np.uint8))
    writer.release()
    return path


def call(*arguments):
    return CliRunner().invoke(predict_command, [str(argument) for argument in arguments])


def fails(result, code, *parts):
    assert result.exit_code == code, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    lines = [line for line in result.stderr.splitlines() if line.lower().startswith("error: ")]
    assert lines, result.stderr
    for part in parts:
        assert part in lines[-1]


# ---- what is written


def test_one_picture_one_file(opened, red, tmp_path):
    out = tmp_path / "new folder" / "result.png"
    result = call("model.onnx", red, "--out", out, "--threads", 3)
    assert result.exit_code == 0, result.output
    assert opened[0][1] == 3
    assert load_image(out).shape == (40, 60, 3)
    assert result.stdout.count("note: the whole image") == 1
    assert "red 90 %, blue 10 %" in result.stdout  # 89.3 and 10.7, coarsened by the network's 32 pixels


def test_all_kinds_into_a_directory_with_json(opened, red, tmp_path):
    out = tmp_path / "out"
    result = call("m.onnx", red, "--out", out, "--save", "overlay,mask,side", "--json", "--roi", "8,16,16")
    assert result.exit_code == 0, result.output
    (record,) = json.loads(result.stdout)
    assert set(record) == {"source", "outputs", "size_hw", "roi", "class_pixels", "timings_ms"}
    assert record["source"] == str(red)
    assert record["size_hw"] == [40, 60]
    assert record["roi"] == [8, 16, 16, 16]
    assert record["class_pixels"] == {"red": 40 * 60 - 256, "green": 0, "blue": 256}
    assert record["outputs"] == {kind: str(out / f"red one_{kind}.png") for kind in ("overlay", "mask", "side")}
    mask = load_mask(out / "red one_mask.png")
    assert (mask[8:24, 16:32] == 2).all()
    assert load_image(out / "red one_side.png").shape[1] > 3 * 60
    assert "note:" not in result.stderr
    assert "region 8,16,16,16" in result.stderr


def test_opacity_zero_shows_the_picture(opened, red, tmp_path):
    out = tmp_path / "o.png"
    assert call("m.onnx", red, "--out", out, "--opacity", 0, "--roi", "8,16,16,16").exit_code == 0
    np.testing.assert_array_equal(load_image(out)[12:20, 20:28], load_image(red)[12:20, 20:28])


def test_a_video_becomes_a_video(opened, clip, tmp_path):
    out = tmp_path / "out.mp4"
    result = call("m.onnx", clip, "--out", out, "--json")
    assert result.exit_code == 0, result.output
    (record,) = json.loads(result.stdout)
    assert record["frames"] == 5
    assert record["class_pixels"] == {"red": 0, "green": 5 * 48 * 64, "blue": 0}
    assert "p50" in result.stderr
    with open_video(out) as video:
        assert len(list(video)) == 5
    assert sorted(item.name for item in tmp_path.iterdir()) == ["clip.avi", "out.mp4"]


def test_video_views_with_a_legend_keep_one_size(opened, clip, tmp_path):
    result = call("m.onnx", clip, "--out", tmp_path / "out", "--save", "overlay,side")
    assert result.exit_code == 0, result.output
    assert sorted(item.name for item in (tmp_path / "out").iterdir()) == ["clip_overlay.mp4", "clip_side.mp4"]


def test_a_face_is_found_in_a_photograph_and_a_clip(opened, samples_dir, tmp_path):
    source = samples_dir / "grace_hopper.png"
    result = call("m.onnx", source, "--out", tmp_path / "a.png", "--roi", "face", "--json")
    assert result.exit_code == 0, result.output
    top, left, height, width = json.loads(result.stdout)[0]["roi"]
    assert height == width
    assert 0 <= top < 40
    assert 50 < left < 110
    clip = samples_dir / "carphone_pristine.mp4"
    result = call("m.onnx", clip, "--out", tmp_path / "b.mp4", "--roi", "face", "--redetect", 40)
    assert result.exit_code == 0, result.output
    assert "120 frames of 176x144" in result.stdout


# ---- what is refused


def test_files_of_a_directory_fail_alone(opened, red, tmp_path):
    (red.parent / "broken.jpg").write_text("no picture")
    (red.parent / "empty.png").touch()
    result = call("m.onnx", red.parent, "--out", tmp_path / "out", "--json")
    fails(result, 1, "2 of 3 images failed")
    assert [record["source"] for record in json.loads(result.stdout)] == [str(red)]
    for name in ("broken.jpg: not an image", "empty.png: the file is empty"):
        assert sum(name in line for line in result.stderr.splitlines()) == 1
    assert [item.name for item in (tmp_path / "out").iterdir()] == ["red one_overlay.png"]


def test_a_directory_where_all_fail_leaves_nothing(opened, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "in" / name).write_text("no picture")
    fails(call("m.onnx", tmp_path / "in", "--out", tmp_path / "out"), 1, "2 of 2 images failed")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["", "1", "1,2", "1,2,3,4,5", "a,b,c", "1,2,-3", "1.5,2,3", "1,2,0", "faces", "١,٢,٣"])
def test_a_malformed_region_is_a_usage_error(opened, red, tmp_path, text):
    result = call("m.onnx", red, "--out", tmp_path / "o.png", "--roi", text)
    fails(result, 2, "--roi")
    assert opened == []


@pytest.mark.parametrize("text", ["", ",", "overlay,masks"])
def test_an_unknown_kind_is_a_usage_error(opened, red, tmp_path, text):
    fails(call("m.onnx", red, "--out", tmp_path, "--save", text), 2, "choose from overlay, mask, side")


@pytest.mark.parametrize("threads", [0, 100_000])
def test_threads_that_no_machine_has_are_a_usage_error(opened, red, tmp_path, threads):
    """A runtime would make them: that took 16 GB and a quarter of an hour."""
    result = call("model.onnx", red, "--out", tmp_path / "out.png", "--threads", threads)
    assert result.exit_code == 2
    assert f"{threads} is not in the range" in result.output


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (("--roi", "0,0,41"), ("red one.png: region 0,0,41,41", "beyond the image of 40x60")),
        (("--roi", "face"), ("red one.png: no frontal face found",)),
        (("--redetect", "5"), ("--redetect",)),
    ],
)
def test_regions_that_cannot_be(opened, red, tmp_path, options, parts):
    fails(call("m.onnx", red, "--out", tmp_path / "o.png", *options), 1, *parts)
    assert not (tmp_path / "o.png").exists()


def test_sources_that_are_none(opened, tmp_path):
    out = tmp_path / "o.png"
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "text.png").write_text("no picture")
    fails(call("m.onnx", tmp_path / "none.png", "--out", out), 1, "none.png: no such file")
    fails(call("m.onnx", tmp_path / "empty", "--out", tmp_path / "out"), 1, "empty: holds no image")
    fails(call("m.onnx", tmp_path / "text.png", "--out", out), 1, "text.png: not an image")
    fails(call("m.onnx", tmp_path / "none.mp4", "--out", tmp_path / "o.mp4"), 1, "none.mp4: no such file")
    fails(call("m.onnx", tmp_path / "text.mp4", "--out", tmp_path / "new" / "o.mp4"), 1, "text.mp4: not a video")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["empty", "text.mp4", "text.png"]


def test_a_clip_without_a_face_leaves_nothing(opened, clip, tmp_path):
    result = call("m.onnx", clip, "--out", tmp_path / "new" / "o.mp4", "--roi", "face")
    fails(result, 1, "clip.avi: first frame: no frontal face found")
    assert [item.name for item in tmp_path.iterdir()] == ["clip.avi"]


def test_a_source_or_the_model_is_never_overwritten(opened, red, tmp_path):
    before = red.read_bytes()
    fails(call("m.onnx", red, "--out", red), 1, "would overwrite", "red one.png")
    link = tmp_path / "link.png"
    link.hardlink_to(red)
    fails(call("m.onnx", red, "--out", link), 1, "would overwrite")
    other = red.parent / "red one_overlay.png"
    shutil.copy(red, other)
    fails(call("m.onnx", red.parent, "--out", red.parent), 1, "is the source directory")
    # From one directory to another, but an output is a link to a source.
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "red one_overlay.png").symlink_to(other)
    fails(call("m.onnx", red.parent, "--out", tmp_path / "out"), 1, "would overwrite")
    model = tmp_path / "model.png"
    shutil.copy(red, model)
    fails(call(model, red, "--out", model), 1, "would overwrite")
    assert red.read_bytes() == before == other.read_bytes() == model.read_bytes()


def test_two_sources_of_one_name_are_a_clash(opened, red, tmp_path):
    shutil.copy(red, red.with_suffix(".bmp.png"))
    save_image(red.with_name("RED one.bmp"), load_image(red))
    result = call("m.onnx", red.parent, "--out", tmp_path / "out")
    fails(result, 1, "RED one.bmp and ", "would both be written to")
    assert not (tmp_path / "out").exists()


def test_outputs_that_cannot_be(opened, red, clip, tmp_path):
    save = ("--save", "mask")
    fails(call("m", red, "--out", tmp_path / "o.png", "--save", "mask,side"), 1, "one file", "mask, side")
    fails(call("m", red, "--out", tmp_path / "o.jpg", *save), 1, "o.jpg", "compression; name a .png")
    fails(call("m", red, "--out", tmp_path / "o.mp4"), 1, "red one.png gives an image")
    fails(call("m", clip, "--out", tmp_path / "o.png"), 1, "clip.avi gives a video")
    fails(call("m", clip, "--out", tmp_path / "o.avi"), 1, "videos are written as .mp4")
    fails(call("m", clip, "--out", tmp_path / "out", *save), 1, "save overlay or side")
    fails(call("m", red.parent, "--out", tmp_path / "o.png"), 1, "for a directory of images")
    (tmp_path / "file").touch()
    fails(call("m", red, "--out", tmp_path / "file"), 1, "is a file, not a directory")
    fails(call("m", red, "--out", tmp_path / "file" / "deeper"), 1, "cannot be written")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["clip.avi", "file", "in"]


def test_a_missing_model_is_named(red, tmp_path):
    fails(call(tmp_path / "none.onnx", red, "--out", tmp_path / "o.png"), 1, "none.onnx")


def test_ctrl_c_ends_with_130_and_no_file(opened, clip, tmp_path, monkeypatch, colour_predictor):
    frames = iter([None, None])

    def interrupt(feeds):
        if next(frames, "stop") == "stop":
            raise KeyboardInterrupt
        return {"logits": next(iter(feeds.values()))}

    monkeypatch.setattr(colour_predictor.runner, "run", interrupt)
    result = call("m.onnx", clip, "--out", tmp_path / "o.mp4")
    assert result.exit_code == 130
    assert "interrupted" in result.stderr
    assert [item.name for item in tmp_path.iterdir()] == ["clip.avi"]


def test_help_shows_examples_on_their_own_lines():
    result = call("--help")
    assert result.exit_code == 0
    assert "\n    seg-predict model.onnx photo.jpg --roi face" in result.stdout
