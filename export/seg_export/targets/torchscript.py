"""TorchScript: the traced network, for libtorch and PyTorch Mobile, with the manifest as an extra file."""

from __future__ import annotations

from typing import Literal

from seg_core.manifest import METADATA_KEY
from seg_export.target import ConvertRequest, Precision
from seg_export.targets import package_version


class TorchScriptTarget:
    """`torch.jit.trace` of the folded network.

    The module is not frozen: with the BatchNorms already folded, `torch.jit.freeze` changes neither a logit nor
    the latency (21.1 ms both for DDRNet-23-slim at 256x256 on one thread).
    """

    name = "torchscript"
    suffix = ".pt"
    extra = "torch"
    requires: tuple[str, ...] = ("torch",)
    precisions: tuple[Precision, ...] = ("fp32",)
    layout: Literal["nchw", "nhwc"] = "nchw"
    rewrites: tuple[str, ...] = ()

    def converter(self) -> str:
        """Return the name and version of the converter."""
        return f"torch.jit.trace {package_version('torch')}"

    def convert(self, request: ConvertRequest) -> tuple[str, ...]:
        """Trace and save; see `Target.convert`."""
        import torch

        from seg_export.prepare import trace_network

        traced = trace_network(request.module, request.input_shape)
        torch.jit.save(traced, str(request.path), _extra_files={METADATA_KEY: request.manifest})
        return ()


TARGET = TorchScriptTarget()
