"""Label a video frame by frame, with a progress bar, into files that appear whole or not at all."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seg_core.cli.outputs import count_labels, make_directory, make_record
from seg_core.cli.regions import RegionChooser
from seg_core.errors import ImageError, MissingDependencyError
from seg_core.geometry import Roi
from seg_core.predictor import Predictor
from seg_core.video import VideoWriter, create_video, open_video

UInt8 = npt.NDArray[np.uint8]


def predict_video(
    predictor: Predictor,
    source: Path,
    outputs: Mapping[str, Path],
    chooser: RegionChooser,
    redetect: int | None,
    render: Callable[[str, UInt8, UInt8], UInt8],
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Label every frame of `source`, write each of `outputs` and return a record of it.

    A network that takes the previous frame's mask is given it. The record is that of an image plus `frames`, and
    `frames_with_prior` where there was such a mask (not in a first frame, nor after a cut); `class_pixels` are summed
    over frames, `timings_ms` are medians, `roi` is the last one. Raises ImageError naming `source` when it is no video
    or its first frame shows no face.
    """
    predictor.reset()
    track = _FaceTrack(chooser, redetect, source)
    timings: dict[str, list[float]] = {}
    counts = np.zeros(256, np.int64)
    with_prior = 0
    with ExitStack() as stack:
        video = stack.enter_context(open_video(source))
        writers: dict[str, VideoWriter] = {}
        for index, frame in enumerate(_with_progress(video, video.frame_count, source.name)):
            prediction = predictor.track(frame, track.region(index, frame))
            # Not earlier: a first frame without a face must leave no directory behind.
            for kind, path in outputs.items() if not writers else ():
                make_directory(path.parent)
                writers[kind] = stack.enter_context(create_video(path, video.frames_per_second))
            for kind, writer in writers.items():
                writer.write(render(kind, frame, prediction.labels))
            for step, value in prediction.timings_ms.items():
                timings.setdefault(step, []).append(value)
            counts += count_labels(prediction.labels)
            with_prior += prediction.used_prior
    medians = {step: statistics.median(values) for step, values in timings.items()}
    record = make_record(source, outputs, prediction.geometry, counts, predictor.labels, medians)
    record["frames"] = len(timings["total"])
    if predictor.preprocessor.spec.has_prior:
        record["frames_with_prior"] = with_prior
    if record["frames"] < video.frame_count:
        say(f"note: {source}: {record['frames']} of the {video.frame_count} frames it claims could be decoded")
    track.report(say)
    say(_line(record))
    return record


class _FaceTrack:
    """The region of each frame: that of the first frame, or looked for again every `redetect` frames."""

    def __init__(self, chooser: RegionChooser, redetect: int | None, source: Path) -> None:
        self._chooser = chooser
        self._redetect = redetect
        self._source = source
        self._roi: Roi | None = None
        self._looked = 0
        self._missed = 0
        self._remark = ""

    def region(self, index: int, frame: UInt8) -> Roi | None:
        if index and (self._redetect is None or index % self._redetect):
            return self._roi
        self._looked += 1
        try:
            self._roi, remark = self._chooser.choose(frame)
            self._remark = self._remark or remark
        except ImageError as error:
            if index == 0:
                raise ImageError(f"{self._source}: first frame: {error}") from None
            self._missed += 1
        return self._roi

    def report(self, say: Callable[[str], None]) -> None:
        if self._remark:
            say(f"note: {self._remark}")
        if self._missed:
            say(f"note: no face in {self._missed} of {self._looked} looks; the last region was kept there")


def _with_progress(frames: Iterable[UInt8], total: int, name: str) -> Iterator[UInt8]:
    """Yield `frames` under a progress bar on stderr; it stays away where stderr is no terminal."""
    try:
        from rich.console import Console
        from rich.markup import escape
        from rich.progress import track
    except ImportError:
        raise MissingDependencyError("rich", "the progress bar of a video", "segproof[cli]") from None
    console = Console(stderr=True)
    yield from track(
        frames, escape(name), total=total or None, console=console, transient=True, disable=not console.is_terminal
    )


def _line(record: Mapping[str, Any]) -> str:
    height, width = record["size_hw"]
    times = record["timings_ms"]
    return (
        f"{record['source']}: {record['frames']} frames of {width}x{height}, p50 {times['total']:.1f} ms a frame "
        f"(preprocess {times['preprocess']:.1f}, run {times['run']:.1f}, postprocess {times['postprocess']:.1f}) "
        f"-> {', '.join(record['outputs'].values())}"
    )
