"""BiSeNet V1 and V2: variants, sizes, pretrained encoders and training."""

import pytest
import torch
import torch.nn.functional as F

from seg_core.errors import ConfigError
from seg_core.models import build_model, list_models
from seg_core.models.bisenet_v1 import repeat
from seg_core.models.bisenet_v2 import BiSeNetV2
from seg_core.models.encoders import create_encoder
from seg_core.spec import ModelSpec

NAMES = [name for name in list_models() if name.startswith("bisenet")]


def _parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("bisenet_v1", 13.28),
        ("bisenet_v1_resnet34", 23.38),
        ("bisenet_v1_face", 13.15),
        ("bisenet_v2", 3.36),
        ("bisenet_v2_large", 17.54),
    ],
)
def test_sizes_of_the_variants(name, millions):
    lean = build_model(ModelSpec(name, 19)).main_only()
    assert _parameters(lean) / 1e6 == pytest.approx(millions, abs=0.005)


def test_the_large_variant_is_twice_as_wide_and_thrice_as_deep():
    small, large = (build_model(ModelSpec(name, 2)) for name in ("bisenet_v2", "bisenet_v2_large"))
    for key in ("detail.S1.0", "detail.S3.2", "segment.S1S2.fuse", "segment.S5_5.conv_last"):
        assert large.get_submodule(key).conv.out_channels == 2 * small.get_submodule(key).conv.out_channels
    for stage, repeats in (("S3", 1), ("S4", 1), ("S5_4", 3)):
        assert len(small.segment.get_submodule(stage)) == 1 + repeats
        assert len(large.segment.get_submodule(stage)) == 1 + 3 * repeats


@pytest.mark.parametrize("options", [{"width": 0.1}, {"depth": 0}])
def test_impossible_multipliers_are_refused(options):
    with pytest.raises(ConfigError, match=r"width must be at least 0.25 and depth at least 1"):
        BiSeNetV2(2, **options)


@pytest.mark.parametrize("size_hw", [(3, 4), (4, 3), (5, 7), (8, 8)])
def test_repeating_is_nearest_neighbour_where_a_size_was_halved(size_hw):
    halved = torch.randn(1, 2, *((side + 1) // 2 for side in size_hw))
    like = torch.zeros(1, 1, *size_hw)
    assert torch.equal(repeat(halved, 2, like), F.interpolate(halved, size=size_hw, mode="nearest"))


@pytest.mark.parametrize("name", NAMES)
def test_heads_are_of_input_size_where_sizes_below_an_eighth_are_odd(name):
    network = build_model(ModelSpec(name, 3)).eval()
    with torch.inference_mode():
        heads = network.forward_heads(torch.randn(1, 3, 72, 40))
    assert {tuple(logits.shape) for logits in heads.values()} == {(1, 3, 72, 40)}


def test_aligned_corners_put_the_first_and_last_cells_on_the_corners():
    network = build_model(ModelSpec("bisenet_v1_face", 3, 3, {"align_corners": True})).eval()
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        full = network(image)
        network.output_stride = 8
        small = network(image)
    assert torch.allclose(full[..., ::63, ::63], small[..., ::7, ::7], rtol=0, atol=1e-5 * float(small.abs().max()))


def test_the_context_path_starts_from_pretrained_weights(tmp_path):
    torch.manual_seed(0)
    state = create_encoder("resnet18").state_dict()
    torch.save(state, tmp_path / "resnet18.pth")
    network = build_model(ModelSpec("bisenet_v1", 3, 3, {"pretrained": str(tmp_path / "resnet18.pth")}))
    assert all(torch.equal(value, state[key]) for key, value in network.cp.resnet.state_dict().items())


@pytest.mark.parametrize("name", NAMES)
def test_separable_convolutions_spare_the_resnet(name):
    plain = build_model(ModelSpec(name, 2))
    separable = build_model(ModelSpec(name, 2, 3, {"separable": True})).eval()
    assert _parameters(separable) < _parameters(plain)
    assert {key for key in plain.state_dict() if ".resnet." in key} <= set(separable.state_dict())
    with torch.inference_mode():
        assert separable(torch.zeros(1, 3, 64, 64)).shape == (1, 2, 64, 64)


def test_equal_seeds_give_equal_weights():
    states = []
    for _ in range(2):
        torch.manual_seed(5)
        states.append(build_model(ModelSpec("bisenet_v1_face", 2)).state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_tiny_batch_is_learnt_by_heart(name):
    torch.manual_seed(0)
    network = build_model(ModelSpec(name, 3)).train()
    images = torch.randn(2, 3, 8, 8).repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)
    masks = (images[:, 0] > 0).long() + (images[:, 1] > 0.5).long()
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    losses = []
    for _ in range(25):
        heads = network.forward_heads(images)
        loss = sum(F.cross_entropy(logits, masks) for logits in heads.values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(F.cross_entropy(heads["main"].detach(), masks)))
    assert losses[-1] < 0.35 * losses[0]
    assert (network(images).argmax(1) == masks).float().mean() > 0.9
