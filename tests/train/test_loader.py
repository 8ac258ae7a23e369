"""Batches on their way to a step: which pictures, whose share, and failures as the one line that they are."""

import os
import signal

import pytest
import torch

from seg_core.errors import ImageError, SegError
from seg_core.labels import LabelSet
from seg_core.spec import PreprocessSpec
from seg_train.evaluate import evaluate
from seg_train.loader import StreamSampler, build_train_loader, prefetch
from seg_train.parallel import Workers

LABELS = LabelSet(("background", "left", "right"))
CPU = torch.device("cpu")


class Numbers:
    """Pictures whose first pixel says which they are."""

    labels = LABELS
    seed = 3

    def __init__(self, count=10, spoil=None, at=4):
        self.count, self.spoil, self.at = count, spoil, at

    def __len__(self):
        return self.count

    def __getitem__(self, key):
        index = key[-1] if isinstance(key, tuple) else key
        image, target = torch.full((8, 8, 3), index, dtype=torch.uint8), torch.zeros((8, 8), dtype=torch.uint8)
        if index == self.at and self.spoil is not None:
            return self.spoil(image, target)
        return image, target


def unreadable(image, target):
    raise ImageError("4.png: not an image, or a damaged one")


def strange_label(image, target):
    target[3, 3] = 7
    return image, target


def other_size(image, target):
    return image[:4], target[:4]


def other_mask(image, target):
    return image, target[:4]


def killed(image, target):
    os.kill(os.getpid(), signal.SIGKILL)


def indices(loader):
    return [image[:, 0, 0, 0].tolist() for image, _ in prefetch(loader, CPU)]


@pytest.mark.parametrize("world_size", [2, 3])
def test_the_shares_of_the_processes_are_disjoint_and_together_the_whole(world_size):
    total = 4 * world_size * 5
    shares = [list(StreamSampler(7, total, 0, 1, 4, rank, world_size)) for rank in range(world_size)]
    assert [len(StreamSampler(7, total, 0, 1, 4, rank, world_size)) for rank in range(world_size)] == [20] * world_size
    assert {len(share) for share in shares} == {20}
    together = [draw for share in shares for draw in share]
    assert len(set(together)) == total
    assert sorted(together) == list(StreamSampler(7, total, seed=1))


def test_a_step_of_two_processes_shows_what_one_with_twice_the_batch_shows():
    alone = indices(build_train_loader(Numbers(), 4, 6))
    shares = [indices(build_train_loader(Numbers(), 2, 6, rank=rank, world_size=2)) for rank in (0, 1)]
    assert [first + second for first, second in zip(*shares, strict=True)] == alone


def test_batches_go_on_where_a_run_stopped():
    whole = indices(build_train_loader(Numbers(), 3, 9))
    assert indices(build_train_loader(Numbers(), 3, 9, start_batch=5)) == whole[5:]
    assert indices(build_train_loader(Numbers(), 3, 9, start_batch=9)) == []


def test_a_batch_larger_than_the_data_set_shows_some_pictures_again():
    (first, second) = indices(build_train_loader(Numbers(3), 5, 2))
    assert sorted(first[:3]) == sorted((first[3:] + second)[:3]) == [0, 1, 2]


@pytest.mark.parametrize("processes", [0, 1])
@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (unreadable, r"^4\.png: not an image, or a damaged one$"),
        (strange_label, r"^item 4 of Numbers: the mask holds 7, but labels are 0 to 2, and 255 .* correct the mask$"),
        (other_size, r"^items of a batch differ in size: .*\(4, 8, 3\).*\(8, 8, 3\)"),
        (other_mask, r"^items of a batch differ in size: image \(8, 8, 3\) with mask \(4, 8\)"),
    ],
)
def test_what_cannot_be_used_is_one_line_from_a_loading_process_too(processes, spoil, text):
    batches = prefetch(build_train_loader(Numbers(spoil=spoil), 3, 8, workers=processes), CPU)
    with pytest.raises(ImageError, match=text) as caught:
        list(batches)
    assert "\n" not in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_a_loading_process_that_dies_is_told_with_what_helps():
    batches = prefetch(build_train_loader(Numbers(spoil=killed), 3, 8, workers=1), CPU)
    with pytest.raises(SegError, match=r"^data\.workers: a process that loads pictures has died, .* fewer workers"):
        list(batches)


def test_a_mistake_in_a_data_set_keeps_its_traceback():
    def mistake(image, target):
        raise KeyError("oops")

    with pytest.raises(KeyError, match="oops"):
        list(prefetch(build_train_loader(Numbers(spoil=mistake), 3, 8), CPU))


def test_evaluation_names_what_cannot_be_used_in_the_same_way():
    class Network(torch.nn.Module):
        def forward(self, image):
            return torch.zeros(len(image), 3, 8, 8)

    with pytest.raises(ImageError, match=r"^item 4 of Numbers: the mask holds 7"):
        evaluate(Network(), Numbers(spoil=strange_label), PreprocessSpec((8, 8)), Workers(0, 1, CPU))
