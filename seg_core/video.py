"""Read frames from a video and write an mp4 that appears whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
import numpy.typing as npt

from seg_core.atomic import replacing
from seg_core.errors import ImageError

UInt8 = npt.NDArray[np.uint8]

#: File names that are taken for videos.
VIDEO_SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".3gp"})

# FFmpeg reports damaged files on stderr by itself; the ImageError says it once and names the file.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


class VideoReader:
    """Iterate once over the frames of a video, BGR uint8 (H, W, 3), with the stream's rotation applied.

    `frame_count` is what the container claims (0 when it says nothing). Use it as a context manager.
    """

    def __init__(self, path: str | Path) -> None:
        """Open `path`; raises ImageError naming it when it is missing, not a video or holds no frame."""
        self.path = Path(path)
        if not self.path.is_file():
            raise ImageError(f"{self.path}: {'is a directory, not a video' if self.path.is_dir() else 'no such file'}")
        self._capture = cv2.VideoCapture(str(self.path), cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            raise ImageError(f"{self.path}: not a video, or a damaged one; play it, or convert it to mp4")
        read, first = self._capture.read()
        if not read:
            self._capture.release()
            raise ImageError(f"{self.path}: the video holds no frame that can be decoded")
        self._first: UInt8 | None = np.asarray(first, np.uint8)
        self.size_hw: tuple[int, int] = (first.shape[0], first.shape[1])
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.frames_per_second: float = rate if 0 < rate < 1000 else 25.0
        self.frame_count = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))

    def __iter__(self) -> Iterator[UInt8]:
        while self._first is not None:
            frame, self._first = self._first, None
            yield frame
            read, after = self._capture.read()
            if read:
                self._first = np.asarray(after, np.uint8)

    def close(self) -> None:
        """Release the file."""
        self._capture.release()

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_video(path: str | Path) -> VideoReader:
    """Open a video for reading; raises ImageError naming the file."""
    return VideoReader(path)


class VideoWriter:
    """Append BGR frames to an mp4 (MPEG-4 part 2, which every OpenCV wheel encodes). Made by `create_video`."""

    def __init__(self, path: Path, draft: Path, frames_per_second: float) -> None:
        """Prepare to write `draft` (`path` in messages); its encoder is opened with the first frame."""
        self.frames = 0
        self._path = path
        self._draft = draft
        self._rate = frames_per_second
        self._writer: cv2.VideoWriter | None = None
        self._size_hw = (0, 0)

    def write(self, frame_bgr: UInt8) -> None:
        """Append one frame, BGR uint8 (H, W, 3); raises ImageError when its size changes or nothing can encode it.

        Odd sizes are grown by one repeated row or column, which the codec needs.
        """
        height, width = size_hw = (frame_bgr.shape[0], frame_bgr.shape[1])
        if self._writer is None:
            self._size_hw = size_hw
            code = cv2.VideoWriter.fourcc(*"mp4v")
            even = (width + width % 2, height + height % 2)
            self._writer = cv2.VideoWriter(str(self._draft), cv2.CAP_FFMPEG, code, self._rate, even)
            if not self._writer.isOpened():
                raise ImageError(
                    f"{self._path}: this OpenCV cannot encode MPEG-4 of {width}x{height}; use an opencv-python wheel"
                )
        if size_hw != self._size_hw:
            raise ImageError(f"{self._path}: frame size changed from {self._size_hw} to {size_hw}")
        self._writer.write(cv2.copyMakeBorder(frame_bgr, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE))
        self.frames += 1

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.release()


@contextmanager
def create_video(path: str | Path, frames_per_second: float) -> Iterator[VideoWriter]:
    """Yield a writer whose mp4 takes the name `path` when the block ends well.

    An error inside the block leaves nothing behind and keeps an older file. Raises ImageError when `path` is no mp4,
    cannot be written, or would hold no frame.
    """
    path = Path(path)
    if path.suffix.lower() != ".mp4":
        raise ImageError(f"{path}: videos are written as .mp4")
    try:
        with replacing(path) as draft:
            writer = VideoWriter(path, draft, frames_per_second)
            try:
                yield writer
            finally:
                writer.close()
            # The encoder does not report a full disk; a result that cannot be opened is how it shows.
            if not writer.frames or not cv2.VideoCapture(str(draft), cv2.CAP_FFMPEG).isOpened():
                raise ImageError(f"{path}: the video could not be written (no frame, or the disk is full)")
    except OSError as error:
        raise ImageError(f"{path}: cannot be written ({error.strerror}); choose another directory") from None
