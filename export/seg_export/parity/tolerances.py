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

TOLERANCES: dict[tuple[str, str], Tolerance] = {
    ("torchscript", "fp32"): FP32,
    ("onnx", "fp32"): FP32,
    ("coreml", "fp32"): FP32,
    ("tflite", "fp32"): FP32,
    ("coreml", "fp16"): Tolerance(max_abs_relative=None, label_agreement=0.99),
}


def tolerance_of(target: str, precision: str) -> Tolerance:
    """Return the row of the table; raises ConfigError when the pair has none and so cannot be proved."""
    try:
        return TOLERANCES[target, precision]
    except KeyError:
        known = ", ".join(f"{name} {kind}" for name, kind in TOLERANCES)
        raise ConfigError(f"no parity tolerance for {target} in {precision} (there is one for: {known})") from None
