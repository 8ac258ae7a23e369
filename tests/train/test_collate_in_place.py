"""Batches that come through shared memory used again: the same batches, as long as each is copied in time."""

import pytest
import torch
from test_loader import Numbers

from seg_train.checked_items import CollateInPlace, Failure, collate
from seg_train.loader import build_train_loader


def items(value, count=3, size=4):
    return [
        (torch.full((size, size, 3), value + n, dtype=torch.uint8), torch.full((size, size), n, dtype=torch.uint8))
        for n in range(count)
    ]


def test_it_stacks_as_collate_does_into_shared_memory():
    found, expected = CollateInPlace(2)(items(7)), collate(items(7))
    for mine, theirs in zip(found, expected, strict=True):
        assert torch.equal(mine, theirs)
        assert mine.dtype == theirs.dtype
        assert mine.is_shared()


def test_the_memory_of_a_batch_is_used_again_after_as_many_as_there_are_slots():
    stack = CollateInPlace(3)
    batches = [stack(items(value)) for value in range(6)]
    places = [(image.data_ptr(), target.data_ptr()) for image, target in batches]
    assert places[:3] == places[3:]
    assert len(set(places)) == 3
    assert [int(image[0, 0, 0, 0]) for image, _ in batches[3:]] == [3, 4, 5]


@pytest.mark.parametrize(
    "changed", [items(9, count=2), items(9, size=6), [(i.float().permute(2, 0, 1), t) for i, t in items(9)]]
)
def test_batches_of_another_shape_or_type_get_memory_of_their_own(changed):
    stack = CollateInPlace(1)
    before = stack(items(7))[0]
    after = stack(changed)[0]
    assert torch.equal(after, collate(changed)[0])
    assert torch.equal(before, collate(items(7))[0])  # not written over


def test_a_failure_stands_for_its_batch():
    failure = Failure("a.png: cannot be read", is_image=True)
    assert CollateInPlace(1)([items(7)[0], failure]) is failure
    differing = CollateInPlace(1)([items(7)[0], items(7, size=6)[0]])
    assert isinstance(differing, Failure)
    assert "differ in size" in differing.message


def test_a_loader_stacks_in_place_where_its_batches_are_copied_at_once():
    def chosen(**options):
        return build_train_loader(Numbers(8), 2, 4, **options).collate_fn

    assert isinstance(chosen(workers=2, pin_memory=True), CollateInPlace)
    assert chosen(workers=2, pin_memory=False) is collate  # who receives them may keep them
    assert chosen(workers=0, pin_memory=True) is collate


def test_processes_give_the_same_batches_in_place(monkeypatch):
    """Each batch is copied before the next is asked for, as the pinning thread of a machine with a GPU does."""

    def batches():
        return [[part.clone() for part in batch] for batch in build_train_loader(Numbers(7), 3, 60, workers=2)]

    plain = batches()
    monkeypatch.setattr("seg_train.loader.collate", CollateInPlace(6))
    for mine, theirs in zip(batches(), plain, strict=True):
        assert all(torch.equal(one, other) for one, other in zip(mine, theirs, strict=True))
    assert len(plain) == 60
    assert len({int(image.sum()) for image, _ in plain}) > 5
