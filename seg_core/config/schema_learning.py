"""The sections about learning: what is minimised, by which steps, and after which teacher."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from seg_core.config.schema_base import Fraction, Positive, Section, Weight

#: The terms that may be asked of a segmentation head.
TERMS = ("cross_entropy", "ohem", "dice", "iou", "lovasz", "focal")


class LossSection(Section):
    """Weights of the loss terms on the main head, and of the other heads.

    Every head is scored by the same terms; its sum counts `heads[name]` times or, where it is not named, once for
    "main" and `aux` times for another. `edge` weighs the edge head's binary term and `boundary` the agreement of the
    two (JointEdgeSeg). `class_weights` has one factor a class, for cross-entropy, OHEM and focal. OHEM keeps the
    pixels whose probability of the truth is under `ohem_threshold`, and at least the fraction `ohem_min_kept`.
    """

    cross_entropy: Weight = 1.0
    ohem: Weight = 0.0
    dice: Weight = 0.0
    iou: Weight = 0.0
    lovasz: Weight = 0.0
    focal: Weight = 0.0
    edge: Weight = 0.0
    boundary: Weight = 0.0
    ohem_threshold: Fraction = 0.7
    ohem_min_kept: Fraction = 0.0625
    focal_gamma: Weight = 2.0
    label_smoothing: Fraction = 0.0
    class_weights: tuple[Positive, ...] | None = None
    aux: Weight = 0.4
    heads: dict[str, Weight] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _something(self) -> LossSection:
        if sum(getattr(self, term) for term in TERMS) <= 0:
            raise ValueError(f"{', '.join(TERMS)} are all 0: nothing would be learnt")
        return self


class SolverSection(Section):
    """Optimiser, schedule and the manner of stepping.

    A run lasts `steps`, or `epochs` passes over the data where that is set. A batch holds `batch_size` images
    on every GPU, at least two: BatchNorm behind global pooling has one value an image to learn from. One step
    of the optimiser follows `accumulate` batches. Rates of the encoder, decoder and heads are `lr` times their
    factor. `warmup_lr` is where the linear warm-up begins; `one_cycle` rises from there over 30 % of the run (from
    lr / 25 if it is 0) and has no use for `warmup_steps`. `compile` "cuda_graphs" records the compiled
    step once and replays it; on a CPU it is the same as "off". `compile_options` go to `torch.compile` as its
    `options`, by the names that `torch._inductor.list_options()` gives. `deterministic` makes a resumed run equal an
    unbroken one to the bit, at some cost.

    `exchange` is the format in which several processes send and sum their gradients, once a step; one process sends
    none. "bf16" halves what is sent, as PyTorch's `bf16_compress_hook` does under DistributedDataParallel. Under
    `precision` bf16 it costs little: a product of bf16 numbers has gradients that are bf16 numbers and get widened to
    float32 afterwards, so that of convolutions' weights only the sum over processes is rounded anew. BatchNorm's
    gradients do lose digits, and so do all of them where `accumulate` adds them up in float32 or `precision` is
    another. BatchNorm's statistics and everything else are exchanged as they are.
    """

    steps: int = Field(default=8000, ge=1)
    epochs: Annotated[int, Field(ge=1)] | None = None
    batch_size: int = Field(default=32, ge=2)
    accumulate: int = Field(default=1, ge=1)
    optimizer: str = "adamw"
    lr: Positive = 2e-3
    lr_encoder: Positive = 1.0
    lr_decoder: Positive = 1.0
    lr_heads: Positive = 1.0
    momentum: float = Field(default=0.9, ge=0.0, lt=1.0)
    weight_decay: float = Field(default=0.01, ge=0.0)
    schedule: Literal["cosine", "poly", "one_cycle", "constant"] = "cosine"
    poly_power: Positive = 0.9
    warmup_steps: int = Field(default=500, ge=0)
    warmup_lr: float = Field(default=0.0, ge=0.0)
    grad_clip: Positive | None = 5.0
    ema_decay: float = Field(default=0.999, ge=0.0, lt=1.0)
    precision: Literal["fp32", "bf16", "fp16"] = "bf16"
    compile: Literal["off", "default", "cuda_graphs"] = "off"
    compile_options: dict[str, bool | int | float | str] = Field(default_factory=dict)
    exchange: Literal["fp32", "bf16"] = "fp32"
    sync_bn: bool = False
    deterministic: bool = False
    on_nan: Literal["error", "skip"] = "error"
    seed: int = Field(default=0, ge=0, lt=2**63)


class DistillSection(Section):
    """Teachers whose answers are learnt beside the labels.

    `teacher` names one checkpoint or several, ours or foreign, of the same classes; several answer by the mean of their
    probabilities. `logits` weighs the soft targets at `temperature` (Hinton et al. 2015), `channel` the channel-wise
    distance (CWD, Shu et al., ICCV 2021) at `channel_temperature`, `feature` the distance of an inner feature map
    through a 1×1 projection: `feature_distance` "cosine", or "mse" to standardised features. `teacher_size_hw` is the
    size at which teachers look; when null an image is resized as much as their contract differs from the
    student's. `flip` averages their answers with those on the mirrored image, at twice the cost. `stride` n compares
    the enlarged logits at every n-th pixel along both axes: 2 costs a quarter and teaches the same; where n comes near
    the student's output stride only the same points between its logits are ever compared, which teaches worse.
    """

    teacher: tuple[Path, ...] = ()
    logits: Weight = 1.0
    channel: Weight = 0.0
    feature: Weight = 0.0
    temperature: Positive = 2.0
    channel_temperature: Positive = 4.0
    feature_distance: Literal["cosine", "mse"] = "cosine"
    teacher_size_hw: tuple[int, int] | None = None
    flip: bool = False
    stride: int = Field(default=1, ge=1)

    @field_validator("teacher", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        if value is None:
            return ()
        return (value,) if isinstance(value, str | Path) else value

    @model_validator(mode="after")
    def _teaches(self) -> DistillSection:
        if self.teacher and self.logits + self.channel + self.feature <= 0:
            raise ValueError("logits, channel and feature are all 0: nothing of the teacher would be learnt")
        return self
