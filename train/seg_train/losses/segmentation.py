"""The whole of what training minimises: the configured terms, over every head of the network."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from seg_core.config.schema import LossSection
from seg_core.errors import ConfigError
from seg_core.models import SegmentationModel
from seg_core.models.resampling import enlarge
from seg_core.registry import Registry
from seg_train.losses.cross_entropy import cross_entropy_loss, ohem_loss
from seg_train.losses.edges import boundary_loss, edge_loss
from seg_train.losses.focal import focal_loss
from seg_train.losses.lovasz import lovasz_loss
from seg_train.losses.region import dice_loss, iou_loss
from seg_train.losses.scores import Scores

#: A term returns a float32 scalar: 0 with gradients of 0 where no pixel counts.
Term = Callable[[Scores, LossSection], Tensor]

#: Terms by the name of their weight in LossSection.
LOSSES: Registry[Term] = Registry("loss")
LOSSES.add("cross_entropy", cross_entropy_loss, ("ce",))
LOSSES.add("ohem", ohem_loss, ("ohem_ce",))
LOSSES.add("dice", dice_loss)
LOSSES.add("iou", iou_loss, ("jaccard",))
LOSSES.add("lovasz", lovasz_loss, ("lovasz_softmax",))
LOSSES.add("focal", focal_loss)
LOSSES.add("edge", edge_loss)
LOSSES.add("boundary", boundary_loss)

#: The terms that need the edge head, and are asked of the main head alone.
EDGE_TERMS = ("edge", "boundary")


def list_losses() -> list[str]:
    """Return the names of the terms, which are fields of LossSection."""
    return LOSSES.names()


class SegmentationLoss(nn.Module):
    """The weighted sum of the configured terms over all heads.

    "main" and "edge" count once and every other head `options.aux` times, or `options.heads[name]` times where it is
    named. Heads smaller than the labels are enlarged bilinearly, in their own precision: these are the largest
    tensors of a step, and twice their bytes would take twice the time. All that follows is float32. Shapes are static
    and values are not looked at, so that `torch.compile` captures it whole. Move it to the labels' device: class
    weights are a buffer.
    """

    class_weights: Tensor | None

    def __init__(self, options: LossSection, ignore_index: int, num_classes: int) -> None:
        """Keep the weights; `ignore_index` marks pixels that teach nothing.

        Raises ConfigError when there are not as many class weights as classes.
        """
        super().__init__()
        self.options = options
        self.ignore_index = ignore_index
        self.terms = {name: weight for name in LOSSES if (weight := float(getattr(options, name)))}
        weights = options.class_weights
        if weights is not None and len(weights) != num_classes:
            raise ConfigError(f"loss.class_weights: {len(weights)} weights for {num_classes} classes; give one a class")
        self.register_buffer("class_weights", None if weights is None else torch.tensor(weights), persistent=False)

    def check_network(self, network: SegmentationModel) -> None:
        """Refuse a network whose heads the terms do not fit; raises ConfigError, before anything is compiled."""
        self._check_edges(present=getattr(network, "edge_head", None) is not None)

    def _check_edges(self, present: bool) -> None:
        wanted = [name for name in EDGE_TERMS if name in self.terms]
        if wanted and not present:
            raise ConfigError(f"loss.{wanted[0]}: the network has no edge head; set model.options.edge_head=true")
        if present and not wanted:
            raise ConfigError(
                "model.options.edge_head: nothing teaches it; set loss.edge (20 is usual) or leave it out"
            )

    def _check_names(self, present: Sequence[str]) -> None:
        unknown = [name for name in self.options.heads if name not in present]
        if unknown:
            near = difflib.get_close_matches(unknown[0], present, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(present)}"
            raise ConfigError(f"loss.heads.{unknown[0]}: the network has no such head; {hint}")

    def forward(self, heads: dict[str, Tensor], target: Tensor) -> dict[str, Tensor]:
        """Return {"loss": the sum to minimise, "<head>": each head's own, unweighted}, float32 scalars.

        `heads` holds logits (N, C, h, w) of any float type, "main" among them, and (N, 1, h, w) under "edge";
        `target` is int64 or uint8 (N, H, W). Raises ConfigError when a term needs a head that is not there, or
        `options.heads` names one.
        """
        self._check_names(list(heads))
        self._check_edges(present="edge" in heads)
        # Sums over millions of pixels need more digits than half precision has.
        with torch.autocast(target.device.type, enabled=False):
            losses, weights = self._score(heads, target.long())
        total = torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()
        return {"loss": total, **losses}

    def _score(self, heads: dict[str, Tensor], target: Tensor) -> tuple[dict[str, Tensor], dict[str, float]]:
        counted = target != self.ignore_index
        losses: dict[str, Tensor] = {}
        for name, logits in heads.items():
            if name != "edge":
                scores = Scores(self._log_softmax(logits, target), target, counted, self.class_weights)
                losses[name] = self._weigh(scores, [term for term in self.terms if term not in EDGE_TERMS])
                if name == "main" and "edge" in heads:
                    edge = enlarge(heads["edge"], _size_of(target))[:, 0].float()
                    losses["edge"] = self._weigh(scores._replace(edge=edge), [t for t in EDGE_TERMS if t in self.terms])
        weights = {name: self.options.heads.get(name, self.options.aux) for name in losses}
        return losses, weights | {name: self.options.heads.get(name, 1.0) for name in ("main", "edge")}

    def _log_softmax(self, logits: Tensor, target: Tensor) -> Tensor:
        return enlarge(logits, _size_of(target)).float().log_softmax(dim=1)

    def _weigh(self, scores: Scores, names: list[str]) -> Tensor:
        return torch.stack([self.terms[name] * LOSSES.get(name)(scores, self.options) for name in names]).sum()


def _size_of(target: Tensor) -> tuple[int, int]:
    return target.shape[-2], target.shape[-1]
