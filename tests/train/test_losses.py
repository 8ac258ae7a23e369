"""The weighted sum over heads: weights, sizes, void, and the terms it is made of."""

import math

import pytest
import torch

from seg_core.config.legacy_solver import LOSSES as SEED_LOSSES
from seg_core.config.schema import LossSection
from seg_core.config.schema_learning import TERMS
from seg_core.errors import ConfigError
from seg_core.models import build_placeholder
from seg_core.spec import ModelSpec, PreprocessSpec
from seg_train.graph import TrainingGraph
from seg_train.losses import SegmentationLoss, list_losses
from seg_train.losses.segmentation import EDGE_TERMS

VOID = 255


def only(name, **values):
    """A LossSection with one term; the edge terms stand beside cross-entropy, without which nothing is learnt."""
    weights = dict.fromkeys(list_losses(), 0.0) | {name: 1.0}
    if name in EDGE_TERMS:
        weights["cross_entropy"] = 1.0
    return LossSection(**weights, **values)


def make_batch(seed=0, classes=4, size=16):
    generator = torch.Generator().manual_seed(seed)
    heads = {
        "main": torch.randn(2, classes, size // 4, size // 4, generator=generator),
        "aux": torch.randn(2, classes, size, size, generator=generator),
        "edge": torch.randn(2, 1, size // 4, size // 4, generator=generator),
    }
    target = torch.zeros(2, size, size, dtype=torch.int64)
    target[0, :, size // 2 :] = 1
    target[1, size // 2 :] = 2
    target[:, :2] = VOID
    return {name: logits.requires_grad_() for name, logits in heads.items()}, target


def heads_for(name, heads):
    return heads if name in EDGE_TERMS else {key: value for key, value in heads.items() if key != "edge"}


def gradients(heads):
    found = {name: logits.grad for name, logits in heads.items()}
    for logits in heads.values():
        logits.grad = None
    return found


def test_the_terms_are_the_weights_of_the_configuration():
    assert set(list_losses()) == {*TERMS, *EDGE_TERMS}
    assert set(list_losses()) <= set(LossSection.model_fields)


@pytest.mark.parametrize("name", SEED_LOSSES)
def test_what_the_older_engine_names_is_made_of_these_terms(name):
    weights = SEED_LOSSES[name]
    assert set(weights) <= set(list_losses())
    options = LossSection(**{"cross_entropy": 0.0, **weights})
    assert SegmentationLoss(options, VOID, 4).terms == weights


def test_cross_entropy_of_flat_logits_is_log_of_the_class_count():
    loss = SegmentationLoss(LossSection(dice=0.0, aux=0.5), VOID, 4)
    heads = {"main": torch.zeros(1, 4, 8, 8), "aux": torch.zeros(1, 4, 1, 1)}
    losses = loss(heads, torch.zeros(1, 8, 8, dtype=torch.int64))
    assert losses["main"].item() == pytest.approx(math.log(4))
    assert losses["loss"].item() == pytest.approx(1.5 * math.log(4))


@pytest.mark.parametrize("name", list_losses())
def test_ignored_pixels_change_nothing(name):
    heads, target = make_batch()
    heads = {key: torch.nn.functional.interpolate(value, size=target.shape[-2:]) for key, value in heads.items()}
    # What lies beside void has a boundary with it or not: the terms about edges look one pixel further.
    rows = 2 if name not in EDGE_TERMS else 1
    other = {key: value.detach().clone() for key, value in heads.items()}
    for value in other.values():
        value[:, :, :rows] += 7 * torch.rand(value[:, :, :rows].shape, generator=torch.Generator().manual_seed(1))
    loss = SegmentationLoss(only(name), VOID, 4)
    found, wanted = loss(heads_for(name, other), target), loss(heads_for(name, heads), target)
    assert found["loss"].item() == pytest.approx(wanted["loss"].item(), rel=1e-6)
    moved = {key: value.detach() + 0.5 * torch.randn(value.shape) for key, value in heads.items()}
    assert loss(heads_for(name, moved), target)["loss"].item() != pytest.approx(wanted["loss"].item(), rel=1e-6)


@pytest.mark.parametrize("name", list_losses())
def test_void_may_be_marked_by_the_number_of_a_class(name):
    heads, target = make_batch()
    heads = heads_for(name, heads)
    wanted = SegmentationLoss(only(name), VOID, 4)(heads, target)["loss"].item()
    found = SegmentationLoss(only(name), 3, 4)(heads, torch.where(target == VOID, 3, target))["loss"].item()
    assert found == wanted


@pytest.mark.parametrize("name", list_losses())
def test_a_batch_of_nothing_but_void_is_zero_with_gradients_of_zero(name):
    heads, target = make_batch()
    heads = heads_for(name, heads)
    losses = SegmentationLoss(only(name), VOID, 4)(heads, torch.full_like(target, VOID))
    assert {key: value.item() for key, value in losses.items()} == dict.fromkeys(losses, 0.0)
    losses["loss"].backward()
    assert all(gradient is None or not gradient.any() for gradient in gradients(heads).values())


@pytest.mark.parametrize("name", list_losses())
def test_a_few_steps_lower_every_term(name):
    heads, target = make_batch()
    heads = heads_for(name, heads)
    loss = SegmentationLoss(only(name), VOID, 4)
    optimizer = torch.optim.Adam(heads.values(), lr=0.1)
    values = []
    for _ in range(30):
        losses = loss(heads, target)
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
        values.append(losses["edge" if name in EDGE_TERMS else "main"].item())
    assert values[-1] < 0.7 * values[0]


def test_heads_count_as_configured():
    heads, target = make_batch()
    heads = {"main": heads["main"], "aux": heads["aux"], "points": heads["aux"] * 2}
    losses = SegmentationLoss(LossSection(aux=0.3, heads={"points": 0.7}), VOID, 4)(heads, target)
    wanted = losses["main"] + 0.3 * losses["aux"] + 0.7 * losses["points"]
    assert losses["loss"].item() == pytest.approx(wanted.item())
    doubled = SegmentationLoss(LossSection(aux=0.0, heads={"main": 2.0}), VOID, 4)(heads, target)
    assert doubled["loss"].item() == pytest.approx(2 * losses["main"].item())


@pytest.mark.parametrize("compiled", [False, True])
def test_a_weight_of_a_head_that_is_not_there_is_refused(compiled):
    heads, target = make_batch()
    loss = SegmentationLoss(LossSection(heads={"main": 1.0, "mian": 0.1}), VOID, 4)
    run = torch.compile(loss, backend="eager") if compiled else loss
    with pytest.raises(ConfigError, match=r"^loss\.heads\.mian: the network has no such head; did you mean 'main'\?$"):
        run(heads_for("dice", heads), target)
    strange = SegmentationLoss(LossSection(heads={"xyz": 0.1}), VOID, 4)
    with pytest.raises(ConfigError, match=r"^loss\.heads\.xyz: the network has no such head; it has main, aux$"):
        strange(heads_for("dice", heads), target)


def test_edge_terms_are_asked_of_the_main_head_alone():
    heads, target = make_batch()
    options = LossSection(**SEED_LOSSES["JointEdgeSegLoss"], aux=0.5)
    losses = SegmentationLoss(options, VOID, 4)(heads, target)
    assert list(losses) == ["loss", "main", "edge", "aux"]
    assert losses["loss"].item() == pytest.approx((losses["main"] + losses["edge"] + 0.5 * losses["aux"]).item())
    without = SegmentationLoss(LossSection(aux=0.5), VOID, 4)(heads_for("dice", heads), target)
    assert without["main"].item() == losses["main"].item()


def test_half_precision_logits_and_byte_labels_are_taken():
    heads, target = make_batch()
    heads = heads_for("dice", heads)
    loss = SegmentationLoss(LossSection(dice=1.0), VOID, 4)
    wanted = loss({key: value.bfloat16().float() for key, value in heads.items()}, target)
    with torch.autocast("cpu", torch.bfloat16):
        found = loss({key: value.bfloat16() for key, value in heads.items()}, target.to(torch.uint8))
    assert found["aux"].dtype == torch.float32
    assert found["aux"].item() == wanted["aux"].item()  # of the labels' size: nothing but the terms, in float32
    assert found["main"].item() == pytest.approx(wanted["main"].item(), rel=2**-8)  # enlarged in bfloat16


def test_class_weights_are_one_a_class():
    with pytest.raises(ConfigError, match=r"^loss.class_weights: 2 weights for 4 classes"):
        SegmentationLoss(LossSection(class_weights=(1.0, 2.0)), VOID, 4)
    loss = SegmentationLoss(LossSection(class_weights=(1.0, 2.0)), VOID, 2)
    assert not loss.state_dict()
    assert loss.to(torch.float64).class_weights.dtype == torch.float64


def test_an_edge_head_and_its_terms_belong_together():
    heads, target = make_batch()
    with pytest.raises(ConfigError, match=r"^loss.boundary: the network has no edge head"):
        SegmentationLoss(only("boundary"), VOID, 4)(heads_for("dice", heads), target)
    with pytest.raises(ConfigError, match=r"^model.options.edge_head: nothing teaches it"):
        SegmentationLoss(LossSection(), VOID, 4)(heads, target)


def test_a_network_is_checked_before_it_is_compiled():
    plain = build_placeholder(ModelSpec("ddrnet_23_slim", 4))
    with_edges = build_placeholder(ModelSpec("ddrnet_23_slim", 4, 3, {"edge_head": True}))
    with pytest.raises(ConfigError, match=r"^loss.edge: the network has no edge head; set model.options.edge_head"):
        TrainingGraph(plain, SegmentationLoss(only("edge"), VOID, 4), PreprocessSpec((64, 64)))
    with pytest.raises(ConfigError, match=r"^model.options.edge_head: nothing teaches it"):
        SegmentationLoss(LossSection(), VOID, 4).check_network(with_edges)
    SegmentationLoss(only("boundary"), VOID, 4).check_network(with_edges)
    SegmentationLoss(LossSection(), VOID, 4).check_network(plain)


def check_compiled(options, heads, target, backend):
    """Compile the loss as one graph and compare values and slopes with those of plain steps."""
    loss = SegmentationLoss(options, VOID, 4)
    wanted = loss(heads, target)
    wanted["loss"].backward()
    wanted_gradients = gradients(heads)
    torch._dynamo.reset()
    found = torch.compile(loss, fullgraph=True, backend=backend, dynamic=False)(heads, target)
    found["loss"].backward()
    for key, value in found.items():
        torch.testing.assert_close(value, wanted[key], rtol=1e-5, atol=1e-6)
    for key, gradient in gradients(heads).items():
        assert (gradient is None) == (wanted_gradients[key] is None)
        if gradient is not None:
            torch.testing.assert_close(gradient, wanted_gradients[key], rtol=1e-4, atol=1e-6)


def test_a_compiler_captures_all_terms_in_one_graph():
    heads, target = make_batch()
    everything = dict.fromkeys(list_losses(), 1.0)
    options = LossSection(**everything, label_smoothing=0.1, class_weights=(1.0, 2.0, 0.5, 3.0))
    check_compiled(options, heads, target, "aot_eager")


@pytest.mark.slow
@pytest.mark.parametrize("name", list_losses())
def test_a_compiler_captures_every_term_alone(name):
    heads, target = make_batch()
    check_compiled(only(name, class_weights=(1.0, 2.0, 0.5, 3.0)), heads_for(name, heads), target, "aot_eager")


@pytest.mark.slow
def test_compiled_to_machine_code_the_terms_keep_their_values_and_slopes():
    heads, target = make_batch()
    # One term of each kind: pixels, the hardest by a sort, regions, edges. More would take a C++ compiler minutes.
    options = LossSection(cross_entropy=1.0, ohem=1.0, dice=1.0, edge=1.0, label_smoothing=0.1)
    check_compiled(options, heads, target, "inductor")
