"""Parts that not every runtime knows: proved where they may go, refused with a reason elsewhere."""

import pytest
import torch
from core_ai_platform import skip_without_wheels
from export_material import LABELS, SAMPLES, fill_weights

from seg_core.models import build_model
from seg_core.models.checkpoint import Checkpoint, save_checkpoint
from seg_core.models.point_rend import PROVEN_TARGETS, PointRend
from seg_core.spec import ModelSpec, PostprocessSpec, PreprocessSpec
from seg_export.parity import Reference, load_samples
from seg_export.pipeline import Exporter
from seg_export.prepare import prepare_network
from seg_export.targets import get_target, list_targets

pytestmark = pytest.mark.export

#: Everything at once that a decoder can be given: BiFPN with its weights, attention, separable convolutions, PointRend.
OPTIONS = {
    "encoder": "resnet18",
    "output_stride": 32,
    "atrous_rates": (1,),
    "decoder_channels": 16,
    "separable": True,
    "neck": "bifpn",
    "neck_channels": 16,
    "neck_norm": "group",
    "scse": True,
    "point_rend": True,
    "point_fc_dim": 16,
}


@pytest.fixture(scope="module")
def exporter(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rendered")
    spec = ModelSpec("deeplabv3plus", LABELS.num_classes, 3, OPTIONS)
    torch.manual_seed(0)
    network = build_model(spec)
    fill_weights(network, seed=0)
    preprocess = PreprocessSpec(size_hw=(64, 96))
    save_checkpoint(folder / "net.pth", Checkpoint(spec, preprocess, PostprocessSpec(), LABELS, network.state_dict()))
    return Exporter(Reference(folder / "net.pth", load_samples(SAMPLES)), folder / "out", "fp32", "net")


def test_every_target_is_proved_or_refused():
    """A new target starts refused: add it to PROVEN_TARGETS once the test below passes on it."""
    assert set(PROVEN_TARGETS) <= set(list_targets())


@pytest.mark.slow
@pytest.mark.parametrize("target", list_targets())
def test_point_rend_keeps_parity_where_it_may_go(exporter, target):
    skip_without_wheels(target)
    result = exporter.export(get_target(target))
    if target not in PROVEN_TARGETS:
        assert result.status == "failed"
        assert result.error.startswith(f"PointRend is not proven on target {target!r}: it needs topk, gather and")
        return
    assert (result.status, result.error) == ("ok", None)
    assert result.parity.outputs[0].label_agreement >= 0.9995


def test_a_target_without_proof_is_refused_before_conversion(exporter, monkeypatch):
    monkeypatch.setattr(PointRend, "proven_targets", ("onnx",))
    target = get_target("torchscript")
    monkeypatch.setattr(type(target), "convert", lambda *_: pytest.fail("the converter was called"))
    before = sorted(exporter.out_dir.glob("*")) if exporter.out_dir.exists() else []
    result = exporter.export(target)
    assert result.status == "failed"
    assert result.error == (
        "PointRend is not proven on target 'torchscript': it needs topk, gather and scatter there; build the model "
        'without it (option point_rend=false, in YAML MODEL.POSTPROCESS.NAME: [""]), or export to onnx'
    )
    assert (sorted(exporter.out_dir.glob("*")) if exporter.out_dir.exists() else []) == before


def test_fusion_weights_become_constants(exporter):
    targets = [str(node.target) for node in exporter.prepared.module.graph.nodes]
    assert "aten.div.Tensor" not in targets
    assert "aten.select.int" not in targets
    (note,) = [note for note in exporter.prepared.notes if "constant operations" in note]
    # Per node: relu, sum, add, divide, reshape and one selection an input; 3 x 2 + 2 x 3 + 2 inputs.
    nodes, inputs = 3 + 3, 3 * 2 + 2 * 3 + 2
    assert note == f"{nodes * 5 + inputs} constant operations computed"


class _Constants(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor([[[[2.0]], [[3.0]], [[4.0]]]]))

    def forward(self, image):
        wide = self.scale.expand(1, 3, 64, 64).sqrt()  # larger than its source: stays
        noisy = torch.rand_like(self.scale) * 0  # random: stays
        return image * self.scale.relu().exp() + wide + noisy


def test_only_small_and_pure_work_is_folded():
    prepared = prepare_network(_Constants(), [torch.randn(1, 3, 64, 64)])
    called = [str(node.target) for node in prepared.module.graph.nodes if node.op == "call_function"]
    assert "aten.exp.default" not in called
    assert {"aten.expand.default", "aten.rand_like.default"} <= set(called)
    assert prepared.notes[-1] == "2 constant operations computed"


def test_a_network_of_known_operations_is_never_refused(exporter):
    network = build_model(ModelSpec("ddrnet_23_slim", 5))
    for target in (*list_targets(), "anything"):
        network.check_target(target)
