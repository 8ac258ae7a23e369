"""What a training configuration may say; every field has a unit, a range and a default that works."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from seg_core.spec.model import OptionValue

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
Range = tuple[Positive, Positive]


class Section(BaseModel):
    """Base of all sections: unknown keys are errors and objects are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DataSection(Section):
    """Where the images and masks are.

    `train` and `val` are folders with `images/` and `masks/`. `labels` names a built-in label set or a JSON
    file with one. `swap_left_right` is a text file with one image stem a line whose masks have the left and
    right labels exchanged; they are put right on reading, in the training split alone.
    """

    train: Path
    val: Path
    labels: str = "celebamask_hq"
    swap_left_right: Path | None = None
    workers: int = Field(default=4, ge=0)
    cache: bool = True


class ModelSection(Section):
    """Which registered architecture to build; `options` are its constructor's keyword arguments."""

    name: str = "ddrnet_23_slim"
    in_channels: int = Field(default=3, ge=1)
    options: dict[str, OptionValue] = {"aux_head": True, "upsample": True}


class PreprocessSection(Section):
    """The contract that the checkpoint will carry; see PreprocessSpec."""

    size_hw: tuple[int, int] = (256, 256)
    color: Literal["rgb", "bgr", "gray"] = "rgb"
    resize: Literal["stretch", "letterbox", "center_crop"] = "stretch"
    reduce: Literal["none", "halve"] = "none"
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)


class AugmentSection(Section):
    """Random changes to a training pair.

    `scale` is the range of the zoom about the framing that the contract gives, drawn log-uniformly;
    `translate` a fraction of the size; `rotate_deg` degrees either way. `brightness`, `contrast` and
    `saturation` are the largest relative changes, `hue_deg` the largest turn in degrees. The rest are
    probabilities: of a mirror image (left and right labels change places), of greyscale, of a Gaussian
    blur, of JPEG artefacts, of a low-resolution copy and of an erased box (its pixels keep their labels).
    """

    flip: Fraction = 0.5
    scale: Range = (0.75, 1.5)
    translate: Fraction = 0.1
    rotate_deg: float = Field(default=15.0, ge=0.0, le=180.0)
    brightness: Fraction = 0.4
    contrast: Fraction = 0.4
    saturation: Fraction = 0.4
    hue_deg: float = Field(default=8.0, ge=0.0, le=180.0)
    grayscale: Fraction = 0.05
    blur: Fraction = 0.1
    jpeg: Fraction = 0.1
    low_resolution: Fraction = 0.1
    erase: Fraction = 0.0

    @model_validator(mode="after")
    def _ordered(self) -> AugmentSection:
        if self.scale[0] > self.scale[1]:
            raise ValueError(f"scale: the range {self.scale} runs backwards")
        return self


class LossSection(Section):
    """Weights of the loss terms on the main head; the auxiliary head's sum counts `aux` times."""

    cross_entropy: float = Field(default=1.0, ge=0.0)
    dice: float = Field(default=0.0, ge=0.0)
    label_smoothing: Fraction = 0.0
    aux: float = Field(default=0.4, ge=0.0)

    @model_validator(mode="after")
    def _something(self) -> LossSection:
        if self.cross_entropy + self.dice <= 0:
            raise ValueError("cross_entropy and dice are both 0: nothing would be learnt")
        return self


class SolverSection(Section):
    """Optimiser and schedule: AdamW, linear warm-up, cosine to zero, an exponential moving average.

    A batch holds at least two images: BatchNorm behind global pooling has one value an image to learn from.
    """

    steps: int = Field(default=8000, ge=1)
    batch_size: int = Field(default=32, ge=2)
    lr: Positive = 2e-3
    weight_decay: float = Field(default=0.01, ge=0.0)
    warmup_steps: int = Field(default=500, ge=0)
    grad_clip: Positive | None = 5.0
    ema_decay: float = Field(default=0.999, ge=0.0, lt=1.0)
    precision: Literal["fp32", "bf16", "fp16"] = "bf16"
    seed: int = 0


class TrainConfig(Section):
    """One training run. `eval_every` and `save_every` count steps; `output` receives everything it writes."""

    data: DataSection
    model: ModelSection = ModelSection()
    preprocess: PreprocessSection = PreprocessSection()
    augment: AugmentSection = AugmentSection()
    loss: LossSection = LossSection()
    solver: SolverSection = SolverSection()
    output: Path = Path("runs/train")
    eval_every: int = Field(default=500, ge=1)
    save_every: int = Field(default=500, ge=1)
    log_every: int = Field(default=50, ge=1)
    device: Literal["auto", "cpu", "cuda"] = "auto"
