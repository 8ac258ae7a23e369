"""Core AI: Apple's successor of Core ML, for iOS 27 and macOS 27, with the manifest in the package's metadata."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Literal

from seg_core.manifest import METADATA_KEY
from seg_export.target import INPUT_NAME, OUTPUT_NAME, ConvertRequest, Precision
from seg_export.targets import package_version

if TYPE_CHECKING:
    from torch import nn


class CoreAITarget:
    """coreai-torch on the graph of torch.export; fp16 computes in half precision between float32 tensors."""

    name = "coreai"
    suffix = ".aimodel"
    extra = "coreai"
    requires: tuple[str, ...] = ("torch", "coreai", "coreai_torch")
    precisions: tuple[Precision, ...] = ("fp32", "fp16")
    layout: Literal["nchw", "nhwc"] = "nchw"
    rewrites: tuple[str, ...] = ()

    def converter(self) -> str:
        """Return the name and version of the converter."""
        return f"coreai-torch {package_version('coreai-torch')}"

    def convert(self, request: ConvertRequest) -> tuple[str, ...]:
        """Export, convert and save; see `Target.convert`.

        Release mode: the other one writes Python stack traces, which name the builder's folders.
        """
        import torch
        from coreai.runtime import AIModelAssetMetadata
        from coreai_torch import TorchConverter, get_decomp_table

        module = _halve(request.module) if request.precision == "fp16" else request.module
        exported = torch.export.export(module, (torch.zeros(request.input_shape),))
        exported = exported.run_decompositions(get_decomp_table())
        converter = TorchConverter(mode=TorchConverter.Mode.RELEASE)
        converter.add_exported_program(exported, input_names=[INPUT_NAME], output_names=[OUTPUT_NAME])
        metadata = AIModelAssetMetadata()
        metadata.set_custom(METADATA_KEY, request.manifest)
        converter.to_coreai().save_asset(request.path, metadata=metadata)
        return ("iOS 27 or newer",)


def _halve(network: nn.Module) -> nn.Module:
    """Return a half precision copy of `network` that takes and gives float32."""
    from torch import Tensor, nn

    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = copy.deepcopy(network).half()

        def forward(self, image: Tensor) -> Tensor:
            logits: Tensor = self.network(image.half())
            return logits.float()

    return Half().eval()


TARGET = CoreAITarget()
