"""Distillation as a run uses it: compiled with the network, and over some steps."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from seg_core.config.schema import DistillSection
from seg_core.labels import LabelSet
from seg_core.models import MODELS, SegmentationModel
from seg_core.models.checkpoint import Checkpoint, save_checkpoint
from seg_core.spec import ModelSpec, PostprocessSpec, PreprocessSpec
from seg_train.distill import build_distiller

LABELS = LabelSet(("background", "left", "right"), flip_pairs=((1, 2),))
CONTRACT = PreprocessSpec((64, 64))
TEACHERS_CONTRACT = replace(CONTRACT, color="bgr", mean=(0.5,) * 3, std=(0.5,) * 3)
SPEC = ModelSpec("three_layers", 3)
WEIGHTS = {"logits": 3.0, "channel": 1.0, "feature": 5.0}


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class ThreeLayers(SegmentationModel):
    size_divisor = 4

    def __init__(self, num_classes=3, in_channels=3, width=16):
        super().__init__()
        layers = []
        for before, stride in ((in_channels, 2), (width, 2), (width, 1)):
            layers += [nn.Conv2d(before, width, 5, stride, padding=2), nn.BatchNorm2d(width), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.scores = nn.Conv2d(width, num_classes, 1)

    def forward_heads(self, image):
        return self.forward_features(image)[0]

    def forward_features(self, image):
        feature = self.body(image)
        return {"main": F.interpolate(self.scores(feature), scale_factor=4.0, mode="bilinear")}, feature


def draw_batch(seed, count=4):
    """Two discs, red to the left of blue, on noise: float32 RGB in [0, 1] and labels."""
    generator = torch.Generator().manual_seed(seed)
    image = 0.25 * torch.rand((count, 3, 64, 64), generator=generator)
    target = torch.zeros((count, 64, 64), dtype=torch.int64)
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    for index in range(count):
        top = int(torch.randint(16, 48, (1,), generator=generator))
        for label, left, colour in ((1, 18, 0), (2, 46, 2)):
            disc = (rows - top) ** 2 + (columns - left) ** 2 < 13**2
            image[index, colour][disc] = 0.9
            target[index][disc] = label
    return image, target


def normalise(image, contract):
    channels = ["rgb".index(letter) for letter in contract.color]
    mean, std = (torch.tensor(values)[:, None, None] for values in (contract.mean, contract.std))
    return (image[:, channels] - mean) / std


def learn(network, steps, contract, loss):
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    network.train()
    for step in range(steps):
        image, target = draw_batch(step)
        optimizer.zero_grad()
        loss(normalise(image, contract), target).backward()
        optimizer.step()
    return network.eval()


@pytest.fixture(scope="module", autouse=True)
def _registered():
    """Checkpoints hold registered networks, and the real ones take long to train and to compile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS._entries, SPEC.name, ThreeLayers)
        yield


@pytest.fixture(scope="module")
def saved(tmp_path_factory, _registered):
    """A teacher less sure than the labels, so that it tells more than they do."""
    torch.manual_seed(7)
    network = ThreeLayers()
    learn(
        network,
        80,
        TEACHERS_CONTRACT,
        lambda image, target: F.cross_entropy(network(image), target, label_smoothing=0.4),
    )
    path = tmp_path_factory.mktemp("teacher") / "teacher.pth"
    save_checkpoint(path, Checkpoint(SPEC, TEACHERS_CONTRACT, PostprocessSpec(), LABELS, network.state_dict()))
    return path


def build_student():
    torch.manual_seed(0)
    return ThreeLayers(width=8)


def learn_with(saved, options, taught):
    """Train a student beside a teacher, by its terms too where `taught`; return how far it is from it in each term."""
    student = build_student()
    distiller = build_distiller(DistillSection(teacher=saved, **options), student, LABELS, CONTRACT)

    def loss(image, target):
        heads, feature = student.forward_features(image)
        total = F.cross_entropy(heads["main"], target)
        if not taught:  # the projection alone learns, so that it is not what makes the difference
            heads, feature = {"main": heads["main"].detach()}, feature.detach()
        return total + sum(distiller(image, heads, feature, target).values())

    learn(nn.ModuleDict({"student": student, "distiller": distiller}), 60, CONTRACT, loss)
    image, target = draw_batch(1000)
    with torch.no_grad():
        heads, feature = student.forward_features(normalise(image, CONTRACT))
        terms = distiller(normalise(image, CONTRACT), heads, feature, target)
    return {
        name.removeprefix("distill_"): float(term) / options[name.removeprefix("distill_")]
        for name, term in terms.items()
    }


@pytest.fixture(scope="module")
def untaught(saved):
    return learn_with(saved, WEIGHTS, taught=False)


@pytest.mark.parametrize("term", WEIGHTS)
def test_a_student_with_a_teacher_comes_nearer_to_it_than_without(saved, untaught, term):
    taught = learn_with(saved, {"logits": 0.0, term: WEIGHTS[term]}, taught=True)
    assert taught[term] < 0.8 * untaught[term]


@pytest.mark.parametrize(
    "options",
    [
        {"logits": 1.0, "channel": 0.5, "feature": 2.0},
        {"feature": 1.0, "feature_distance": "mse", "flip": True, "stride": 4, "teacher_size_hw": (32, 32)},
    ],
)
def test_network_and_distiller_are_one_graph(saved, options):
    class Step(nn.Module):
        def __init__(self):
            super().__init__()
            self.student = build_student()
            self.distiller = build_distiller(DistillSection(teacher=saved, **options), self.student, LABELS, CONTRACT)

        def forward(self, image, target):
            with torch.autocast("cpu", torch.bfloat16):
                heads, feature = self.student.forward_features(image)
                terms = self.distiller(image, heads, feature, target)
            return sum(terms.values())

    step = Step()
    image, target = draw_batch(0, count=2)
    eager = step(image, target.byte())
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")(image, target.byte())
    assert compiled.dtype == torch.float32
    torch.testing.assert_close(compiled, eager)
    compiled.backward()
    assert step.student.body[0].weight.grad.abs().max() > 0
