"""The sections about data: where pairs lie, what the network is shown, and how pairs are varied."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from seg_core.config.schema_base import Fraction, Positive, Range, Section


class DataSection(Section):
    """Where the images and masks are.

    `train` and `val` are folders (or files, where `layout` is "list"); several are read one after another.
    `layout` says how pairs lie in them; "auto" finds out. `labels` names a built-in label set or a JSON file
    with one, `merge` a built-in merging of its classes or a JSON file with one. `swap_left_right` is a text
    file with one image stem a line whose masks have the left and right labels exchanged; they are put right
    on reading, in the training split alone. A pair that cannot be used stops the run, or with `on_bad` "skip"
    is left out and counted. `decode` "reduced" decodes a JPEG at half size or less where the drawn zoom shrinks it at
    least that far: faster, and smoother than what the contract's own resizing makes of it; pairs kept in memory
    are always whole. `cache` keeps the decoded pairs there, or with "masks" the masks alone: a quarter of the memory,
    and decoding a mask takes about as long as decoding its JPEG. `repeat_rare` shows training pictures with classes
    that are in a smaller share f of the pictures more often, sqrt(repeat_rare / f) times a pass, rounded.
    """

    train: tuple[Path, ...]
    val: tuple[Path, ...]
    layout: Literal["auto", "folders", "celebamask_hq", "camvid", "cityscapes", "list"] = "auto"
    labels: str = "celebamask_hq"
    merge: str | None = None
    swap_left_right: Path | None = None
    on_bad: Literal["error", "skip"] = "error"
    decode: Literal["full", "reduced"] = "full"
    workers: int = Field(default=4, ge=0)
    cache: bool | Literal["masks"] = True
    repeat_rare: Fraction | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_or_many(cls, values: object) -> object:
        """Take one path for a list of one."""
        if not isinstance(values, dict):
            return values
        return {
            key: (value,) if key in ("train", "val") and isinstance(value, (str, Path)) else value
            for key, value in values.items()
        }


class PreprocessSection(Section):
    """The contract that the checkpoint will carry; see PreprocessSpec.

    With `prior` "previous_labels" the network takes one channel more than the colours, the previous frame's mask; its
    mean and std are added where `mean` and `std` have those of the colours alone.
    """

    size_hw: tuple[int, int] = (256, 256)
    color: Literal["rgb", "bgr", "gray"] = "rgb"
    resize: Literal["stretch", "letterbox", "center_crop"] = "stretch"
    reduce: Literal["none", "halve"] = "none"
    prior: Literal["none", "previous_labels"] = "none"
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)


class AugmentSection(Section):
    """Random changes to a training pair.

    `crop_hw` is the size of the piece that training is shown of what the contract frames (all of it when
    null); `scale` is the range of the zoom about that framing, drawn log-uniformly; `stretch` the range of
    width over height on top; `translate` a fraction of the size; `rotate_deg` degrees either way.
    `brightness`, `contrast` and `saturation` are the largest relative changes, `hue_deg` the largest turn in
    degrees. The rest are probabilities: of a mirror image (left and right labels change places), of greyscale,
    of a Gaussian blur, of JPEG artefacts, of a low-resolution copy, of an erased box (its pixels keep their
    labels), and `paste` of something laid over it from another training picture, at its place there: all that has one
    of `paste_classes`, drawn evenly, in a picture that shows it (copy-paste, Ghiasi et al., CVPR 2021).
    """

    crop_hw: tuple[int, int] | None = None
    flip: Fraction = 0.5
    scale: Range = (0.75, 1.5)
    stretch: Range = (1.0, 1.0)
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
    paste: Fraction = 0.0
    paste_classes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _names_what_is_pasted(self) -> AugmentSection:
        if self.paste > 0 and not self.paste_classes:
            raise ValueError(
                "paste: name what is laid over other pictures in paste_classes, such as [hat, eye_glasses]"
            )
        return self

    @model_validator(mode="after")
    def _ordered(self) -> AugmentSection:
        for name in ("scale", "stretch"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name}: the range {(low, high)} runs backwards")
        if self.crop_hw is not None and min(self.crop_hw) < 1:
            raise ValueError(f"crop_hw: expected two positive sizes, found {self.crop_hw}")
        return self


class PriorSection(Section):
    """What training shows as the previous frame's mask where `preprocess.prior` asks for one: the truth, made worse.

    `drop` is the probability of no previous mask at all, `wrong` of one from another scene; of the others, `perturb`
    are changed: moved (`shift` is the largest displacement as a fraction of the size, `rotate_deg` the largest turn,
    `zoom` the largest change of scale; small moves are drawn more often), and with the probabilities that the rest
    are, some classes grow or shrink by up to `morph_px` pixels at network size (`morph`), detail is lost (`coarse`), a
    class is forgotten or taken for another (`confuse`), an ellipse hides what is under it (`occlude`).
    """

    drop: Fraction = 0.3
    wrong: Fraction = 0.1
    perturb: Fraction = 0.9
    shift: Fraction = 0.08
    rotate_deg: float = Field(default=10.0, ge=0.0, le=180.0)
    zoom: float = Field(default=1.15, ge=1.0, le=4.0)
    morph: Fraction = 0.7
    morph_px: Positive = 6.0
    coarse: Fraction = 0.3
    confuse: Fraction = 0.2
    occlude: Fraction = 0.3
