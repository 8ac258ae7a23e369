"""Distillation as a run uses it: compiled with the network, and over some steps."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from seg_core.config.schema import DistillSection
from seg_core.labels import LabelSet
from seg_core.models import build_model
from seg_core.models.checkpoint import Checkpoint, save_checkpoint
from seg_core.spec import ModelSpec, PostprocessSpec, PreprocessSpec
from seg_train.distill import build_distiller

LABELS = LabelSet(("background", "left", "right"), flip_pairs=((1, 2),))
CONTRACT = PreprocessSpec((64, 64))
TEACHERS_CONTRACT = replace(CONTRACT, color="bgr", mean=(0.5,) * 3, std=(0.5,) * 3)
SPEC = ModelSpec("ddrnet_23_slim", 3, options={"aux_head": False})


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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
    channels = [("rgb").index(letter) for letter in contract.color]
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


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    torch.manual_seed(7)
    network = build_model(SPEC)
    learn(network, 60, TEACHERS_CONTRACT, lambda image, target: F.cross_entropy(network(image), target))
    path = tmp_path_factory.mktemp("teacher") / "teacher.pth"
    save_checkpoint(path, Checkpoint(SPEC, TEACHERS_CONTRACT, PostprocessSpec(), LABELS, network.state_dict()))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("term", ["logits", "channel", "feature"])
def test_a_student_with_a_teacher_comes_nearer_to_it_than_without(saved, term):
    options = {"logits": 0.0, term: {"logits": 1.0, "channel": 1.0, "feature": 5.0}[term]}
    distances = {}
    for taught in (False, True):
        torch.manual_seed(0)
        student = build_model(SPEC)
        distiller = build_distiller(DistillSection(teacher=saved, **options), student, LABELS, CONTRACT)

        def loss(image, target, taught=taught, student=student, distiller=distiller):
            heads, feature = student.forward_features(image)
            total = F.cross_entropy(heads["main"], target)
            return total + sum(distiller(image, heads, feature, target).values()) if taught else total

        both = nn.ModuleDict({"student": student, "distiller": distiller})
        learn(both, 30, CONTRACT, loss)
        image, target = draw_batch(1000)
        with torch.no_grad():
            heads, feature = student.forward_features(normalise(image, CONTRACT))
            (distance,) = distiller(normalise(image, CONTRACT), heads, feature, target).values()
        distances[taught] = float(distance)
    assert distances[True] < 0.7 * distances[False]


@pytest.mark.slow
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
            self.student = build_model(SPEC)
            self.distiller = build_distiller(DistillSection(teacher=saved, **options), self.student, LABELS, CONTRACT)

        def forward(self, image, target):
            with torch.autocast("cpu", torch.bfloat16):
                heads, feature = self.student.forward_features(image)
                terms = self.distiller(image, heads, feature, target)
            return sum(terms.values())

    torch.manual_seed(0)
    step = Step()
    image, target = draw_batch(0, count=2)
    eager = step(image, target.byte())
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")(image, target.byte())
    assert compiled.dtype == torch.float32
    torch.testing.assert_close(compiled, eager)
    compiled.backward()
    assert step.student.conv1[0].weight.grad.abs().max() > 0
