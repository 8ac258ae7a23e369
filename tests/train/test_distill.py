"""Teachers, and what a student learns from them."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from seg_core.config.schema import DistillSection
from seg_core.errors import CheckpointError, ConfigError
from seg_core.labels import LabelSet
from seg_core.models import build_model
from seg_core.models.checkpoint import Checkpoint, build_network, save_checkpoint
from seg_core.preprocessing import Preprocessor
from seg_core.spec import ModelSpec, PostprocessSpec, PreprocessSpec
from seg_train.distill import build_distiller
from seg_train.teacher import ContractConversion, Teacher

LABELS = LabelSet(("background", "left", "right"), flip_pairs=((1, 2),))
CONTRACT = PreprocessSpec((64, 64))
SPEC = ModelSpec("ddrnet_23_slim", 3, options={"aux_head": True})
ALL_TERMS = {"logits": 1.0, "channel": 0.5, "feature": 2.0}


def make_checkpoint(seed=0, labels=LABELS, contract=CONTRACT, spec=SPEC):
    torch.manual_seed(seed)
    network = build_model(spec)
    with torch.no_grad():  # statistics of some use, so that answers vary from place to place
        network.train()(torch.randn(2, spec.in_channels, *contract.size_hw))
    return Checkpoint(spec, contract, PostprocessSpec(), labels, network.state_dict())


@pytest.fixture(scope="module")
def checkpoint():
    return make_checkpoint()


@pytest.fixture(scope="module")
def saved(checkpoint, tmp_path_factory):
    path = tmp_path_factory.mktemp("teacher") / "teacher.pth"
    save_checkpoint(path, checkpoint)
    return path


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(3)
    image = torch.randn((2, 3, 64, 64), generator=generator)
    return image, torch.randint(0, 3, (2, 64, 64), generator=generator, dtype=torch.uint8)


def distill(distiller, student, image, target):
    heads, feature = student.forward_features(image)
    return distiller(image, heads, feature if distiller.needs_features else None, target)


def build(saved, student, contract=CONTRACT, **options):
    return build_distiller(DistillSection(teacher=saved, **options), student, LABELS, contract)


def test_without_a_teacher_there_is_no_distiller():
    assert build_distiller(DistillSection(), build_model(SPEC), LABELS, CONTRACT) is None
    assert DistillSection(teacher=None).teacher == ()
    with pytest.raises(ValueError, match="nothing of the teacher would be learnt"):
        DistillSection(teacher="a.pth", logits=0)


def test_the_teachers_own_answers_are_at_distance_0(checkpoint, saved, batch):
    student = build_network(checkpoint)
    distiller = build(saved, student, logits=1.0, channel=0.5)
    terms = distill(distiller, student, *batch)
    assert set(terms) == {"distill_logits", "distill_channel"}
    assert all(float(term.detach()) == pytest.approx(0.0, abs=1e-5) for term in terms.values())
    other = build_network(make_checkpoint(seed=1))
    assert all(float(term.detach()) > 1e-3 for term in distill(distiller, other, *batch).values())


def test_gradients_reach_the_student_and_the_projection_and_never_the_teacher(saved, batch):
    student = build_model(SPEC)
    distiller = build(saved, student, **ALL_TERMS).train()
    before = copy.deepcopy(distiller.teachers.state_dict())
    terms = distill(distiller, student, *batch)
    assert list(terms) == ["distill_logits", "distill_channel", "distill_feature"]
    sum(terms.values()).backward()
    assert student.final_layer.conv2.weight.grad.abs().max() > 0
    trained = distiller.trainable_parameters()
    assert [tuple(parameter.shape) for parameter in trained] == [(128, 128, 1, 1), (128,)]
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in trained)
    assert not any(parameter.requires_grad for parameter in distiller.teachers.parameters())
    after = distiller.teachers.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())  # BatchNorm statistics among them
    assert not any(module.training for teacher in distiller.teachers for module in teacher.modules())


def test_weights_scale_the_terms(saved, batch):
    student = build_model(SPEC).eval()
    plain = distill(build(saved, student, logits=1.0, channel=1.0), student, *batch)
    double = distill(build(saved, student, logits=2.0, channel=3.0), student, *batch)
    assert float(double["distill_logits"].detach()) == pytest.approx(2 * float(plain["distill_logits"].detach()))
    assert float(double["distill_channel"].detach()) == pytest.approx(3 * float(plain["distill_channel"].detach()))


def test_ignored_pixels_teach_nothing(saved, batch):
    image, target = batch
    student = build_model(SPEC).eval()
    distiller = build(saved, student, **ALL_TERMS)
    terms = distill(distiller, student, image, torch.full_like(target, LABELS.ignore_index))
    assert [float(term.detach()) for term in terms.values()] == [0.0, 0.0, 0.0]
    heads = student.forward_heads(image)
    half = target.clone()
    half[:, :, 32:] = LABELS.ignore_index
    plain = distiller(image, heads, student.forward_features(image)[1], half)
    heads["main"] = heads["main"].clone()
    heads["main"][:, 0, :, 32:] += 9
    changed = distiller(image, heads, student.forward_features(image)[1], half)
    assert all(torch.equal(plain[name], changed[name]) for name in plain)


def test_states_hold_the_projection_alone_and_load_where_the_distiller_is_a_part(saved):
    student = build_model(SPEC)
    whole = nn.ModuleDict({"student": student, "distiller": build(saved, student, feature=1.0)})
    state = whole.state_dict()
    names = [name for name in state if name.startswith("distiller.")]
    assert names == ["distiller.projections.0.weight", "distiller.projections.0.bias"]
    state["distiller.projections.0.bias"] = torch.ones(128)
    whole.load_state_dict(state, strict=True)
    assert whole["distiller"].projections[0].bias.sum() == 128
    del state["student.final_layer.conv2.bias"]
    with pytest.raises(RuntimeError, match=r"final_layer\.conv2\.bias"):
        whole.load_state_dict(state, strict=True)


CONTRACTS = {
    "equal": CONTRACT,
    "bgr": replace(CONTRACT, color="bgr", mean=(0.406, 0.456, 0.485), std=(0.225, 0.224, 0.229)),
    "half": replace(CONTRACT, mean=(0.5,) * 3, std=(0.5,) * 3),
    "bytes": replace(CONTRACT, color="bgr", scale=1.0, mean=(104.0, 117.0, 123.0), std=(1.0,) * 3),
    "gray": replace(CONTRACT, color="gray", mean=(0.45,), std=(0.22,)),
}


@pytest.mark.parametrize("ours", CONTRACTS)
@pytest.mark.parametrize("theirs", CONTRACTS)
def test_a_normalised_image_becomes_what_the_other_contract_makes_of_the_same_pixels(ours, theirs):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    if ours == "gray":
        pixels[:] = pixels[..., :1]
    found, expected = (torch.from_numpy(Preprocessor(CONTRACTS[name])(pixels)[0].copy()) for name in (ours, theirs))
    converted = ContractConversion(CONTRACTS[ours], CONTRACTS[theirs])(found)
    assert converted.dtype == torch.float32
    if ours == theirs:
        assert torch.equal(converted, expected)
        return
    # In gray levels; a gray contract rounds its mixture of the three to a whole one.
    level = CONTRACTS[theirs].scale / min(CONTRACTS[theirs].std)
    tolerance = 0.501 if theirs == "gray" and ours != "gray" else 1e-3
    assert float((converted - expected).abs().max()) / level < tolerance


def test_the_prior_of_a_video_is_passed_on_or_left_out():
    video = replace(
        CONTRACT, version=0, prior="previous_labels", prior_values=(0, 100, 200),
        mean=(*CONTRACT.mean, 0.0), std=(*CONTRACT.std, 0.25),
    )  # fmt: skip
    image = torch.randn(1, 4, 8, 8)
    assert torch.allclose(ContractConversion(video, CONTRACT)(image), image[:, :3], atol=1e-6)
    assert torch.equal(ContractConversion(video, video)(image), image)
    with pytest.raises(ConfigError, match="prior"):
        ContractConversion(CONTRACT, video)


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (("background", "left", "nose"), "lacks right and has nose besides"),
        (("background", "left"), "lacks right"),
        (("background", "left", "right", "hat"), "has hat besides"),
    ],
)
def test_other_classes_are_refused_in_one_line_that_names_them(tmp_path, names, text):
    path = tmp_path / "other.pth"
    spec = replace(SPEC, num_classes=len(names))
    save_checkpoint(path, make_checkpoint(labels=LabelSet(names), spec=spec))
    with pytest.raises(ConfigError, match=text) as caught:
        build(path, build_model(SPEC))
    message = str(caught.value)
    assert message.startswith(f"distill.teacher: {path}: ")
    assert "\n" not in message


def test_a_teacher_that_cannot_be_read_or_cannot_look_at_that_size_is_named(tmp_path, saved):
    with pytest.raises(CheckpointError, match=r"nowhere\.pth"):
        build(tmp_path / "nowhere.pth", build_model(SPEC))
    with pytest.raises(ConfigError, match=r"teacher\.pth: size 100x100 .* multiples of 8"):
        build(saved, build_model(SPEC), teacher_size_hw=(100, 100))


def test_the_same_classes_in_another_order_are_put_in_ours(checkpoint, batch):
    order = (2, 0, 1)
    names = tuple(LABELS.names[index] for index in order)
    weights = dict(checkpoint.state_dict)
    for name in ("final_layer.conv2.weight", "final_layer.conv2.bias"):
        weights[name] = weights[name][list(order)]
    turned = Checkpoint(SPEC, CONTRACT, PostprocessSpec(), LabelSet(names), weights)
    (plain,), _ = Teacher(checkpoint, LABELS, CONTRACT)(batch[0], (64, 64), False)
    (reordered,), _ = Teacher(turned, LABELS, CONTRACT)(batch[0], (64, 64), False)
    assert torch.equal(plain, reordered)


def test_a_mirrored_image_gets_the_mirrored_answer(checkpoint, batch):
    teacher = Teacher(checkpoint, LABELS, CONTRACT, flip=True)
    (plain, turned), _ = teacher(batch[0], (64, 64), False)
    expected = build_network(checkpoint)(batch[0].flip(-1)).flip(-1)[:, [0, 2, 1]]
    torch.testing.assert_close(turned, expected.detach())
    torch.testing.assert_close(plain, build_network(checkpoint)(batch[0]).detach())


def test_several_teachers_and_views_answer_by_the_mean_of_their_probabilities(tmp_path, checkpoint, saved, batch):
    second = tmp_path / "second.pth"
    save_checkpoint(second, make_checkpoint(seed=5))
    student = build_model(SPEC).eval()
    distiller = build((saved, second), student, temperature=1.0)
    image, target = batch
    networks = [build_network(found) for found in (checkpoint, make_checkpoint(seed=5))]
    with torch.no_grad():
        found = student(image)
        mean = sum(network(image).softmax(1) for network in networks) / 2
        expected = (mean * (mean.log() - found.log_softmax(1))).sum(1).mean()
        (term,) = distill(distiller, student, image, target).values()
    assert float(term) == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize(
    ("contract", "fixed", "image_hw", "expected"),
    [
        ((64, 64), None, (64, 64), (64, 64)),
        ((128, 96), None, (64, 64), (128, 96)),
        ((128, 128), None, (56, 40), (112, 80)),
        ((72, 72), None, (56, 56), (64, 64)),  # 63, in multiples of 8
        ((128, 128), (96, 96), (64, 64), (96, 96)),
    ],
)
def test_a_teacher_looks_as_closely_as_it_is_used_to(contract, fixed, image_hw, expected):
    checkpoint = make_checkpoint(contract=replace(CONTRACT, size_hw=contract))
    teacher = Teacher(checkpoint, LABELS, CONTRACT, fixed)
    assert teacher.look_size(image_hw) == expected
    (logits,), feature = teacher(torch.randn(1, 3, *image_hw), image_hw, True)
    assert logits.shape == (1, 3, *image_hw)
    assert feature.shape == (1, 128, expected[0] // 8, expected[1] // 8)


def test_a_coarser_grid_is_an_estimate_of_all_pixels(saved, batch):
    student = build_model(SPEC).eval()
    values = []
    for stride in (1, 2, 8):
        distiller = build(saved, student, stride=stride, channel=1.0)
        values.append(torch.stack(list(distill(distiller, student, *batch).values())).detach())
    for coarse in values[1:]:
        assert not torch.equal(coarse, values[0])
        torch.testing.assert_close(coarse, values[0], rtol=0.25, atol=0.0)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("stride", [1, 2, 3, 8])
def test_a_student_whose_enlarged_logits_are_the_teachers_is_at_distance_0_at_every_stride(saved, batch, stride, flip):
    """Coarse logits that interpolate to the teacher's answer are right, whatever they say at single points."""
    image, target = batch
    distiller = build(saved, build_model(SPEC), stride=stride, flip=flip, channel=1.0, temperature=1.0)
    views, _ = distiller.teachers[0](image, (64, 64), False)
    answer = torch.stack([view.log_softmax(1) for view in views]).logsumexp(0) if flip else views[0]
    terms = distiller(image, {"main": answer}, None, target)
    assert float(terms["distill_logits"]) == pytest.approx(0.0, abs=1e-5)
    if not flip:
        spec = replace(SPEC, options=SPEC.options | {"upsample": False})
        coarse = build_network(replace(make_checkpoint(), model=spec))(image)
        assert coarse.shape[-2:] == (8, 8)
        terms = distiller(image, {"main": coarse}, None, target)
        assert all(float(term.detach()) == pytest.approx(0.0, abs=1e-5) for term in terms.values())


