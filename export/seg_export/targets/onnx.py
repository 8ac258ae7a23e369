"""ONNX: for ONNX Runtime on servers, phones and in browsers, with the manifest in `metadata_props`."""

from __future__ import annotations

from typing import Any, Literal

from seg_core.errors import ExportError
from seg_core.manifest import METADATA_KEY
from seg_export.target import INPUT_NAME, OUTPUT_NAME, ConvertRequest, Precision
from seg_export.targets import package_version

#: The exporter writes 18 even when asked for less, so 18 is asked for and what the file says is checked.
OPSET = 18


class OnnxTarget:
    """The torch.export based exporter, then onnxsim, then onnx's own checker."""

    name = "onnx"
    suffix = ".onnx"
    extra = "onnx"
    requires: tuple[str, ...] = ("torch", "onnx", "onnxscript", "onnxsim", "onnxruntime")
    precisions: tuple[Precision, ...] = ("fp32",)
    layout: Literal["nchw", "nhwc"] = "nchw"
    rewrites: tuple[str, ...] = ()

    def converter(self) -> str:
        """Return the name and version of the converter."""
        return f"torch.onnx {package_version('torch')}"

    def convert(self, request: ConvertRequest) -> tuple[str, ...]:
        """Export, simplify, check and save; see `Target.convert`."""
        import onnx
        import torch

        program = torch.onnx.export(
            request.module,
            (torch.zeros(request.input_shape),),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME],
            verbose=False,
        )
        if program is None:
            raise ExportError("torch.onnx returned no program")
        exported = program.model_proto
        model, note = _simplify(exported)
        _strip_traces(model)
        onnx.helper.set_model_props(model, {METADATA_KEY: request.manifest})
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, str(request.path))
        return (f"opset {_checked_opset(onnx.load(str(request.path)))}", note)


def _simplify(exported: Any) -> tuple[Any, str]:
    """Return the simplified model where onnxsim proves it equal on random input, else the exported one."""
    import onnxsim

    simplified, equal = onnxsim.simplify(exported, check_n=1)
    before, after = len(exported.graph.node), len(simplified.graph.node)
    if not equal or after > before:
        return exported, f"{before} nodes (onnxsim's result was not taken)"
    return simplified, f"{after} nodes"


def _strip_traces(model: Any) -> None:
    """Drop the Python stack traces that the exporter writes on every node: they name the builder's folders."""
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]
    del model.graph.metadata_props[:]
    model.graph.doc_string = model.doc_string = ""


def _checked_opset(model: Any) -> int:
    (opset,) = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if opset < OPSET:
        raise ExportError(f"the written file says opset {opset}, wanted at least {OPSET}")
    return int(opset)


TARGET = OnnxTarget()
