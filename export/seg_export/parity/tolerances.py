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


#: What fp32 must keep everywhere; each row below says what was measured against it.
FP32 = Tolerance(max_abs_relative=2e-5, label_agreement=0.9995)

#: What half precision must keep. Its logits move by 1e-3 of the largest; only the labels are judged.
FP16 = Tolerance(max_abs_relative=None, label_agreement=0.995)

# Measured with the bundled DDRNet-23-slim at 256x256 on the three bundled photographs; the worst of the three.
TOLERANCES: dict[tuple[str, str], Tolerance] = {
    ("torchscript", "fp32"): FP32,  # 2.7e-7 x max|ref|, labels 100 %
    ("onnx", "fp32"): FP32,  # 3.3e-7 x max|ref|, labels 100 %
    ("coreml", "fp32"): FP32,  # 3.4e-7 x max|ref|, labels 100 %, by the evaluator
    ("tflite", "fp32"): FP32,  # 4.1e-7 x max|ref|, labels 100 %
    ("coreai", "fp32"): FP32,  # 3.3e-7 x max|ref|, labels 100 %, by the interpreter
    ("coreml", "fp16"): FP16,  # 9.1e-4 x max|ref|, labels 99.965 %, by the evaluator
    ("tflite", "fp16"): FP16,  # 2.3e-4 x max|ref|, labels 99.972 %
    ("coreai", "fp16"): FP16,  # 1.4e-3 x max|ref|, labels 99.950 %, by the interpreter
}


def tolerance_of(target: str, precision: str) -> Tolerance:
    """Return the row of the table; raises ConfigError when the pair has none and so cannot be proved."""
    try:
        return TOLERANCES[target, precision]
    except KeyError:
        known = ", ".join(f"{name} {kind}" for name, kind in TOLERANCES)
        raise ConfigError(f"no parity tolerance for {target} in {precision} (there is one for: {known})") from None
