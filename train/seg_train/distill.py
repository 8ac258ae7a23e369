"""Distillation: what a student learns from teachers beside the labels."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seg_core.config.schema import DistillSection
from seg_core.errors import ConfigError
from seg_core.labels import LabelSet
from seg_core.models import SegmentationModel
from seg_core.models.checkpoint import load_checkpoint
from seg_core.models.resampling import enlarge, grid_positions
from seg_core.spec import PreprocessSpec
from seg_train.distill_losses import FEATURE_DISTANCES, channel_divergence, logits_divergence
from seg_train.teacher import Teacher

_TEACHERS = "teachers."


class Distiller(nn.Module):
    """The teachers and the distances to them.

    Its state dict holds the projections alone: teachers are read from their files, and never move. Its terms do not
    count pixels of `ignore_index`: most of them are padding, where a teacher answers nothing sensible.
    """

    def __init__(
        self,
        options: DistillSection,
        teachers: Sequence[Teacher],
        ignore_index: int,
        channels: Sequence[tuple[int, int]],
    ) -> None:
        """Keep the teachers and make a projection for each pair of `channels`, of the student's map and of a teacher's.

        There are none where no feature maps are compared.
        """
        super().__init__()
        self.options = options
        self.ignore_index = ignore_index
        self.teachers = nn.ModuleList(teachers)
        #: What is assumed of teachers, for people.
        self.notes: tuple[str, ...] = ()
        self.projections = nn.ModuleList(nn.Conv2d(ours, theirs, 1) for ours, theirs in channels)
        self.register_state_dict_post_hook(_leave_teachers_out)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_post_hook(_do_not_miss_teachers)  # type: ignore[no-untyped-call]

    @property
    def needs_features(self) -> bool:
        """Whether `forward` wants the student's feature map, as `forward_features` of the network returns it."""
        return len(self.projections) > 0

    def trainable_parameters(self) -> list[nn.Parameter]:
        """Return the weights of the projections, which the optimiser moves with the student's."""
        return list(self.projections.parameters())

    def forward(
        self, image: Tensor, student_heads: dict[str, Tensor], student_features: Tensor | None, target: Tensor
    ) -> dict[str, Tensor]:
        """Return the weighted terms, float32 scalars: "distill_logits", "distill_channel" and "distill_feature".

        Terms of weight 0 are left out. Call it under the student's autocast, so that the teachers compute in the same
        precision; distances are computed in float32 all the same.

        Args:
            image: Float32 (N, channels, H, W) in the student's contract, augmented as the student sees it.
            student_heads: Logits of the student's heads, of any size; "main" is compared, enlarged to the size of the
                image, as is the teacher's: at every pixel, or at every `stride`-th of the same rows and columns.
            student_features: The feature map of the student where `needs_features`.
            target: Labels (N, H, W), of any integer type.
        """
        options = self.options
        size_hw = (image.shape[-2], image.shape[-1])
        views: list[Tensor] = []
        features: list[Tensor] = []
        for teacher in self.teachers:
            answers, feature = teacher(image, size_hw, self.needs_features, options.stride)
            views += answers
            features.append(feature)
        with torch.autocast(image.device.type, enabled=False):
            # A coarse map that is compared unenlarged learns what a point says, not what interpolates best.
            found = enlarge(student_heads["main"].float(), size_hw, options.stride)
            rows, columns = (grid_positions(size, options.stride) for size in size_hw)
            counted = (target[:, rows, columns] != self.ignore_index).float()
            terms: dict[str, Tensor] = {}
            if options.logits:
                distance = logits_divergence(found, _mean_answer(views), counted, options.temperature)
                terms["distill_logits"] = options.logits * distance
            if options.channel:
                wanted = torch.stack(views).mean(dim=0)
                distance = channel_divergence(found, wanted, counted, options.channel_temperature)
                terms["distill_channel"] = options.channel * distance
            if student_features is not None and self.needs_features:
                terms["distill_feature"] = options.feature * self._feature_term(student_features, features, target)
        return terms

    def _counted(self, target: Tensor, size_hw: tuple[int, int]) -> Tensor:
        """Return 1.0 where the label in the middle of a cell counts, 0.0 elsewhere, (N, *size_hw)."""
        counted = (target != self.ignore_index).float()
        if tuple(counted.shape[-2:]) == size_hw:
            return counted
        return F.interpolate(counted[:, None], size=size_hw, mode="nearest-exact")[:, 0]

    def _feature_term(self, student: Tensor, features: Sequence[Tensor], target: Tensor) -> Tensor:
        distance = FEATURE_DISTANCES[self.options.feature_distance]
        student = student.float()
        size_hw = (student.shape[-2], student.shape[-1])
        counted = self._counted(target, size_hw)
        total = student.new_zeros(())
        for projection, feature in zip(self.projections, features, strict=True):
            total = total + distance(projection(student), enlarge(feature, size_hw), counted)
        return total / len(features)


