"""The part of a recorded step that needs no GPU: its moving average is the one that other steps take."""

import copy

import torch
from torch import nn

from seg_train.average import build_average
from seg_train.recording import lerp_average


def test_the_recorded_average_moves_trainable_weights_as_the_other_one_does():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    recorded, plain = build_average(network, 0.9), build_average(copy.deepcopy(network), 0.9)
    for _ in range(3):
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(torch.randn_like(parameter))
        network(torch.randn(2, 3, 8, 8))  # moves BatchNorm's statistics and its counter
        # As Stepper calls it: outside of any no_grad, with weights that want gradients.
        lerp_average(recorded, network, torch.tensor(recorded.next_weight()))
        recorded.n_averaged += 1
        plain.update_parameters(network)
    for name, value in plain.state_dict().items():
        assert torch.allclose(value.float(), recorded.state_dict()[name].float(), atol=1e-6), name
    assert all(parameter.requires_grad for parameter in network.parameters())
