"""What an export target is: the protocol every module in `targets/` implements."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from torch import nn

Precision = Literal["fp32", "fp16", "int8"]

#: Tensor names of every artifact, whatever its format.
INPUT_NAME = "image"
OUTPUT_NAME = "logits"


@dataclass(frozen=True)
class ConvertRequest:
    """What a target gets to do its work.

    `module` maps a float32 NCHW image batch of one of `input_shape` to float32 NCHW logits; it is prepared
    (evaluation mode, main head only, folded) and must not be changed. The artifact is written to `path`,
    which does not exist yet, with `manifest` (JSON text) inside it.
    """

    module: nn.Module
    input_shape: tuple[int, int, int, int]
    precision: Precision
    path: Path
    manifest: str


class Target(Protocol):
    """One format.

    `extra` is the pip extra that installs it, `requires` the modules that must be found, `layout` that of
    its image input and of its logits, `rewrites` the names of the graph rewrites it needs (`rewrites.py`).
    """

    name: str
    suffix: str
    extra: str
    requires: tuple[str, ...]
    precisions: tuple[Precision, ...]
    layout: Literal["nchw", "nhwc"]
    rewrites: tuple[str, ...]

    def converter(self) -> str:
        """Return the converter's name and version, such as "coremltools 9.0"."""
        ...

    def convert(self, request: ConvertRequest) -> tuple[str, ...]:
        """Write the artifact to `request.path` and return notes worth showing, such as "opset 18".

        Whatever the converter raises passes through: the pipeline turns it into one ExportError.
        """
        ...
