"""The labelled pictures that a model is scored on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from seg_core.errors import ConfigError, SegError
from seg_core.label_sets import load_labels
from seg_core.labels import LabelSet
from seg_core.mask_reading import MaskReading
from seg_core.sample_layouts import LayoutName, list_samples
from seg_core.samples import SamplePair


@dataclass(frozen=True)
class LabelledData:
    """A data set in any layout, one split of it where `split` is given.

    `labels` names what the masks hold, the model's own classes by default, and `merge` the groups in which these are
    scored (of CelebAMask-HQ where `labels` names nothing else).
    """

    path: Path
    layout: LayoutName = "auto"
    split: str | None = None
    labels: str | None = None
    merge: str | None = None

    def pairs(self, limit: int | None) -> list[SamplePair]:
        """Return the pairs, or the first `limit` of them by name; raises SegError when there is none."""
        if limit is not None and limit < 1:
            raise SegError(f"limit: expected at least 1, found {limit}")
        if self.split is not None and self._is_whole():
            raise ConfigError(f"{self.path}: has no splits of its own, so no {self.split!r}; leave --split out")
        return list_samples(self.path, self.layout, self.split)[:limit]

    def _is_whole(self) -> bool:
        """Whether a list or images/ lie at the path itself: training takes them whole, whatever its split."""
        return self.path.is_file() or ((self.path / "images").is_dir() and not (self.path / str(self.split)).is_dir())

    def reading(self, wanted: LabelSet) -> MaskReading:
        """Return how masks are read as the classes `wanted` by a model; raises ConfigError when they become others."""
        if self.labels is None and self.merge is None:
            return MaskReading(wanted)
        reading = MaskReading(load_labels(self.labels or "celebamask_hq", "--labels"), self.merge)
        if reading.labels.names != wanted.names or reading.labels.ignore_index != wanted.ignore_index:
            raise ConfigError(
                f"{self.path}: masks are read as {', '.join(reading.labels.names)} (ignored: "
                f"{reading.labels.ignore_index}), but the model knows {', '.join(wanted.names)} (ignored: "
                f"{wanted.ignore_index}); choose other --labels or --merge"
            )
        return reading


def as_labelled(data: str | Path | LabelledData) -> LabelledData:
    """Return `data`, a path standing for the data set that lies there."""
    return data if isinstance(data, LabelledData) else LabelledData(Path(data))
