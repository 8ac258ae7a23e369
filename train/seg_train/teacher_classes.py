"""A teacher's classes as the student's: put in another order, or added up where the run merges them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from seg_core.errors import ConfigError
from seg_core.label_merge import IGNORED, load_merge
from seg_core.labels import LabelSet


class ClassMap(nn.Module):
    """Turns logits over a teacher's classes into logits over the student's.

    `groups` has, for each class of the student, the teacher's that it is made of. Probabilities of a group are added
    up, which for logits is the logarithm of the sum of their exponentials; what is in no group does not count.
    """

    order: Tensor

    def __init__(self, groups: Sequence[Sequence[int]], num_classes: int) -> None:
        """Keep `groups` over the teacher's `num_classes`."""
        super().__init__()
        self.groups = tuple(tuple(group) for group in groups)
        self.merges = any(len(group) > 1 for group in groups) or len(groups) < num_classes
        self.is_identity = self.groups == tuple((label,) for label in range(num_classes))
        self.register_buffer("order", torch.tensor([group[0] for group in groups]), persistent=False)

    def forward(self, logits: Tensor) -> Tensor:
        """Map (N, classes of the teacher, h, w) to (N, classes of the student, h, w)."""
        if self.is_identity:
            return logits
        if not self.merges:
            return logits[:, self.order]
        return torch.stack([self._sum(logits, group) for group in self.groups], dim=1)

    @staticmethod
    def _sum(logits: Tensor, group: tuple[int, ...]) -> Tensor:
        # Class by class: a list as an index becomes a tensor on the CPU, which no recording of a step may copy from.
        members = [logits[:, label] for label in group]
        return members[0] if len(members) == 1 else torch.stack(members).logsumexp(dim=0)


def match_classes(found: LabelSet, wanted: LabelSet, merge: str | None = None) -> ClassMap:
    """Return the map from a teacher's classes `found` to the student's, by name.

    Where `merge`, the run's, makes the student's classes of the teacher's, they are merged as the labels are. Raises
    ConfigError naming the classes that differ.
    """
    lacking = [name for name in wanted.names if name not in found.names]
    extra = [name for name in found.names if name not in wanted.names]
    if not (lacking or extra):
        return ClassMap([(found.names.index(name),) for name in wanted.names], found.num_classes)
    groups = _merged(found, wanted, merge)
    if groups is not None:
        return ClassMap(groups, found.num_classes)
    parts = [f"lacks {', '.join(lacking)}"] if lacking else []
    parts += [f"has {', '.join(extra)} besides"] if extra else []
    raise ConfigError(
        f"a teacher needs the run's classes by name{', or those that data.merge makes them of' if merge else ''}, but "
        f"it {' and '.join(parts)}; take another teacher, or where a foreign one merely lacks the names, state them:  "
        "seg-data rename-checkpoint IN OUT --labels NAME"
    )


def mirrored_classes(labels: LabelSet) -> list[int]:
    """Return for each class the class that it becomes in a mirrored image."""
    order = list(range(labels.num_classes))
    for left, right in labels.flip_pairs:
        order[left], order[right] = right, left
    return order


def _merged(found: LabelSet, wanted: LabelSet, merge: str | None) -> list[list[int]] | None:
    """Return the teacher's classes of each of the student's, None where `merge` does not lead from one to the other."""
    if merge is None:
        return None
    members = load_merge(merge)
    merged = {old for olds in members.values() for old in olds}
    if merged != set(found.names) or members.keys() - {IGNORED} != set(wanted.names):
        return None
    return [[found.names.index(old) for old in members[name]] for name in wanted.names]
