"""Time artifacts against one another in interleaved rounds.

A shared machine speeds up and slows down within seconds, so two runs one after the other compare nothing.
Here every round runs each artifact for a short burst, in an order that rotates; artifacts are compared
within a round, and the median over the rounds is reported.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from seg_bench.environment import read_environment
from seg_bench.parity import read_parity
from seg_bench.schema import UNTIMED_BACKENDS, LatencyReport, LatencyRow
from seg_bench.worker import ArtifactSession, FrameTimes, Image, SessionFacts, SessionOpener, Worker, WorkerError
from seg_core.errors import SegError
from seg_core.manifest import artifact_bytes, hash_artifact
from seg_core.runners import target_of

#: Rounds that are run even when the budget is spent: a median of fewer says nothing.
MIN_ROUNDS = 3

#: Frames run on opening and never timed: the first allocates, TorchScript profiles and compiles on the next two.
OPENING_FRAMES = 3

#: Called with one line about what is being done and the share that is done, 0..1.
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class BenchPlan:
    """How long and how to measure.

    A burst is `warmup` frames that are not timed (caches hold another artifact's data by then) and `frames`
    that are. `budget_s` is the time for all measuring together, opening the artifacts not counted; rounds
    end when it is spent, but not before the third. `threads` None is each runtime's default.
    """

    threads: tuple[int | None, ...] = (None,)
    rounds: int = 30
    frames: int = 3
    warmup: int = 1
    budget_s: float = 8.0

    def __post_init__(self) -> None:
        """Refuse impossible numbers; raises SegError naming the field."""
        if min(self.rounds, self.frames) < 1 or self.warmup < 0 or self.budget_s < 0:
            raise SegError("benchmark: rounds and frames must be at least 1, warm-up and budget at least 0")
        if not self.threads or any(count is not None and count < 1 for count in self.threads):
            raise SegError("benchmark: threads must be at least 1")


@dataclass
class _Contender:
    """One artifact at one thread count while it is being measured."""

    path: Path
    row: LatencyRow
    worker: Worker | None = None
    bursts: list[list[FrameTimes]] = field(default_factory=list)

    @property
    def is_timed(self) -> bool:
        return self.worker is not None and self.row.backend not in UNTIMED_BACKENDS

    def fail(self, error: WorkerError) -> None:
        """Mark the row failed and end its process; what was measured before is dropped with it."""
        self.row = replace(self.row, status="failed", error=str(error))
        self.bursts.clear()
        if self.worker is not None:
            self.worker.close()
            self.worker = None


def measure_latency(
    artifacts: Sequence[Path],
    image_bgr: Image,
    image_name: str,
    plan: BenchPlan | None = None,
    progress: Progress | None = None,
    opener: SessionOpener = ArtifactSession,
) -> LatencyReport:
    """Measure every artifact at every thread count and return one row for each.

    `image_bgr` is uint8 (H, W, 3), the frame that is run again and again; `image_name` describes it in the
    report. Rows carry the file name, or the path where two artifacts share one. An artifact that cannot be
    opened, raises or kills its process becomes a row with status "failed".
    Raises SegError when a path does not exist or is not of a known kind.
    """
    plan = plan or BenchPlan()
    progress = progress or (lambda _line, _share: None)
    environment = read_environment()
    names = [path.name for path in artifacts]
    known = [_describe(path, path.name if names.count(path.name) == 1 else str(path)) for path in artifacts]
    rows: list[LatencyRow] = []
    for index, threads in enumerate(plan.threads):
        contenders = [
            _Contender(path, replace(row, threads=threads)) for path, row in zip(artifacts, known, strict=True)
        ]
        part = _share_of(progress, index, len(plan.threads))
        with ExitStack() as stack:
            _open_all(contenders, image_bgr, opener, stack, part)
            _run_rounds(contenders, plan, part)
            rows += _finish(contenders)
    return LatencyReport(environment, image_name, tuple(rows))


def _share_of(progress: Progress, index: int, count: int) -> Progress:
    return lambda line, share: progress(line, (index + share) / count)


def _describe(path: Path, name: str) -> LatencyRow:
    if not path.exists():
        raise SegError(f"{path}: no such artifact; export it with  seg-export CHECKPOINT --target …")
    target = target_of(path)
    sha256 = hash_artifact(path)
    verdict = read_parity(path, target, sha256)
    return LatencyRow(
        artifact=name,
        target=target,
        status=verdict.status,
        error=verdict.reason,
        threads=None,
        bytes=artifact_bytes(path),
        sha256=sha256,
    )


def _open_all(
    contenders: list[_Contender], image_bgr: Image, opener: SessionOpener, stack: ExitStack, progress: Progress
) -> None:
    # One after the other: opened side by side they would slow down each other's load time.
    for contender in contenders:
        progress(f"opening {contender.row.artifact}", 0.0)
        contender.worker = stack.enter_context(Worker(contender.path, contender.row.threads, image_bgr, opener))
        try:
            facts = contender.worker.wait_ready()
            contender.row = _with_facts(contender.row, facts)
            contender.worker.time_frames(OPENING_FRAMES)
        except WorkerError as error:
            contender.fail(error)


def _with_facts(row: LatencyRow, facts: SessionFacts) -> LatencyRow:
    return replace(
        row,
        target=facts.target,
        precision=facts.precision,
        backend=facts.backend,
        size_hw=facts.size_hw,
        load_ms=round(facts.load_ms, 1),
        provenance=facts.provenance,
    )


def _run_rounds(contenders: list[_Contender], plan: BenchPlan, progress: Progress) -> None:
    start = time.perf_counter()
    budget_s = plan.budget_s / len(plan.threads)
    for index in range(plan.rounds):
        elapsed = time.perf_counter() - start
        if index >= MIN_ROUNDS and elapsed >= budget_s:
            return
        progress(f"round {index + 1}", min(1.0, max(index / plan.rounds, elapsed / budget_s if budget_s else 1.0)))
        for contender in _rotated(contenders, index):
            _run_burst(contender, plan)


def _rotated(contenders: list[_Contender], by: int) -> Iterator[_Contender]:
    # Whoever runs after a heavy neighbour finds a hot chip and cold caches: nobody shall always be that one.
    timed = [contender for contender in contenders if contender.is_timed]
    for offset in range(len(timed)):
        yield timed[(by + offset) % len(timed)]


def _run_burst(contender: _Contender, plan: BenchPlan) -> None:
    assert contender.worker is not None
    try:
        times = contender.worker.time_frames(plan.warmup + plan.frames)
    except WorkerError as error:
        contender.fail(error)
    else:
        contender.bursts.append(times[plan.warmup :])


def _finish(contenders: list[_Contender]) -> list[LatencyRow]:
    for contender in contenders:
        if contender.worker is not None:
            try:
                contender.row = replace(contender.row, peak_rss_mb=contender.worker.finish(), ran=True)
            except WorkerError as error:
                contender.fail(error)
    first = _round_medians(contenders[0])
    return [_summarise(contender, first) for contender in contenders]


def _round_medians(contender: _Contender) -> list[float]:
    return [statistics.median(times.network_ms for times in burst) for burst in contender.bursts]


def _summarise(contender: _Contender, first: list[float]) -> LatencyRow:
    frames = [times for burst in contender.bursts for times in burst]
    if not frames:
        return contender.row
    samples = [times.network_ms for times in frames]
    ratios = [own / reference for own, reference in zip(_round_medians(contender), first, strict=False)]
    return replace(
        contender.row,
        p50_ms=_rounded(np.percentile(samples, 50)),
        p90_ms=_rounded(np.percentile(samples, 90)),
        mean_ms=_rounded(np.mean(samples)),
        min_ms=_rounded(min(samples)),
        ratio_to_first=_rounded(statistics.median(ratios)) if ratios else None,
        rounds=len(contender.bursts),
        samples_ms=tuple(_rounded(sample) for sample in samples),
        preprocess_ms=_rounded(statistics.median(times.preprocess_ms for times in frames)),
        postprocess_ms=_rounded(statistics.median(times.postprocess_ms for times in frames)),
    )


def _rounded(value: float | np.floating) -> float:
    return round(float(value), 4)
