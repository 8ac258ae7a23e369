"""Run networks over videos and score how right and how steady their labels are.

Clips with a known truth are filmed from a data set (`seg_bench.camera_path`) and give mIoU and steadiness; a real clip
gives steadiness alone. A network with a prior is measured twice, with its memory and without it. All see the same
frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from seg_bench.accuracy import without_unknown
from seg_bench.bootstrap import intervals_95, without_nan
from seg_bench.camera_path import CameraPath
from seg_bench.environment import read_environment
from seg_bench.opening import open_predictor
from seg_core.convention import foreign_provenance
from seg_core.errors import SegError
from seg_core.geometry import Roi
from seg_core.labels import LabelSet
from seg_core.manifest import Manifest, hash_artifact
from seg_core.metrics import ConfusionMatrix
from seg_core.predictor import Predictor
from seg_core.samples import list_pairs, load_pair
from seg_core.spec import to_json
from seg_core.temporal import Motion, TemporalConsistency, estimate_motion
from seg_core.video import open_video

UInt8 = npt.NDArray[np.uint8]
Memory = Literal["kept", "none"]


@dataclass(frozen=True)
class Clip:
    """Frames BGR uint8 (H, W, 3), the motion from each to the next, and in a filmed clip the truth (H, W) of each."""

    name: str
    frames: tuple[UInt8, ...]
    motions: tuple[Motion, ...]
    truths: tuple[UInt8, ...] | None = None
    roi: Roi | None = None


@dataclass
class VideoRow:
    """One network in one manner, clip by clip. `memory` "none" is every frame for itself, as without a prior."""

    model: str
    sha256: str
    manifest: Manifest
    memory: Memory
    steadiness: list[TemporalConsistency] = field(default_factory=list)
    confusions: list[ConfusionMatrix] = field(default_factory=list)
    run_ms: list[float] = field(default_factory=list)

    def consistency(self, chosen: Sequence[int] | None = None) -> TemporalConsistency:
        """Return the steadiness over all clips, or over the `chosen` ones (an index may come twice)."""
        total = TemporalConsistency(self.manifest.labels.num_classes)
        for index in range(len(self.steadiness)) if chosen is None else chosen:
            total.merge(self.steadiness[index])
        return total

    def confusion(self, chosen: Sequence[int] | None = None) -> ConfusionMatrix:
        """Return the counts over all clips, or over the `chosen` ones."""
        labels = self.manifest.labels
        total = ConfusionMatrix(labels.num_classes, labels.ignore_index)
        for index in range(len(self.confusions)) if chosen is None else chosen:
            total.merge(self.confusions[index])
        return total

    def scores(self, chosen: Sequence[int] | None = None) -> dict[str, float]:
        """Return what gains are told of, over all clips or over the `chosen` ones."""
        consistency = self.consistency(chosen)
        scores = {"flicker": consistency.flicker(), "temporal_consistency": consistency.mean_iou()}
        return scores | ({"miou": self.confusion(chosen).mean_iou()} if self.confusions else {})

    def to_json(self) -> dict[str, Any]:
        """Return the scores as JSON types; "accuracy" where there is a truth, "provenance" of a foreign checkpoint."""
        accuracy = {"accuracy": self.confusion().to_json(self.manifest.labels.names)} if self.confusions else {}
        foreign = foreign_provenance(self.manifest.provenance)
        return {
            "model": self.model,
            "sha256": self.sha256,
            "target": self.manifest.artifact.target,
            "precision": self.manifest.artifact.precision,
            "prior": self.manifest.preprocess.prior,
            "memory": self.memory,
            **self.consistency().to_json(),
            **accuracy,
            "total_p50_ms": float(np.median(self.run_ms)),
            **({"provenance": foreign} if foreign is not None else {}),
        }


def film_clips(data_dir: Path, labels: LabelSet, path: CameraPath, count: int | None, seed: int) -> Iterator[Clip]:
    """Yield a filmed clip of each of the first `count` pairs by name; raises SegError naming a bad pair."""
    for index, pair in enumerate(list_pairs(data_dir)[:count]):
        image_bgr, mask = load_pair(pair, labels)
        shots = list(path.film(image_bgr, mask, seed + index, labels.ignore_index))
        frames = tuple(frame for frame, _ in shots)
        yield Clip(pair.image.name, frames, _motions(frames), tuple(truth for _, truth in shots))


def read_clip(video: Path, roi: Roi | None, limit: int | None = None) -> Clip:
    """Return the first `limit` frames of a video file as a clip without truth; raises SegError naming it."""
    with open_video(video) as reader:
        frames = tuple(frame for _, frame in zip(range(limit), reader, strict=False)) if limit else tuple(reader)
    if len(frames) < 2:
        raise SegError(f"{video}: has one frame, so nothing can be said of change")
    try:
        return Clip(video.name, frames, _motions(frames), roi=roi)
    except SegError as error:
        raise SegError(f"{video}: {error}") from None


class TruthWatch:
    """Pass clips on and score the steadiness of their truths: what no network can beat, for want of a better flow."""

    def __init__(self, clips: Iterable[Clip], num_classes: int) -> None:
        """Watch `clips`; `consistency` is complete when they have all been taken."""
        self._clips = clips
        self.consistency = TemporalConsistency(num_classes)

    def __iter__(self) -> Iterator[Clip]:
        for clip in self._clips:
            for motion, (before, after) in zip(clip.motions, pairwise(clip.truths or ()), strict=False):
                self.consistency.update(motion, before, after)
            yield clip


def measure(
    models: Sequence[Path],
    clips: Iterable[Clip],
    threads: int | None = None,
    manifests: Sequence[Manifest] | None = None,
) -> list[VideoRow]:
    """Run every model over every clip; raises SegError when one cannot be opened or the classes differ.

    Label maps are compared at the size of the frames, through the pipeline an application runs. A model with a prior
    gives two rows, the one with its memory first. `manifests` are those of the models, read where they are not given.
    """
    known: Sequence[Manifest | None] = manifests or [None] * len(models)
    opened = [(path, *open_predictor(path, threads, manifest)) for path, manifest in zip(models, known, strict=True)]
    names = {manifest.labels.names for _, _, manifest in opened}
    if len(names) > 1:
        raise SegError("models: their classes differ, so their scores cannot be compared")
    rows = [
        (predictor, VideoRow(path.name, hash_artifact(path), manifest, memory))
        for path, predictor, manifest in opened
        for memory in (("kept", "none") if manifest.preprocess.has_prior else ("none",))
    ]
    for clip in clips:
        for predictor, row in rows:
            _run(predictor, row, clip)
    for _, predictor, _ in opened:
        predictor.close()
    return [row for _, row in rows]


def gain(row: VideoRow, base: VideoRow) -> dict[str, Any]:
    """Return how `row` differs from `base`, with 95 % intervals from resampling the clips where there are several.

    A difference is None where there is no score, as on masks that are ignored everywhere.
    """

    def gains(chosen: Sequence[int] | None = None) -> dict[str, float]:
        theirs = base.scores(chosen)
        return {name: score - theirs[name] for name, score in row.scores(chosen).items()}

    return {
        "model": row.model,
        "memory": row.memory,
        "over": base.model,
        "over_memory": base.memory,
        **without_nan(gains()),
        **intervals_95(gains, len(base.steadiness)),
    }


def summarise(rows: Sequence[VideoRow], clips: dict[str, Any]) -> dict[str, Any]:
    """Return what one set of clips showed, as JSON types; gains are over the first row."""
    return {
        **clips,
        "rows": [row.to_json() for row in rows],
        "gains": [gain(row, rows[0]) for row in rows[1:]],
    }


def describe_environment() -> dict[str, Any]:
    """Return the machine and the commit, as JSON types."""
    environment: dict[str, Any] = to_json(read_environment())
    return environment


def _motions(frames: Sequence[UInt8]) -> tuple[Motion, ...]:
    return tuple(estimate_motion(before, after) for before, after in pairwise(frames))


def _run(predictor: Predictor, row: VideoRow, clip: Clip) -> None:
    predictor.reset()
    label = predictor.track if row.memory == "kept" else predictor.predict
    predictions = [label(frame, clip.roi) for frame in clip.frames]
    row.run_ms += [prediction.timings_ms["total"] for prediction in predictions]
    maps = [prediction.labels for prediction in predictions]
    labels = row.manifest.labels
    steadiness = TemporalConsistency(labels.num_classes)
    for motion, (before, after) in zip(clip.motions, pairwise(maps), strict=True):
        steadiness.update(motion, before, after)
    row.steadiness.append(steadiness)
    if clip.truths is not None:
        confusion = ConfusionMatrix(labels.num_classes, labels.ignore_index)
        for found, truth in zip(maps, clip.truths, strict=True):
            confusion.update(*without_unknown(found, truth, row.manifest.postprocess, labels))
        row.confusions.append(confusion)
