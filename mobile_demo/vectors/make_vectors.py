"""Write `vectors.csv`: seeded cases of the contracts and hashes of what must come out.

Pictures and label maps are drawn by a generator that every language can write in five lines, so that no image file
travels. Run it by `make vectors`; a test proves that nothing changed.
"""

from __future__ import annotations

import csv
import itertools
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seg_core.geometry import Geometry, Roi, plan_geometry
from seg_core.prior import carry_labels
from seg_core.spec import IMAGENET_MEAN, IMAGENET_STD, PostprocessSpec, PreprocessSpec, TensorSpec

UInt8 = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]

#: Turns (spec, picture, region, previous labels) into a tensor.
Preprocess = Callable[[PreprocessSpec, UInt8, Roi | None, UInt8 | None], npt.NDArray[Any]]

#: scale, mean and std (RGB) by the name in the column `norm`. "raw" hands uint8 pixels over.
NORMS: dict[str, tuple[float, tuple[float, ...], tuple[float, ...]]] = {
    "imagenet": (1.0 / 255.0, IMAGENET_MEAN, IMAGENET_STD),
    "half": (1.0 / 255.0, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "pixels": (1.0, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "raw": (1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}

#: Source and network sizes (height, width): single pixels, odd sizes, both directions, whole ratios, long sides.
SIZES = (
    ((1, 1), (8, 8)), ((2, 3), (7, 5)), ((5, 1), (3, 9)), ((31, 47), (16, 16)), ((64, 64), (32, 32)),
    ((64, 48), (16, 16)), ((33, 65), (64, 32)), ((97, 61), (40, 56)), ((120, 160), (64, 64)), ((150, 90), (48, 48)),
    ((17, 200), (32, 32)), ((200, 19), (24, 40)), ((128, 128), (8, 8)), ((101, 103), (33, 35)), ((48, 64), (48, 64)),
)  # fmt: skip

#: What only the sizes of real networks show. At 256, odd sides make every weight of LINEAR_EXACT a tie, so that
#: rounding halves up differs from rounding them to even; `src / dst` for `1 / (dst / src)` moves pixels at 499 and 198.
NETWORK_SIZES = (((301, 333), (256, 256)), ((333, 499), (256, 256)), ((98, 198), (512, 512)))

#: Of the rows `prior`: pixel values of the labels 0..17. Label 18 has none, so its pixels must become 0.
PRIOR_VALUES = tuple(20 + 13 * label for label in range(18))

#: Of the rows `label`: classes of the scores, and how many times as large as their map the network's input is.
SCORE_CLASSES, SCORE_STRIDE = 5, 4


@dataclass(frozen=True)
class Case:
    """One row. `roi` is "top:left:height:width" or empty; in rows `label`, `pad_value` is the label outside it."""

    kind: str
    seed: int
    source_h: int
    source_w: int
    roi: str
    size_h: int
    size_w: int
    color: str = "bgr"
    resize: str = "stretch"
    interpolation: str = "linear_exact"
    reduce: str = "none"
    pad_value: int = 114
    norm: str = "raw"
    layout: str = "nhwc"

    def spec(self) -> PreprocessSpec:
        """Return the contract of this case."""
        scale, mean, std = NORMS[self.norm]
        channels = slice(None, None, -1) if self.color == "bgr" else slice(1 if self.color == "gray" else None)
        options: dict[str, Any] = {name: getattr(self, name) for name in ("color", "resize", "interpolation", "reduce")}
        mean, std = mean[channels], std[channels]
        if self.kind == "prior":
            options |= {"prior": "previous_labels", "prior_values": PRIOR_VALUES}
            mean, std = (*mean, 0.0), (*std, 1.0)
        return PreprocessSpec(
            size_hw=(self.size_h, self.size_w),
            pad_value=self.pad_value,
            scale=scale,
            mean=mean,
            std=std,
            layout="nchw" if self.layout == "nchw" else "nhwc",
            dtype="uint8" if self.norm == "raw" else "float32",
            **options,
        )

    def region(self) -> Roi | None:
        """Return the region of interest, None for the whole picture."""
        return Roi(*map(int, self.roi.split(":"))) if self.roi else None

    def geometry(self) -> Geometry:
        """Return where the picture goes."""
        return plan_geometry((self.source_h, self.source_w), self.spec(), self.region())

    def geometry_before(self) -> Geometry:
        """Return where the frame before went, of which the network saw the whole."""
        return plan_geometry((self.source_h, self.source_w), self.spec())


def draw_bytes(seed: int, count: int) -> UInt8:
    """Return `count` pseudo-random bytes: xorshift32 (Marsaglia 2003) from `seed`, the top byte of each state."""
    state, drawn = seed, bytearray(count)
    for index in range(count):
        state ^= (state << 13) & 0xFFFFFFFF
        state ^= state >> 17
        state ^= (state << 5) & 0xFFFFFFFF
        drawn[index] = state >> 24
    return np.frombuffer(bytes(drawn), np.uint8)


def hash_bytes(data: bytes) -> str:
    """Return the 64-bit FNV-1a hash as 16 hexadecimal digits."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def draw_picture(case: Case) -> UInt8:
    """Return the case's BGR picture (H, W, 3): row by row, pixel by pixel, blue first."""
    return draw_bytes(case.seed, case.source_h * case.source_w * 3).reshape(case.source_h, case.source_w, 3)


def draw_labels(case: Case) -> UInt8:
    """Return the case's label map (h, w) at network size, values 0..18: each byte modulo 19."""
    return (draw_bytes(case.seed, case.size_h * case.size_w) % 19).reshape(case.size_h, case.size_w)


def draw_scores(case: Case) -> Float32:
    """Return scores float32 (1, C, h, w) or (1, h, w, C), as the case's layout says: 0..3, so that most are tied."""
    small_hw = (case.size_h // SCORE_STRIDE, case.size_w // SCORE_STRIDE)
    shape = (1, SCORE_CLASSES, *small_hw) if case.layout == "nchw" else (1, *small_hw, SCORE_CLASSES)
    return (draw_bytes(case.seed, SCORE_CLASSES * small_hw[0] * small_hw[1]) % 4).astype(np.float32).reshape(shape)


def list_cases() -> Iterator[Case]:
    """Yield every row: resizes alone, the full contract, and label maps on their way back."""
    seeds = itertools.count(1, 7919)
    for (source, size), interpolation in itertools.product(SIZES, ("linear_exact", "nearest")):
        yield Case("resize", next(seeds), *source, "", *size, interpolation=interpolation)
    turns = zip(
        itertools.cycle(("rgb", "bgr", "gray")),
        itertools.cycle(("imagenet", "pixels", "half", "imagenet", "raw")),
        itertools.cycle(("nchw", "nhwc")),
        itertools.cycle(("none", "halve", "none")),
        itertools.cycle((114, 0, 255, 114)),
        strict=False,
    )
    for (source, size), policy in itertools.product(SIZES, ("stretch", "letterbox", "center_crop")):
        color, norm, layout, reduce, pad = next(turns)
        for roi in ("", _part_of(source)):
            yield Case(
                "preprocess", next(seeds), *source, roi, *size, color, policy, "linear_exact", reduce, pad, norm, layout
            )
            if min(source) < 4:
                break
    for (source, size), policy in itertools.product(SIZES, ("stretch", "letterbox", "center_crop")):
        for roi in ("", _part_of(source)):
            yield Case("restore", next(seeds), *source, roi, *size, resize=policy)
            if min(source) < 4:
                break
    # Later kinds of rows come behind the older ones, whose seeds stay as they were.
    yield from _nearest_cases(seeds, turns)
    for source, size in NETWORK_SIZES:
        yield Case("resize", next(seeds), *source, "", *size)
    yield from _prior_cases(seeds)
    yield from _label_cases(seeds)


def _nearest_cases(seeds: Iterator[int], turns: Iterator[tuple[str, str, str, str, int]]) -> Iterator[Case]:
    """Yield the full contract with nearest neighbours."""
    policies = itertools.cycle(("letterbox", "stretch", "center_crop"))
    for source, size in SIZES:
        color, norm, layout, reduce, pad = next(turns)
        rois = ("",) if min(source) < 4 else ("", _part_of(source))
        for roi in rois:
            policy = next(policies)
            yield Case(
                "preprocess", next(seeds), *source, roi, *size, color, policy, "nearest", reduce, pad, norm, layout
            )


def _prior_cases(seeds: Iterator[int]) -> Iterator[Case]:
    """Yield frames that are fed the labels of the frame before: with its geometry, and after the region has moved."""
    turns = zip(
        itertools.cycle(("rgb", "bgr", "gray", "bgr", "rgb")),
        itertools.cycle(("imagenet", "raw", "pixels", "half")),
        itertools.cycle(("nchw", "nhwc")),
        itertools.cycle((114, 0)),
        strict=False,
    )
    sizes = (((31, 47), (16, 16)), ((97, 61), (40, 56)))
    for (source, size), policy in itertools.product(sizes, ("stretch", "letterbox", "center_crop")):
        color, norm, layout, pad = next(turns)
        for roi in ("", _part_of(source)):
            yield Case(
                "prior", next(seeds), *source, roi, *size, color, policy, pad_value=pad, norm=norm, layout=layout
            )


def _label_cases(seeds: Iterator[int]) -> Iterator[Case]:
    """Yield scores at a quarter of the network's size on their way to labels at that of the picture."""
    turns = zip(itertools.cycle(("nchw", "nhwc")), itertools.cycle((0, 255, 18, 7, 0)), strict=False)
    sizes = (((31, 47), (16, 16)), ((97, 61), (40, 56)), ((48, 64), (48, 64)))
    for (source, size), policy in itertools.product(sizes, ("stretch", "letterbox", "center_crop")):
        layout, outside = next(turns)
        for roi in ("", _part_of(source)):
            yield Case("label", next(seeds), *source, roi, *size, resize=policy, pad_value=outside, layout=layout)


def _part_of(source: tuple[int, int]) -> str:
    height, width = source
    return f"{height // 5}:{width // 4}:{max(1, height // 2)}:{max(1, width * 2 // 3)}"


def compute(case: Case, preprocess: Preprocess) -> str:
    """Return the hash of what `case` gives, `preprocess` making tensors; labels go by the geometry and the contract."""
    geometry = case.geometry()
    if case.kind == "restore":
        return hash_bytes(geometry.restore_labels(draw_labels(case), outside_label=255).tobytes())
    if case.kind == "label":
        return hash_bytes(_label(case, geometry).tobytes())
    prior = carry_labels(draw_labels(case), case.geometry_before(), geometry) if case.kind == "prior" else None
    return hash_tensor(preprocess(case.spec(), draw_picture(case), case.region(), prior))


def hash_tensor(tensor: npt.NDArray[Any]) -> str:
    """Return the hash of a tensor's bytes, those of floats in little-endian order."""
    return hash_bytes(np.ascontiguousarray(tensor, tensor.dtype.newbyteorder("<")).tobytes())


def _label(case: Case, geometry: Geometry) -> UInt8:
    from seg_core.postprocessing import Postprocessor

    scores = draw_scores(case)
    output = TensorSpec("scores", "logits", scores.shape, "float32", "nchw" if case.layout == "nchw" else "nhwc")
    return Postprocessor(PostprocessSpec("labels", outside_label=case.pad_value))(scores, output, geometry)


def opencv(spec: PreprocessSpec, image_bgr: UInt8, roi: Roi | None, prior: UInt8 | None) -> npt.NDArray[Any]:
    """Return the tensor made by the OpenCV path."""
    from seg_core.preprocessing import Preprocessor

    return Preprocessor(spec)(image_bgr, roi, prior).tensor


def main() -> None:
    """Write the file named on the command line, `vectors.csv` beside this program by default."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("vectors.csv")
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, [*(field.name for field in fields(Case)), "fnv1a64"], lineterminator="\n")
        writer.writeheader()
        writer.writerows({**asdict(case), "fnv1a64": compute(case, opencv)} for case in list_cases())


if __name__ == "__main__":
    main()
