"""A seeded checkpoint that is quick to convert: DDRNet-23-slim with rescaled random weights, 5 classes, 64x128."""

from pathlib import Path

import torch

from seg_core.labels import LabelSet
from seg_core.models import build_model
from seg_core.models.checkpoint import Checkpoint, save_checkpoint
from seg_core.spec import ModelSpec, PostprocessSpec, PreprocessSpec
from seg_export.targets.torchscript import TorchScriptTarget

SIZE_HW = (64, 128)  # not square, so that a swapped height and width cannot hide
SAMPLES = Path(__file__).parents[2] / "mobile_demo" / "samples"
LABELS = LabelSet(("background", "skin", "eye", "mouth", "hair"))


def fill_weights(network: torch.nn.Module, seed: int) -> None:
    """Give every layer values of a trained network's size, BatchNorm statistics included."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                if module.affine:
                    module.weight.uniform_(0.4, 1.2, generator=generator)
                    module.bias.uniform_(-0.3, 0.3, generator=generator)
                module.running_mean.uniform_(-0.3, 0.3, generator=generator)
                module.running_var.uniform_(0.5, 1.5, generator=generator)
            elif isinstance(module, torch.nn.Conv2d):
                scale = (2.0 / module.weight[0].numel()) ** 0.5
                module.weight.copy_(torch.randn(module.weight.shape, generator=generator) * scale)


def write_checkpoint(path: Path, seed: int = 0, size_hw: tuple[int, int] = SIZE_HW) -> Path:
    spec = ModelSpec("ddrnet_23_slim", LABELS.num_classes, options={"aux_head": True, "upsample": True})
    network = build_model(spec)
    fill_weights(network, seed)
    preprocess = PreprocessSpec(size_hw=size_hw)
    save_checkpoint(path, Checkpoint(spec, preprocess, PostprocessSpec(), LABELS, network.state_dict()))
    return path


class Broken(TorchScriptTarget):
    """Writes half a file, then meets `failure`."""

    def __init__(self, failure: BaseException) -> None:
        self.failure = failure

    def convert(self, request):
        request.path.write_bytes(b"half of an artifact")
        raise self.failure


class Wrong(TorchScriptTarget):
    """Converts a network whose logits are slightly off."""

    def convert(self, request):
        class Off(torch.nn.Module):
            def __init__(self, network):
                super().__init__()
                self.network = network

            def forward(self, image):
                logits = self.network(image)
                return logits + 1e-3 * logits.abs().max()

        changed = type(request)(**{**vars(request), "module": Off(request.module)})
        return super().convert(changed)
