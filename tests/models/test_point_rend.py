"""PointRend: where it looks, what it changes, that it learns from points and sharpens what is blurred."""

import pytest
import torch
import torch.nn.functional as F

from seg_core.errors import ConfigError
from seg_core.models import build_model
from seg_core.models.point_rend import PROVEN_TARGETS, PointHead, PointRend, uncertainty
from seg_core.spec import ModelSpec


def _coarse_and_fine(seed=0, batch=2, classes=3, size_hw=(4, 6)):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(batch, classes, *size_hw, generator=generator)
    return coarse, torch.randn(batch, 5, size_hw[0] * 2, size_hw[1] * 2, generator=generator)


def _point_rend(**options):
    torch.manual_seed(0)
    return PointRend(5, 3, **{"subdivisions": 2, "fc_dim": 16, "num_fc": 2, "cells_per_point": 8, **options})


def _changed(found, wanted):
    return (found != wanted).any(dim=1).flatten(1).sum(dim=1).tolist()


def test_uncertainty_is_the_gap_between_the_two_best():
    logits = torch.tensor([[3.0, 1.0, -8.0], [2.5, 2.5, 0.0], [-1.0, -7.0, -2.0]]).T.reshape(1, 3, 3, 1)
    assert uncertainty(logits).tolist() == [[-2.0, 0.0, -1.0]]


def test_uncertainty_equals_that_of_topk():
    logits = torch.randn(2, 7, 9, 5)
    best = logits.topk(2, dim=1).values
    torch.testing.assert_close(uncertainty(logits), (best[:, 1] - best[:, 0]).flatten(1), rtol=0, atol=0)


