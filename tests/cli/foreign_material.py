"""Published state dicts, as their authors would write them: random weights of a known architecture."""

import torch

from seg_core.models import build_model
from seg_core.spec import ModelSpec


def write_foreign(path, name, prefix):
    """Random weights, scaled so that logits have the size of a trained network's."""
    torch.manual_seed(5)
    network = build_model(ModelSpec(name, 19))
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.5, 1.5)
    state = {prefix + key: value for key, value in network.state_dict().items()}
    torch.save({"epoch": 80, "state_dict": {**state, f"{prefix}criterion.weight": torch.ones(19)}}, path)
    return path
