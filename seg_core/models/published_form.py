"""How a model's module says which published state dicts it can take: data, read by `seg_core.models.published`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from seg_core.labels import CITYSCAPES_19, LabelSet
from seg_core.registry import Registry
from seg_core.spec import ModelSpec, PreprocessSpec
from seg_core.spec.model import OptionValue

#: Half of Cityscapes' 1024x2048 in both directions: its aspect at a quarter of the work. An export may override it.
CITYSCAPES_SIZE_HW = (512, 1024)


@dataclass(frozen=True)
class PublishedTask:
    """What weights were trained on, which their state dict does not say.

    `statistics` names the mean and deviation of `preprocess` in words. Without `labels` (or with another number
    of classes) the classes are numbered.
    """

    dataset: str
    num_classes: int
    preprocess: PreprocessSpec
    statistics: str = "ImageNet statistics"
    labels: LabelSet | None = None


#: The task of most released real-time networks, with ImageNet's statistics.
CITYSCAPES = PublishedTask("Cityscapes", 19, PreprocessSpec(CITYSCAPES_SIZE_HW), labels=CITYSCAPES_19)


def _no_options(_: Mapping[str, Tensor]) -> dict[str, OptionValue]:
    return {}


def _same(key: str) -> str:
    return key


@dataclass(frozen=True)
class PublishedForm:
    """The state dict of one architecture as its authors, or a well-known repository, publish it.

    Args:
        model: Registered architecture that takes these weights.
        stem: Published key of the convolution that reads the image: its second dimension is `in_channels`. The first
            convolution of the state dict when empty.
        scores: Published key of the main head's last convolution: its first dimension is `num_classes`.
        tasks: What such weights were trained on, most usual first; the first with the right number of classes
            is assumed, and without one the first of all, its classes numbered.
        origin: Where the form comes from: repository and licence.
        signature: Further published keys that all such state dicts have.
        options: Reads the architecture's options from the state dict.
        rename: Maps a published key to the model's own.
        untold: What of the architecture no weight tells and is therefore assumed, in words.
    """

    model: str
    stem: str
    scores: str
    tasks: tuple[PublishedTask, ...]
    origin: str
    signature: tuple[str, ...] = ()
    options: Callable[[Mapping[str, Tensor]], dict[str, OptionValue]] = _no_options
    rename: Callable[[str], str] = _same
    untold: str = ""

    def read_spec(self, state: Mapping[str, Tensor]) -> ModelSpec | None:
        """Return the ModelSpec that `state`, under its published keys, would have; None where a key is absent."""
        if not all(key in state for key in self.signature):
            return None
        num_classes, in_channels = self._read_ends(state)
        if num_classes is None or in_channels is None:
            return None
        return ModelSpec(self.model, num_classes, in_channels, self.options(state))

    def guess_spec(self, state: Mapping[str, Tensor]) -> ModelSpec:
        """Return the ModelSpec to compare `state` with: two classes and three channels where they are not told."""
        num_classes, in_channels = self._read_ends(state)
        return ModelSpec(self.model, num_classes or 2, in_channels or 3, self.options(state))

    def _read_ends(self, state: Mapping[str, Tensor]) -> tuple[int | None, int | None]:
        """Return the numbers of classes and of image channels; None where no weight tells."""
        first = next((key for key, value in state.items() if value.ndim == 4), "")
        stem, scores = state.get(self.stem or first), state.get(self.scores)
        told = scores is not None and scores.ndim == 4 and 2 <= scores.shape[0] <= 255
        return (
            int(scores.shape[0]) if told and scores is not None else None,
            int(stem.shape[1]) if stem is not None and stem.ndim == 4 else None,
        )

    def own_keys(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return `state` under the model's own keys."""
        return {self.rename(key): value for key, value in state.items()}

    def assume_task(self, num_classes: int) -> PublishedTask:
        """Return the task that weights with `num_classes` classes were probably trained on."""
        return next((task for task in self.tasks if task.num_classes == num_classes), self.tasks[0])


#: Names to published forms. A model's module adds its own, so that recognition needs no list of models.
PUBLISHED: Registry[PublishedForm] = Registry("published form")