def test_points_are_sampled_bilinearly_as_in_the_paper():
    module, (coarse, fine) = _point_rend(), _coarse_and_fine()
    module.head.forward = lambda fine_at, coarse_at: torch.cat([fine_at, coarse_at], dim=1)
    cells = torch.tensor([[0, 100, 383], [7, 200, 301]])
    found = module._predict(coarse, fine, cells, (16, 24))
    x, y = (cells % 24 + 0.5) * 2 / 24 - 1, (cells // 24 + 0.5) * 2 / 16 - 1
    grid = torch.stack([x, y], dim=-1)[:, None]
    wanted = [F.grid_sample(f, grid, align_corners=False, padding_mode="border")[:, :, 0] for f in (fine, coarse)]
    torch.testing.assert_close(found, torch.cat(wanted, dim=1), rtol=1e-5, atol=1e-5)


def test_only_the_most_uncertain_cells_are_predicted_anew():
    module, (coarse, fine) = _point_rend(subdivisions=1, cells_per_point=12).eval(), _coarse_and_fine()
    with torch.no_grad():
        refined = module(coarse, fine)
    enlarged = F.interpolate(coarse, scale_factor=2.0, mode="bilinear")
    assert refined.shape == (2, 3, 8, 12)
    assert _changed(refined, enlarged) == [8, 8]
    changed = (refined != enlarged).any(dim=1).flatten(1)
    gaps = uncertainty(enlarged)
    assert gaps[changed].reshape(2, 8).amin(dim=1).tolist() >= gaps.masked_fill(changed, -9e9).amax(dim=1).tolist()


def test_a_head_that_repeats_the_coarse_logits_changes_nothing():
    module, (coarse, fine) = _point_rend(subdivisions=1).eval(), _coarse_and_fine()
    module.head.forward = lambda fine_at, coarse_at: coarse_at
    torch.testing.assert_close(module(coarse, fine), F.interpolate(coarse, scale_factor=2.0, mode="bilinear"))


def test_each_subdivision_doubles_the_size():
    coarse, fine = _coarse_and_fine()
    assert _point_rend(subdivisions=3).eval()(coarse, fine).shape == (2, 3, 32, 48)
    assert _point_rend(cells_per_point=10**6).eval()(coarse, fine).shape == (2, 3, 16, 24)  # one point a step
    assert _point_rend(cells_per_point=1).eval()(coarse, fine).shape == (2, 3, 16, 24)  # every cell


def test_training_gives_a_second_map_that_differs_at_points_alone():
    module, (coarse, fine) = _point_rend().train(), _coarse_and_fine()
    heads = module.heads(coarse, fine)
    enlarged = F.interpolate(coarse, scale_factor=4.0, mode="bilinear")
    assert list(heads) == ["main", "points"]
    torch.testing.assert_close(heads["main"], enlarged)
    assert all(0 < count <= 16 * 24 // 8 for count in _changed(heads["points"], heads["main"]))
    assert list(module.eval().heads(coarse, fine)) == ["main"]


def test_three_quarters_of_the_training_points_are_uncertain_ones():
    torch.manual_seed(0)
    module = _point_rend(cells_per_point=50)
    gaps = -torch.arange(20_000.0).reshape(1, -1)  # the lower the cell's number, the less certain
    cells = module._draw_cells(gaps)
    assert cells.shape == (1, 400)
    # The best 300 of 1200 random candidates reach to about a quarter of the cells; the rest lie anywhere.
    assert cells[0, :300].max() < 6500
    assert cells[0, 300:].float().mean() == pytest.approx(10_000, abs=1500)


def test_a_mean_over_the_map_teaches_as_a_mean_over_the_points():
    module, (coarse, fine) = _point_rend(), _coarse_and_fine(batch=1)
    cells = torch.randperm(16 * 24)[: 16 * 24 // 8][None]
    module._draw_cells = lambda gaps: cells
    target = torch.randint(3, (1, 16, 24))
    F.cross_entropy(module.render_training_points(coarse, fine), target).backward()
    found = module.head.scores.weight.grad.clone()
    module.zero_grad()
    F.cross_entropy(module._predict(coarse, fine, cells, (16, 24)), target.flatten(1).gather(1, cells)).backward()
    torch.testing.assert_close(found, module.head.scores.weight.grad, rtol=1e-4, atol=1e-6)


def test_it_sharpens_what_is_blurred():
    """Discs whose coarse logits are blurred: the head learns from the image where their edges are."""
    torch.manual_seed(0)
    rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")

    def scene():
        centres, radii = torch.rand(4, 2) * 40 + 12, torch.rand(4) * 8 + 8
        discs = [((rows - y) ** 2 + (columns - x) ** 2 < r**2) for (y, x), r in zip(centres, radii, strict=True)]
        labels = torch.stack(discs).long()
        blurred = F.avg_pool2d(F.pad(labels[:, None].float(), (4, 4, 4, 4), mode="replicate"), 16, 8)
        coarse = torch.cat([0.5 - blurred, blurred - 0.5], dim=1) * 8
        return coarse, labels[:, None].float() * 2 - 1 + 0.1 * torch.randn(4, 1, 64, 64), labels

    module = PointRend(1, 2, subdivisions=3, fc_dim=16, num_fc=2, cells_per_point=16)
    optimizer = torch.optim.Adam(module.parameters(), 1e-2)
    for _ in range(60):
        coarse, fine, labels = scene()
        loss = F.cross_entropy(module.heads(coarse, fine)["points"], labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    coarse, fine, labels = scene()
    with torch.no_grad():
        refined = module.eval()(coarse, fine)
    plain = F.interpolate(coarse, scale_factor=8.0, mode="bilinear")
    error, plain_error = ((logits.argmax(1) != labels).float().mean().item() for logits in (refined, plain))
    assert plain_error > 0.02
    assert error < 0.5 * plain_error


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_trains_and_renders_under_autocast(dtype):
    module, (coarse, fine) = _point_rend(), _coarse_and_fine()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        heads = module.train().heads(coarse.to(dtype), fine.to(dtype))
        rendered = module.eval()(coarse.to(dtype), fine.to(dtype))
    assert {heads["points"].dtype, heads["main"].dtype, rendered.dtype} == {dtype}
    heads["points"].float().square().mean().backward()
    assert all(parameter.grad.isfinite().all() for parameter in module.parameters())


def test_options_make_the_head():
    head = PointHead(5, 3, fc_dim=12, num_fc=4)
    assert [layer.weight.shape[:2] for layer in head.hidden] == [(12, 8), (12, 15), (12, 15), (12, 15)]
    assert head(torch.randn(2, 5, 9), torch.randn(2, 3, 9)).shape == (2, 3, 9)


@pytest.mark.parametrize("name", ["subdivisions", "fc_dim", "num_fc", "cells_per_point"])
def test_impossible_numbers_are_refused(name):
    with pytest.raises(ConfigError, match=f"PointRend: {name} must be at least 1, found 0"):
        _point_rend(**{name: 0})


def _deeplab(**options):
    torch.manual_seed(0)
    options = {"encoder": "mobilenet_v2", "decoder_channels": 16, "point_rend": True, "point_fc_dim": 16, **options}
    return build_model(ModelSpec("deeplabv3plus", 4, 3, options))


def test_deeplab_renders_with_it_and_every_weight_of_it_learns():
    network = _deeplab()
    heads = network.forward_heads(torch.randn(2, 3, 128, 128))
    assert {name: tuple(logits.shape) for name, logits in heads.items()} == dict.fromkeys(
        ("main", "points", "aux"), (2, 4, 128, 128)
    )
    heads["points"].square().mean().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.point_rend.parameters())
    network.eval().main_only()
    assert list(network.forward_heads(torch.randn(1, 3, 128, 128))) == ["main"]


def test_deeplab_refuses_to_render_at_a_quarter():
    with pytest.raises(ConfigError, match="point_rend renders logits at input size; set upsample=true"):
        _deeplab(upsample=False)


def test_a_target_without_proof_is_refused_with_the_nearest_thing_that_works():
    network = _deeplab()
    for target in PROVEN_TARGETS:
        network.check_target(target)
    with pytest.raises(ConfigError) as caught:
        network.check_target("ncnn")
    assert str(caught.value) == (
        "PointRend is not proven on target 'ncnn': it needs topk, gather and scatter there; build the model without "
        'it (option point_rend=false, in YAML MODEL.POSTPROCESS.NAME: [""]), or export to torchscript, onnx, coreml, '
        "tflite, coreai"
    )
    _deeplab(point_rend=False).check_target("ncnn")
