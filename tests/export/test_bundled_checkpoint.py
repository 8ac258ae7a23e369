"""What `make demo` promises of the bundled network, on every bundled photograph."""

import numpy as np
import pytest
from core_ai_platform import skip_without_wheels
from export_material import SAMPLES

from seg_core import Predictor, load_image
from seg_core.geometry import Roi
from seg_export.parity import Reference, load_samples
from seg_export.pipeline import Exporter
from seg_export.targets import get_target, list_targets

CHECKPOINT = SAMPLES.parent / "checkpoints" / "ddrnet23_slim_celebamask_256.pth"

pytestmark = [pytest.mark.export, pytest.mark.slow]


@pytest.fixture(scope="module")
def exporter(tmp_path_factory):
    reference = Reference(CHECKPOINT, load_samples(SAMPLES))
    return Exporter(reference, tmp_path_factory.mktemp("bundled"), "fp32", "face")


@pytest.mark.parametrize("target", list_targets())
def test_every_photograph_is_reproduced_at_256(exporter, target):
    skip_without_wheels(target)
    result = exporter.export(get_target(target))
    assert result.error is None
    assert exporter.reference.spec.size_hw == (256, 256)
    (output,) = result.parity.outputs
    assert {image.image for image in output.images} == {"astronaut.png", "grace_hopper.png", "obama.jpg"}
    for image in output.images:
        # The product's promise, written out: it must not move when the table of tolerances does.
        assert image.max_abs_relative <= 2e-5, image
        assert image.label_agreement >= 0.9995, image


def test_the_network_knows_a_face():
    with Predictor.open(CHECKPOINT) as predictor:
        prediction = predictor.predict(load_image(SAMPLES / "obama.jpg"), Roi(60, 50, 1214, 1214))
        names = predictor.labels.names
    share = {name: float((prediction.labels == index).mean()) for index, name in enumerate(names)}
    assert share["skin"] > 0.1
    assert share["hair"] > 0.03
    for part in ("nose", "left_eye", "right_eye", "left_brow", "right_brow", "upper_lip", "lower_lip"):
        assert share[part] > 2e-4, part
    columns = {name: np.nonzero(prediction.labels == names.index(name))[1].mean() for name in ("left_eye", "right_eye")}
    assert abs(columns["left_eye"] - columns["right_eye"]) > 100
