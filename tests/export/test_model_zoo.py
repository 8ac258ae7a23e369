"""Every registered network reaches every target and is proved there, those added later included.

Weights are seeded and of a trained network's size: what is proved is conversion, not what a network has learned.
"""

import pytest
import torch
from core_ai_platform import skip_without_wheels
from export_material import LABELS, SAMPLES, fill_weights

from seg_core.models import build_model, list_models
from seg_core.models.checkpoint import Checkpoint, save_checkpoint
from seg_core.spec import ModelSpec, PostprocessSpec, PreprocessSpec
from seg_export.parity import Reference, load_samples
from seg_export.pipeline import Exporter
from seg_export.targets import get_target, list_targets

pytestmark = [pytest.mark.export, pytest.mark.slow]

#: Small for CI, and large enough for every network's pyramid.
SIZE_HW = (128, 128)

#: (model, target) to the reason why the pair is not proved here. An entry that works fails its test.
EXCLUDED: dict[tuple[str, str], str] = {}


@pytest.fixture(scope="module", params=list_models())
def exporter(request, tmp_path_factory) -> Exporter:
    """One network, captured and folded once for all targets."""
    folder = tmp_path_factory.mktemp(request.param)
    spec = ModelSpec(request.param, LABELS.num_classes)
    torch.manual_seed(0)
    network = build_model(spec)
    fill_weights(network, seed=0)
    checkpoint = Checkpoint(spec, PreprocessSpec(size_hw=SIZE_HW), PostprocessSpec(), LABELS, network.state_dict())
    save_checkpoint(folder / "net.pth", checkpoint)
    reference = Reference(folder / "net.pth", load_samples(SAMPLES))
    return Exporter(reference, folder / "out", "fp32", "net")


@pytest.mark.parametrize("target", list_targets())
def test_is_exported_and_proved(exporter, target):
    skip_without_wheels(target)
    pair = (exporter.reference.checkpoint.model.name, target)
    result = exporter.export(get_target(target))
    if pair in EXCLUDED:
        assert result.status != "ok", f"works now: take {pair} out of EXCLUDED ({EXCLUDED[pair]})"
        return
    # The verdict is that of the one tolerance table.
    assert (result.status, result.error) == ("ok", None), result.parity
    assert [image.passed for image in result.parity.outputs[0].images] == [True] * 3


def test_exclusions_name_what_exists():
    assert all(model in list_models() and target in list_targets() for model, target in EXCLUDED)
