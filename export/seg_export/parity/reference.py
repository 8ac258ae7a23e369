"""The checkpoint in eager float32 PyTorch on every image: what artifacts are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from seg_core.convention import StatedConvention
from seg_core.errors import CheckpointError
from seg_core.geometry import plan_geometry
from seg_core.manifest import hash_artifact
from seg_core.postprocessing import Postprocessor
from seg_core.preprocessing import Preprocessor
from seg_core.prior import blank_padding
from seg_core.spec import PreprocessSpec, TensorSpec
from seg_export.parity.samples import Sample, next_frames

if TYPE_CHECKING:
    from seg_core.models import SegmentationModel
    from seg_core.models.checkpoint import Checkpoint


@dataclass(frozen=True)
class ReferenceRun:
    """One image: its canvas BGR uint8 (h, w, 3), tensor float32 (1, c, h, w) and logits float32 (classes, h, w).

    `prior` are the previous labels uint8 (h, w) that the network was told, None for none.
    """

    sample: Sample
    canvas_bgr: npt.NDArray[np.uint8]
    tensor: npt.NDArray[np.float32]
    logits: npt.NDArray[np.float32]
    prior: npt.NDArray[np.uint8] | None = None


class Reference:
    """A checkpoint and its answers at one size; nothing of an artifact is involved."""

    def __init__(
        self,
        path: str | Path,
        samples: Sequence[Sample],
        size_hw: tuple[int, int] | None = None,
        stated: StatedConvention | None = None,
    ) -> None:
        """Load the checkpoint at `path` and run it on `samples` at `size_hw`, by default its native size.

        `stated` says of a foreign checkpoint what it does not say itself. Raises CheckpointError when the
        file cannot be used and ConfigError when the network cannot take the size.
        """
        from seg_core.models.checkpoint import build_network, load_checkpoint  # torch: reports do without

        self.path = Path(path)
        self.checkpoint: Checkpoint = load_checkpoint(self.path, stated)
        self.sha256 = hash_artifact(self.path)
        self.network: SegmentationModel = build_network(self.checkpoint).main_only()
        self.samples = list(samples)
        self._runs: dict[tuple[int, int], list[ReferenceRun]] = {}
        self.spec: PreprocessSpec = replace(
            self.checkpoint.preprocess, size_hw=size_hw or self.checkpoint.preprocess.size_hw
        )
        self.network.check_size(self.spec.size_hw)

    def runs(self, size_hw: tuple[int, int] | None = None) -> list[ReferenceRun]:
        """Return the answers at `size_hw` (by default that of the reference), computed once.

        Raises CheckpointError when one of them is not finite: nothing can be compared with that.
        """
        size_hw = size_hw or self.spec.size_hw
        if size_hw not in self._runs:
            self.network.check_size(size_hw)
            spec = replace(self.checkpoint.preprocess, size_hw=size_hw)
            self._runs[size_hw] = [run for sample in self.samples for run in self._sequence(spec, sample)]
        return self._runs[size_hw]

    def _sequence(self, spec: PreprocessSpec, sample: Sample) -> list[ReferenceRun]:
        """Run one sample, and for a network with a prior the frames that `next_frames` makes of it as well.

        Each frame is told what this checkpoint said of the one before, and artifacts are told the same: a difference
        is then that of one frame, and does not grow from frame to frame.
        """
        runs = [self._run(spec, sample, None)]
        if spec.has_prior:
            for frame in next_frames(sample):
                runs.append(self._run(spec, frame, self._labels(runs[-1])))
        return runs

    def _labels(self, run: ReferenceRun) -> npt.NDArray[np.uint8]:
        """Return what the next frame is told of `run`: uint8 (h, w) at network size."""
        spec = replace(self.checkpoint.preprocess, size_hw=run.canvas_bgr.shape[:2])
        image_hw = (run.sample.image_bgr.shape[0], run.sample.image_bgr.shape[1])
        geometry = plan_geometry(image_hw, spec, run.sample.roi)
        output = TensorSpec("logits", "logits", (1, *run.logits.shape), "float32", "nchw")
        labels = Postprocessor(self.checkpoint.postprocess).network_labels(run.logits[None], output, geometry)
        return blank_padding(labels, geometry)

    def _run(self, spec: PreprocessSpec, sample: Sample, prior: npt.NDArray[np.uint8] | None) -> ReferenceRun:
        import torch

        preprocessor = Preprocessor(spec)
        canvas, _ = preprocessor.to_canvas(sample.image_bgr, sample.roi)
        tensor = preprocessor.to_tensor(canvas, prior)
        with torch.inference_mode():
            logits = self.network(torch.from_numpy(tensor))[0].numpy()
        if not np.isfinite(logits).all():
            raise CheckpointError(
                f"{self.path}: its logits on {sample.name} are not all finite numbers, so no artifact can be compared "
                "with it; choose a checkpoint of an earlier epoch or train it again"
            )
        return ReferenceRun(sample, canvas, tensor, logits, prior)
