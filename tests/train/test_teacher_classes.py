"""A teacher's classes in the student's order, and added up where the run merges them."""

import json
from dataclasses import replace

import pytest
import torch
from test_distill import CONTRACT, SPEC, batch, distill, make_checkpoint  # noqa: F401 (batch is a fixture)

from seg_core.config.schema import DistillSection
from seg_core.errors import ConfigError
from seg_core.label_merge import MERGES, merge_labels
from seg_core.label_sets import load_labels
from seg_core.labels import LabelSet
from seg_core.models import build_model
from seg_core.models.checkpoint import save_checkpoint
from seg_train.distill import build_distiller
from seg_train.teacher import Teacher
from seg_train.teacher_classes import match_classes

FACE = load_labels("celebamask_hq")


@pytest.fixture(scope="module")
def face():
    return make_checkpoint(labels=FACE, spec=replace(SPEC, num_classes=19))


def draw_logits(labels, seed=0):
    return 3 * torch.randn(2, labels.num_classes, 4, 5, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("merge", MERGES)
def test_probabilities_of_merged_classes_are_added_up(merge):
    merged, table = merge_labels(FACE, merge)
    logits = draw_logits(FACE)
    classes = match_classes(FACE, merged, merge)
    assert classes.merges
    found, exact = classes(logits).softmax(dim=1), logits.softmax(dim=1)
    for label in range(merged.num_classes):
        members = [old for old in range(FACE.num_classes) if table[old] == label]
        torch.testing.assert_close(found[:, label], exact[:, members].sum(dim=1))


def test_what_the_merge_ignores_does_not_count(tmp_path):
    labels = LabelSet(("sky", "left", "right", "void"), flip_pairs=((1, 2),))
    path = tmp_path / "merge.json"
    path.write_text(json.dumps({"sky": ["sky"], "sides": ["left", "right"], "ignore": ["void"]}))
    merged, _ = merge_labels(labels, str(path))
    logits = draw_logits(labels)
    found = match_classes(labels, merged, str(path))(logits).softmax(dim=1)
    torch.testing.assert_close(found[:, 0], logits[:, :3].softmax(dim=1)[:, 0])


def test_the_same_classes_are_told_apart_from_an_order_and_from_a_merge():
    logits = draw_logits(FACE)
    same = match_classes(FACE, FACE, "face_6")
    assert same(logits) is logits
    turned = LabelSet(FACE.names[::-1])
    other = match_classes(FACE, turned)
    assert not other.merges
    assert torch.equal(other(logits), logits.flip(1))


def test_a_teacher_of_the_merged_classes_is_not_merged_again():
    merged, _ = merge_labels(FACE, "face_6")
    classes = match_classes(merged, merged, "face_6")
    assert classes.is_identity
    assert not classes.merges


@pytest.mark.parametrize("flip", [False, True])
def test_a_teacher_answers_in_merged_classes(face, batch, flip):  # noqa: F811
    merged, _ = merge_labels(FACE, "face_10")
    image = batch[0]
    plain, _ = Teacher(face, FACE, CONTRACT, flip=flip)(image, (64, 64), False)
    found, _ = Teacher(face, merged, CONTRACT, flip=flip, merge="face_10")(image, (64, 64), False)
    classes = match_classes(FACE, merged, "face_10")
    assert len(found) == len(plain) == 1 + flip
    for answer, unmerged in zip(found, plain, strict=True):
        assert answer.shape == (2, 10, 64, 64)
        torch.testing.assert_close(answer, classes(unmerged))


@pytest.mark.slow
def test_a_compiler_captures_the_sums_in_one_graph():
    merged, _ = merge_labels(FACE, "face_6")
    classes, logits = match_classes(FACE, merged, "face_6"), draw_logits(FACE)
    compiled = torch.compile(classes, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(logits), classes(logits))


def test_a_run_that_merges_learns_from_a_teacher_of_all_classes_and_says_so(face, batch, tmp_path):  # noqa: F811
    path = tmp_path / "teacher.pth"
    save_checkpoint(path, face)
    merged, _ = merge_labels(FACE, "face_6")
    student = build_model(replace(SPEC, num_classes=6))
    options = DistillSection(teacher=path, logits=1.0, channel=0.5)
    distiller = build_distiller(options, student, merged, CONTRACT, "face_6")
    (note,) = distiller.notes
    assert note == f"distill.teacher: {path}: its 19 classes are merged into the run's 6 (data.merge)"
    terms = distill(distiller, student, batch[0], batch[1])
    assert set(terms) == {"distill_logits", "distill_channel"}
    sum(terms.values()).backward()
    assert student.final_layer.conv2.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("merge", "text"),
    [
        (None, "a teacher needs the run's classes by name, but it lacks brows, eyes"),
        ("face_8", "by name, or those that data.merge makes them of, but it lacks brows, eyes"),
    ],
)
def test_a_merge_that_does_not_lead_there_is_refused(merge, text):
    merged, _ = merge_labels(FACE, "face_6")
    with pytest.raises(ConfigError) as refused:
        match_classes(FACE, merged, merge)
    assert text in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_teacher_of_other_things_is_refused_beside_a_merge():
    merged, _ = merge_labels(FACE, "face_6")
    with pytest.raises(ConfigError, match="lacks background, skin"):
        match_classes(LabelSet(("road", "car")), merged, "face_6")