def test_every_second_pixel_teaches_what_all_of_them_do(saved, batch):
    image, _ = batch
    target = torch.zeros((2, 64, 64), dtype=torch.uint8)
    gradients = {}
    for stride in (1, 2):
        logits = torch.randn((2, 3, 8, 8), generator=torch.Generator().manual_seed(4)).requires_grad_()
        build(saved, build_model(SPEC), stride=stride)(image, {"main": logits}, None, target)[
            "distill_logits"
        ].backward()
        gradients[stride] = logits.grad.flatten()
    cosine = torch.nn.functional.cosine_similarity(gradients[1], gradients[2], dim=0)
    assert float(cosine) > 0.99
    assert float(gradients[2].norm() / gradients[1].norm()) == pytest.approx(1.0, abs=0.05)


def test_logits_of_any_size_are_compared_at_that_of_the_image_or_at_the_stride(checkpoint, saved, batch):
    full, coarse = (build_network(replace(checkpoint, model=replace(SPEC, options=SPEC.options | {"upsample": up})))
                    for up in (True, False))  # fmt: skip
    for network in (full, coarse):
        with torch.no_grad():
            network.final_layer.conv2.bias += torch.tensor([0.5, 0.0, -0.5])
    terms = [distill(build(saved, network, stride=1), network, *batch) for network in (full, coarse)]
    torch.testing.assert_close(*[term["distill_logits"] for term in terms])
    image, target = batch
    with torch.no_grad():
        found, wanted = coarse(image), build_network(checkpoint)(image)
        found, wanted = (
            nn.functional.interpolate(logits, (64, 64), mode="bilinear")[..., 2::4, 2::4].log_softmax(1)
            for logits in (found, wanted)
        )
        expected = (wanted.exp() * (wanted - found)).sum(1).mean()
    (term,) = distill(build(saved, coarse, stride=4, temperature=1.0), coarse, image, target).values()
    assert float(term.detach()) == pytest.approx(float(expected), rel=1e-4)
