"""Read every pair once, before it matters: what is usable, and what is wrong with the rest."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from seg_core.labels import LabelSet
from seg_core.samples import BadPairError, SamplePair, SampleProblem, load_pair

UInt8 = npt.NDArray[np.uint8]
Job = TypeVar("Job")
Done = TypeVar("Done")

#: Called after every pair with how many are done and how many there are.
Progress = Callable[[int, int], None]

_IN_FLIGHT = 64  # decoded pairs that wait for their consumer; more would only cost memory


@dataclass(frozen=True)
class SampleReport:
    """The usable pairs in their order, what is wrong with the others, and how often each mask value occurs.

    `pixels` is int64 (256,), counted over the masks of the usable pairs; `images_with` how many of them hold the value.
    """

    pairs: list[SamplePair]
    problems: list[SampleProblem]
    pixels: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    images_with: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))

    def counts(self) -> dict[str, int]:
        """Return how many problems there are of each kind; kinds that do not occur are absent."""
        return dict(Counter(problem.kind for problem in self.problems))

    def summary(self) -> str:
        """Return one line: how many were left out, by kind, and the first of them; empty when none was."""
        if not self.problems:
            return ""
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.counts().items()))
        total = len(self.pairs) + len(self.problems)
        return f"{len(self.problems)} of {total} left out ({kinds}); first {self.problems[0].message}"


def in_threads(work: Callable[[Job], Done], jobs: Sequence[Job], threads: int | None = None) -> Iterator[Done]:
    """Yield `work` of each of `jobs` in order, done by `threads` at once (one a core by default)."""
    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        for start in range(0, len(jobs), _IN_FLIGHT):
            yield from pool.map(work, jobs[start : start + _IN_FLIGHT])


def read_samples(
    pairs: Sequence[SamplePair], labels: LabelSet | None = None, threads: int | None = None
) -> Iterator[tuple[SamplePair, tuple[UInt8, UInt8] | SampleProblem]]:
    """Yield each pair in order with its (image_bgr, mask) as `load_pair` reads it, or with what is wrong with it.

    `threads` decode at once, one a core by default.
    """

    def read(pair: SamplePair) -> tuple[UInt8, UInt8] | SampleProblem:
        try:
            return load_pair(pair, labels)
        except BadPairError as error:
            return error.problem

    yield from zip(pairs, in_threads(read, pairs, threads), strict=True)


def check_samples(
    pairs: Sequence[SamplePair],
    labels: LabelSet | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> SampleReport:
    """Read all `pairs` and report on them; nothing is raised for a bad one."""
    report = SampleReport([], [])
    for done, (pair, read) in enumerate(read_samples(pairs, labels, threads), start=1):
        if isinstance(read, SampleProblem):
            report.problems.append(read)
        else:
            report.pairs.append(pair)
            counted = np.bincount(read[1].ravel(), minlength=256)
            np.add(report.pixels, counted, out=report.pixels)
            np.add(report.images_with, counted > 0, out=report.images_with)
        if progress is not None:
            progress(done, len(pairs))
    return report
