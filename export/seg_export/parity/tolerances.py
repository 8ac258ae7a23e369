"""The one table of how far an artifact may stray from its checkpoint. Nothing else decides."""

from __future__ import annotations

from dataclasses import dataclass

from seg_core.errors import ConfigError


@dataclass(frozen=True)
class Tolerance:
    """Bounds that every image must keep.

    `max_abs_relative` bounds max|artifact - reference| / max|reference| of the logits, None where a lower
    precision is judged on its labels alone; `label_agreement` is the least share of equal pixels after argmax.
    """

    max_abs_relative: float | None
    label_agreement: float


#: What fp32 must keep everywhere. The row that decides is bisenet_v2_large on TFLite with seeded weights, 9.7e-6: twice
#: that. Labels of seeded weights lose one pixel in 65536, where two logits are next to equal.
FP32 = Tolerance(max_abs_relative=2e-5, label_agreement=0.9995)

#: What half precision must keep. Its logits move by 1e-3 of the largest; only the labels are judged.
FP16 = Tolerance(max_abs_relative=None, label_agreement=0.995)

# Of benchmarks/results/zoo_256x256.json (make zoo), at 256x256 on the three bundled photographs, the worst of them:
# max|artifact - reference| / max|reference| and equal labels of the bundled ddrnet_23_slim, and in fp32 the largest of
# all registered models, each time bisenet_v2_large.
TOLERANCES: dict[tuple[str, str], Tolerance] = {
    ("torchscript", "fp32"): FP32,  # 3.9e-7, labels 100 %; largest 5.4e-6
    ("onnx", "fp32"): FP32,  # 4.4e-7, labels 100 %; largest 4.1e-6
    ("coreml", "fp32"): FP32,  # 4.4e-7, labels 100 %; largest 4.0e-6, by the evaluator
    ("tflite", "fp32"): FP32,  # 4.8e-7, labels 100 %; largest 9.7e-6
    ("coreai", "fp32"): FP32,  # 4.4e-7, labels 100 %; largest 4.2e-6, by the interpreter
    ("coreml", "fp16"): FP16,  # 1.2e-3, labels 99.976 %, by the evaluator
    ("tflite", "fp16"): FP16,  # 3.5e-4, labels 99.992 %
    ("coreai", "fp16"): FP16,  # 1.2e-3, labels 99.969 %, by the interpreter
}


def tolerance_of(target: str, precision: str) -> Tolerance:
    """Return the row of the table; raises ConfigError when the pair has none and so cannot be proved."""
    try:
        return TOLERANCES[target, precision]
    except KeyError:
        known = ", ".join(f"{name} {kind}" for name, kind in TOLERANCES)
        raise ConfigError(f"no parity tolerance for {target} in {precision} (there is one for: {known})") from None
