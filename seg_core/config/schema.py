"""What a training configuration may say; every field has a unit, a range and a default that works."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from seg_core.config.schema_base import Section
from seg_core.config.schema_data import AugmentSection, DataSection, PreprocessSection, PriorSection
from seg_core.config.schema_learning import DistillSection, LossSection, SolverSection
from seg_core.spec.model import OptionValue

__all__ = [
    "AugmentSection", "DataSection", "DistillSection", "LossSection", "ModelSection", "PreprocessSection",
    "PriorSection", "Section", "SolverSection", "TrainConfig",
]  # fmt: skip


def _default_options() -> dict[str, OptionValue]:
    return {"aux_head": True, "upsample": True}


class ModelSection(Section):
    """Which registered architecture to build; `options` are its constructor's keyword arguments.

    `weights` is a checkpoint to start from: whatever has the same name and shape is taken over.
    """

    name: str = "ddrnet_23_slim"
    in_channels: int = Field(default=3, ge=1)
    options: dict[str, OptionValue] = Field(default_factory=_default_options)
    weights: Path | None = None


class TrainConfig(Section):
    """One training run. `eval_every` and `save_every` count steps; `output` receives everything it writes."""

    data: DataSection
    model: ModelSection = ModelSection()
    preprocess: PreprocessSection = PreprocessSection()
    augment: AugmentSection = AugmentSection()
    prior: PriorSection = PriorSection()
    loss: LossSection = LossSection()
    solver: SolverSection = SolverSection()
    distill: DistillSection = DistillSection()
    output: Path = Path("runs/train")
    task: str = ""
    extra: str = ""
    eval_every: int = Field(default=500, ge=1)
    save_every: int = Field(default=500, ge=1)
    log_every: int = Field(default=50, ge=1)
    tensorboard: bool = False
    device: Literal["auto", "cpu", "cuda"] = "auto"
