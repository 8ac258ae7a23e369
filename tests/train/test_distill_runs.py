"""Distillation as a run uses it: compiled with the network, and over some steps."""

import json
from dataclasses import replace

import cv2
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from seg_core.config.schema import DistillSection, TrainConfig
from seg_core.labels import LabelSet
from seg_core.models import MODELS, SegmentationModel
from seg_core.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from seg_core.spec import ModelSpec, PostprocessSpec, PreprocessSpec, to_json
from seg_train.distill import build_distiller
from seg_train.engine import Trainer
from seg_train.events import StepEvent

LABELS = LabelSet(("background", "left", "right"), flip_pairs=((1, 2),))
CONTRACT = PreprocessSpec((64, 64))
TEACHERS_CONTRACT = replace(CONTRACT, color="bgr", mean=(0.5,) * 3, std=(0.5,) * 3)
SPEC = ModelSpec("three_layers", 3)
WEIGHTS = {"logits": 3.0, "channel": 1.0, "feature": 5.0}


class ThreeLayers(SegmentationModel):
    size_divisor = 4

    def __init__(self, num_classes=3, in_channels=3, width=16, aux_head=True, upsample=True):
        super().__init__()
        self.upsample = upsample
        layers = []
        for before, stride in ((in_channels, 2), (width, 2), (width, 1)):
            layers += [nn.Conv2d(before, width, 5, stride, padding=2), nn.BatchNorm2d(width), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.scores = nn.Conv2d(width, num_classes, 1)

    def forward_heads(self, image):
        return self.forward_features(image)[0]

    def forward_features(self, image):
        feature = self.body(image)
        scores = self.scores(feature)
        return {"main": F.interpolate(scores, scale_factor=4.0, mode="bilinear") if self.upsample else scores}, feature


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


@pytest.fixture
def data_dir(tmp_path):
    for split, seed in (("train", 0), ("val", 1)):
        for folder in ("images", "masks"):
            (tmp_path / split / folder).mkdir(parents=True)
        image, target = draw_batch(seed)
        for index in range(len(image)):
            pixels = (255 * image[index]).byte().permute(1, 2, 0).numpy()[..., ::-1]
            cv2.imwrite(str(tmp_path / split / "images" / f"{index}.png"), pixels)
            cv2.imwrite(str(tmp_path / split / "masks" / f"{index}.png"), target[index].byte().numpy())
    (tmp_path / "labels.json").write_text(json.dumps(to_json(LABELS)))
    return tmp_path


def make_config(data_dir, teacher, run):
    tree = {
        "data": {"train": data_dir / "train", "val": data_dir / "val", "labels": str(data_dir / "labels.json")},
        "model": {"name": SPEC.name},
        "preprocess": {"size_hw": (64, 64)},
        "solver": {"steps": 4, "batch_size": 2, "warmup_steps": 1, "precision": "fp32", "deterministic": True},
        "distill": {"teacher": teacher, "logits": 1, "feature": 1},
        "output": data_dir / run,
        "device": "cpu",
        "eval_every": 4,
        "save_every": 2,
        "log_every": 1,
    }
    tree["data"]["workers"] = 0
    return TrainConfig.model_validate(tree)


class StoppedError(Exception):
    """Stands for a process that dies."""


def test_a_run_with_a_teacher_logs_its_terms_and_resumes_with_its_projection(saved, data_dir):
    def die_after_three(event):
        if isinstance(event, StepEvent) and event.step == 3:
            raise StoppedError

    seen = []
    Trainer(make_config(data_dir, saved, "whole")).run(seen.append)
    with pytest.raises(StoppedError):
        Trainer(make_config(data_dir, saved, "broken")).run(die_after_three)
    resumed = Trainer(make_config(data_dir, saved, "broken"))
    assert resumed.state.step == 2
    resumed.run()
    losses = [event.losses for event in seen if isinstance(event, StepEvent)]
    assert all(values["distill_logits"] > 0 and values["distill_feature"] > 0 for values in losses)
    whole, broken = (load_checkpoint(data_dir / run / "last.pth") for run in ("whole", "broken"))
    assert all(torch.equal(value, broken.state_dict[name]) for name, value in whole.state_dict.items())
    assert not any("teachers" in name or "projections" in name for name in whole.state_dict)
    assert whole.provenance["config"]["distill"]["teacher"] == ["teacher.pth"]
    assert str(saved.parent) not in json.dumps(whole.provenance)
