"""What the older engine's YAML names exists, and builds."""

import pytest
import torch

from seg_core.config.legacy import ENCODERS, model_spec_from_legacy
from seg_core.models import build_model, build_placeholder
from seg_core.models.encoders import list_encoders
from seg_core.models.necks import list_necks


def test_every_encoder_has_a_name_there():
    assert set(ENCODERS.values()) == set(list_encoders())


@pytest.mark.parametrize(
    ("encoder", "decoder"),
    [("DDRNet39", "DeepDualResolutionNet"), ("ResNet34", "BiSeNet"), ("", "BiSeNetV2"), ("", "BiSeNetV2_large")],
)
def test_every_decoder_builds(encoder, decoder):
    section = {"ENCODER": {"NAME": encoder}, "DECODER": {"NAME": decoder}, "BLOCK": "SeparableConv2d"}
    network = build_placeholder(model_spec_from_legacy(section, 6, in_channels=4))
    assert sum(parameter.numel() for parameter in network.parameters()) > 1_000_000


@pytest.mark.parametrize("neck", ["FPN", "PANet", "BiFPN"])
def test_deeplab_with_every_part_runs(neck):
    section = {
        "ENCODER": {"NAME": "MobileNetV2"},
        "FPN": {"NAME": neck, "OUT_CHANNELS": 24, "NORM": "None", "STACK": 2},
        "DECODER": {"NAME": "DeepLabV3Plus", "CHANNELS": 16, "ASTROUS_RATES": "(2, 3)"},
        "POSTPROCESS": {"NAME": ["PointRend", "SCSE"], "FC_DIM": 8, "NUM_FC": 1, "REDUCTION": 4},
        "BLOCK": "SeparableConv2d",
    }
    spec = model_spec_from_legacy(section, 6)
    assert spec.options["neck"] in list_necks()
    with torch.inference_mode():
        assert build_model(spec).eval()(torch.randn(1, 3, 64, 64)).shape == (1, 6, 64, 64)
