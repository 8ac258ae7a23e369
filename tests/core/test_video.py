import struct

import cv2
import numpy as np
import pytest

from seg_core import ImageError, open_video
from seg_core.video import create_video


def test_the_shipped_clip(samples_dir):
    with open_video(samples_dir / "carphone_pristine.mp4") as video:
        assert (video.size_hw, video.frame_count) == ((144, 176), 120)
        assert video.frames_per_second == pytest.approx(29.97, abs=0.01)
        frames = list(video)
    assert len(frames) == 120
    assert all(frame.shape == (144, 176, 3) and frame.dtype == np.uint8 for frame in frames)
    assert not np.array_equal(frames[0], frames[60])


@pytest.mark.parametrize("size_hw", [(48, 64), (47, 63)])
def test_what_is_written_can_be_read(tmp_path, size_hw):
    path = tmp_path / "grün clip.mp4"
    with create_video(path, 12.5) as writer:
        for value in (0, 80, 160, 240):
            writer.write(np.full((*size_hw, 3), value, np.uint8))
    assert [item.name for item in tmp_path.iterdir()] == [path.name]
    with open_video(path) as video:
        assert video.size_hw == (48, 64)
        assert video.frames_per_second == pytest.approx(12.5)
        assert [round(frame.mean() / 80) for frame in video] == [0, 1, 2, 3]


def test_missing_directory_and_text_are_no_videos(tmp_path):
    (tmp_path / "text.mp4").write_text("not a video")
    (tmp_path / "empty.mp4").touch()
    for path, match in (
        (tmp_path / "none.mp4", "no such file"),
        (tmp_path, "is a directory"),
        (tmp_path / "text.mp4", "not a video"),
        (tmp_path / "empty.mp4", "not a video"),
    ):
        with pytest.raises(ImageError, match=match) as caught:
            open_video(path)
        assert str(path) in str(caught.value)


def test_a_video_without_frames_is_refused(tmp_path):
    path = tmp_path / "zero.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (32, 32))
    writer.release()
    with pytest.raises(ImageError, match=r"zero\.avi: (not a video|the video holds no frame)"):
        open_video(path)


def test_a_truncated_clip_is_refused(tmp_path, samples_dir):
    data = (samples_dir / "carphone_pristine.mp4").read_bytes()
    # Only the boxes before the media data: a container that says nothing of its streams.
    (tmp_path / "cut.mp4").write_bytes(data[: struct.unpack(">I", data[:4])[0]])
    with pytest.raises(ImageError, match=r"cut\.mp4"):
        open_video(tmp_path / "cut.mp4")


def test_an_error_leaves_no_file_and_keeps_the_older_one(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"older")
    frame = np.zeros((32, 32, 3), np.uint8)

    def write(*frames):
        with create_video(path, 10) as writer:
            for item in frames:
                if item is None:
                    raise KeyboardInterrupt
                writer.write(item)

    with pytest.raises(KeyboardInterrupt):
        write(frame, None)
    with pytest.raises(ImageError, match=r"clip\.mp4: frame size changed"):
        write(frame, frame[:16])
    with pytest.raises(ImageError, match="no frame"):
        write()
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"older"


def test_where_and_what_cannot_be_written(tmp_path):
    with pytest.raises(ImageError, match="cannot be written"), create_video(tmp_path / "none" / "a.mp4", 10):
        pass
    with pytest.raises(ImageError, match=r"written as \.mp4"), create_video(tmp_path / "a.avi", 10):
        pass
