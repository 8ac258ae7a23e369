"""TFLite (LiteRT): for Android, browsers and microcontrollers, with the manifest as an appended zip entry."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Literal

from seg_core.runners.tflite import MANIFEST_ENTRY
from seg_export.target import INPUT_NAME, OUTPUT_NAME, ConvertRequest, Precision
from seg_export.targets import package_version


class TfliteTarget:
    """litert-torch with NHWC tensors at the boundary, which leaves no transpose in the graph.

    fp16 stores the weights in half precision and computes in float32, unless a delegate chooses otherwise.
    """

    name = "tflite"
    suffix = ".tflite"
    extra = "tflite"
    requires: tuple[str, ...] = ("torch", "litert_torch", "ai_edge_quantizer", "ai_edge_litert")
    precisions: tuple[Precision, ...] = ("fp32", "fp16")
    layout: Literal["nchw", "nhwc"] = "nhwc"
    rewrites: tuple[str, ...] = ("padded_average_pool",)

    def converter(self) -> str:
        """Return the name and version of the converter."""
        return f"litert-torch {package_version('litert-torch')}"

    def convert(self, request: ConvertRequest) -> tuple[str, ...]:
        """Convert and save; see `Target.convert`."""
        import litert_torch
        import torch
        from torch import nn

        class ChannelLast(nn.Module):
            """NHWC in and out; names the tensors, which litert-torch takes from argument and dictionary key."""

            def __init__(self, network: nn.Module) -> None:
                super().__init__()
                self.network = network

            def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
                return {OUTPUT_NAME: self.network(image.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)}

        batch, channels, height, width = request.input_shape
        sample = {INPUT_NAME: torch.zeros(batch, height, width, channels)}
        litert_torch.convert(ChannelLast(request.module).eval(), sample_kwargs=sample).export(str(request.path))
        notes: tuple[str, ...] = ()
        if request.precision == "fp16":
            halve_weights(request.path)
            notes = (f"weights halved by ai-edge-quantizer {package_version('ai-edge-quantizer')}",)
        append_manifest(request.path, request.manifest)
        return notes


def halve_weights(path: Path) -> None:
    """Store the float32 weights of the TFLite file at `path` as float16, in place."""
    from ai_edge_quantizer import qtyping, quantizer
    from ai_edge_quantizer.algorithm_manager import AlgorithmName

    full = path.rename(path.with_name("full-" + path.name))
    tool = quantizer.Quantizer(str(full))
    tool.update_quantization_recipe(
        regex=".*",
        operation_name=qtyping.TFLOperationName.ALL_SUPPORTED,
        op_config=qtyping.OpQuantizationConfig(
            weight_tensor_config=qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT),
            compute_precision=qtyping.ComputePrecision.FLOAT,
            explicit_dequantize=True,
        ),
        algorithm_key=AlgorithmName.FLOAT_CASTING,
    )
    tool.quantize().export_model(str(path))
    full.unlink()


def append_manifest(path: Path, manifest: str) -> None:
    """Append the manifest to a TFLite file as a zip archive; flatbuffer readers ignore what follows the model."""
    entry = zipfile.ZipInfo(MANIFEST_ENTRY)  # the default date of 1980 keeps equal exports byte-equal
    entry.external_attr = 0o644 << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(entry, manifest)


TARGET = TfliteTarget()
