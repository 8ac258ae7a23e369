"""Pictures of what the networks answered, for people and for the report.

`overlays/<image file name>/` in the output directory holds `input.png` (what the network saw), `reference.labels.png`
and `<artifact>.labels.png` (class indices), and for the eye `reference.png` and `<artifact>.png`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from seg_core.images import save_image
from seg_core.labels import LabelSet
from seg_core.visualize import overlay
from seg_export.install import unwritable
from seg_export.parity.reference import ReferenceRun

OVERLAYS_DIR = "overlays"
REFERENCE = "reference"

UInt8 = npt.NDArray[np.uint8]


class OverlayWriter:
    """Collects label maps while parity runs; nothing is written before `write`."""

    def __init__(self, labels: LabelSet) -> None:
        """Colour classes as `labels` says."""
        self._labels = labels
        self._seen: list[tuple[ReferenceRun, UInt8]] = []

    def observe(self, run: ReferenceRun, logits: npt.NDArray[np.float32]) -> None:
        """Remember an artifact's answer (num_classes, h, w) on one image."""
        self._seen.append((run, logits.argmax(axis=0).astype(np.uint8)))

    def write(self, out_dir: Path, artifact: str) -> None:
        """Write what was seen under the name `artifact` and forget it; raises ExportError or ImageError."""
        seen, self._seen = self._seen, []
        for run, found in seen:
            folder = out_dir / OVERLAYS_DIR / run.sample.name
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise unwritable(out_dir / OVERLAYS_DIR, error) from None
            save_image(folder / "input.png", run.canvas_bgr)
            expected = run.logits.argmax(axis=0).astype(np.uint8)
            for name, labels in ((REFERENCE, expected), (artifact, found)):
                save_image(folder / f"{name}.labels.png", labels)
                if labels.shape == run.canvas_bgr.shape[:2]:
                    save_image(folder / f"{name}.png", overlay(run.canvas_bgr, labels, self._labels))