def build_distiller(
    options: DistillSection,
    student: SegmentationModel,
    labels: LabelSet,
    preprocess: PreprocessSpec,
    merge: str | None = None,
) -> Distiller | None:
    """Return the distiller that `options` asks for, on the student's device; None where no teacher is named.

    `merge` is the run's (`data.merge`), by which a teacher of the unmerged classes answers, too.

    Raises CheckpointError naming the file that is no checkpoint, and ConfigError in one line naming the teacher whose
    classes, contract or size do not go with the student's, or the network that gives no feature map.
    """
    if not options.teacher:
        return None
    notes: list[str] = []
    teachers = [_load_teacher(path, options, labels, preprocess, merge, notes) for path in options.teacher]
    channels: list[tuple[int, int]] = []
    if options.feature:
        ours = _feature_channels(student, preprocess.channels, preprocess.size_hw)
        for teacher in teachers:
            in_channels = teacher.conversion.gain.shape[0]
            size_hw = teacher.look_size(preprocess.size_hw)
            channels.append((ours, _feature_channels(teacher.network, in_channels, size_hw)))
    distiller = Distiller(options, teachers, labels.ignore_index, channels)
    distiller.notes = tuple(notes)
    device = next(student.parameters()).device
    if device.type == "cuda":  # NHWC kernels are the faster ones on tensor cores
        return distiller.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
    return distiller.to(device)


def _load_teacher(
    path: Path,
    options: DistillSection,
    labels: LabelSet,
    preprocess: PreprocessSpec,
    merge: str | None,
    notes: list[str],
) -> Teacher:
    """Return the teacher of a file; what is assumed of one from elsewhere or merged is added to `notes`."""
    checkpoint = load_checkpoint(path)
    assumed = dict(checkpoint.provenance.get("assumed", {}))
    assumed.pop("labels", None)  # classes of other names are refused
    if options.teacher_size_hw is not None:
        assumed.pop("size_hw", None)
    if assumed:
        said = ", ".join(f"{key} {value}" for key, value in assumed.items())
        notes.append(
            f"distill.teacher: {path}: assumed {said}; state what is otherwise with  seg-data rename-checkpoint"
        )
    try:
        teacher = Teacher(checkpoint, labels, preprocess, options.teacher_size_hw, options.flip, merge)
    except ConfigError as error:
        raise ConfigError(f"distill.teacher: {path}: {error}") from None
    if teacher.classes.merges:
        notes.append(
            f"distill.teacher: {path}: its {checkpoint.labels.num_classes} classes are merged into the run's "
            f"{labels.num_classes} (data.merge)"
        )
    return teacher


def _feature_channels(network: SegmentationModel, in_channels: int, size_hw: tuple[int, int]) -> int:
    """Return how many channels the feature map of `network` has, found without computing it."""
    twin = copy.deepcopy(network).to("meta").eval()
    with torch.no_grad():
        return twin.forward_features(torch.zeros((1, in_channels, *size_hw), device="meta"))[1].shape[1]


def _mean_answer(views: Sequence[Tensor]) -> Tensor:
    """Return logits whose softmax is the mean of the softmaxes of `views`."""
    if len(views) == 1:
        return views[0]
    return torch.stack([view.log_softmax(dim=1) for view in views]).logsumexp(dim=0)


def _leave_teachers_out(module: nn.Module, state: dict[str, Any], prefix: str, _: Any) -> None:
    for key in [key for key in state if key.startswith(prefix + _TEACHERS)]:
        del state[key]


def _do_not_miss_teachers(module: nn.Module, incompatible: Any) -> None:
    missing = incompatible.missing_keys
    # Keys carry the path of the module that is loaded, of which this may be a part.
    missing[:] = [key for key in missing if not key.startswith(_TEACHERS) and f".{_TEACHERS}" not in key]
