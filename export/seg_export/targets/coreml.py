"""Core ML: an ML Program package for iOS 16 and macOS 13 or newer, with the manifest in its user metadata."""

from __future__ import annotations

from typing import Literal

from seg_core.manifest import METADATA_KEY
from seg_export.target import INPUT_NAME, OUTPUT_NAME, ConvertRequest, Precision
from seg_export.targets import package_version


class CoreMLTarget:
    """coremltools' TorchScript front end: the torch.export one needs decompositions and gains nothing here."""

    name = "coreml"
    suffix = ".mlpackage"
    extra = "coreml"
    requires: tuple[str, ...] = ("torch", "coremltools")
    precisions: tuple[Precision, ...] = ("fp32", "fp16")
    layout: Literal["nchw", "nhwc"] = "nchw"
    rewrites: tuple[str, ...] = ()

    def converter(self) -> str:
        """Return the name and version of the converter."""
        return f"coremltools {package_version('coremltools')}"

    def convert(self, request: ConvertRequest) -> tuple[str, ...]:
        """Trace, convert and save; see `Target.convert`.

        The tensors at the boundary are declared float32: left alone, an fp16 program for iOS 16 makes them float16.
        """
        import coremltools
        import numpy as np

        from seg_export.prepare import trace_network
        from seg_export.targets.coreml_passes import EXACT_RESIZES

        traced = trace_network(request.module, request.input_shape)
        precision = coremltools.precision.FLOAT16 if request.precision == "fp16" else coremltools.precision.FLOAT32
        # That pass turns a scale-and-shift into a batch_norm whose epsilon shrinks the scale by 5e-6.
        passes = coremltools.PassPipeline.DEFAULT
        passes.remove_passes({"common::fuse_elementwise_to_batchnorm"})
        passes.append_pass(EXACT_RESIZES)
        model = coremltools.convert(
            traced,
            inputs=[coremltools.TensorType(name=INPUT_NAME, shape=request.input_shape, dtype=np.float32)],
            outputs=[coremltools.TensorType(name=OUTPUT_NAME, dtype=np.float32)],
            convert_to="mlprogram",
            compute_precision=precision,
            minimum_deployment_target=coremltools.target.iOS16,
            pass_pipeline=passes,
            skip_model_load=True,
        )
        model.user_defined_metadata[METADATA_KEY] = request.manifest
        model.save(str(request.path))
        return ("iOS 16 or newer",)


TARGET = CoreMLTarget()
