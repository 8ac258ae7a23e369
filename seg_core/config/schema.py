"""What a training configuration may say; every field has a unit, a range and a default that works."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from seg_core.config.schema_base import Section
from seg_core.config.schema_data import AugmentSection, DataSection, PreprocessSection, PriorSection
from seg_core.config.schema_learning import DistillSection, LossSection, SolverSection
from seg_core.spec.model import OptionValue

__all__ = [
    "AugmentSection", "DataSection", "DistillSection", "LossSection", "ModelSection", "PreprocessSection",
    "PriorSection", "Section", "SolverSection", "TrainConfig",
]  # fmt: skip


def _check_interval(value: object) -> object:
    if value == "epoch" or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise ValueError("expected a number of steps, at least 1, or epoch")


#: Asked of a union pydantic would name the first of its members instead of what was wanted.
Interval = Annotated[int | Literal["epoch"], BeforeValidator(_check_interval)]


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
    """One training run; `output` receives everything it writes.

    `eval_every`, `save_every` and `log_every` count steps; "epoch" is as many as one pass over the data has. A best
    network is saved with the state it belongs to, whatever `save_every` says.
    """

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
    eval_every: Interval = 500
    save_every: Interval = 500
    log_every: int = Field(default=50, ge=1)
    tensorboard: bool = False
    device: Literal["auto", "cpu", "cuda"] = "auto"
