"""What every segmentation network offers, whatever its architecture."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import Parameter

from seg_core.errors import ConfigError


class SegmentationModel(nn.Module):
    """A network from images to one score map a class.

    Subclasses implement `forward_heads`. Inputs are float32 NCHW, already normalised; `size_divisor` is what
    their height and width must be multiples of, `minimum_side` the smallest that either may be where that is more,
    and logits are smaller than the input by `output_stride`.
    `auxiliary_modules` names the attributes that serve training alone, so that an export can leave them out.
    `decoder_modules` and `head_modules` name the submodules behind the encoder, with dots where they lie deeper;
    whatever is in neither and not auxiliary is the encoder.
    """

    size_divisor: int = 1
    minimum_side: int = 1
    output_stride: int = 1
    auxiliary_modules: tuple[str, ...] = ()
    decoder_modules: tuple[str, ...] = ()
    head_modules: tuple[str, ...] = ()

    def forward_heads(self, image: Tensor) -> dict[str, Tensor]:
        """Return the logits of every head, "main" first, each (N, num_classes, h, w).

        In training a network that was built with an edge head adds "edge", (N, 1, h, w) at the size of its features:
        how probably two classes meet there.
        """
        raise NotImplementedError

    def forward_features(self, image: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return what `forward_heads` does, and the feature map (N, C, h, w) that the main head reads.

        Distillation compares that map with another network's. Raises ConfigError in a network that does not give it.
        """
        raise ConfigError(
            f"{type(self).__name__} gives no feature map: implement forward_features, or set distill.feature=0"
        )

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits of the main head alone, (N, num_classes, h, w)."""
        return self.forward_heads(image)["main"]

    def main_only(self) -> SegmentationModel:
        """Delete the auxiliary heads from this network, in place, and return it.

        The main logits do not change by a bit. Used before export, where unused weights would travel along.
        """
        for name in self.auxiliary_modules:
            setattr(self, name, None)
        return self

    def parameter_groups(self) -> dict[str, list[Parameter]]:
        """Return all parameters as those of the "encoder", the "decoder" and the "heads", auxiliary ones included."""
        groups: dict[str, list[Parameter]] = {"encoder": [], "decoder": [], "heads": []}
        heads = (*self.head_modules, *self.auxiliary_modules)
        for name, parameter in self.named_parameters():
            part = (
                "heads" if _lies_in(name, heads) else "decoder" if _lies_in(name, self.decoder_modules) else "encoder"
            )
            groups[part].append(parameter)
        return groups

    def check_target(self, target: str) -> None:
        """Refuse an export target on which a part of this network is not proven; raises ConfigError.

        A part whose operations are not known to every runtime has an attribute `proven_targets`, the names of
        those where it kept parity, and `unproven_advice`, which operations it needs and how to do without it.
        """
        for part in self.modules():
            proven = getattr(part, "proven_targets", None)
            if proven is not None and target not in proven:
                raise ConfigError(
                    f"{type(part).__name__} is not proven on target {target!r}: {part.unproven_advice}, "
                    f"or export to {', '.join(proven)}"
                )

    def check_size(self, size_hw: tuple[int, int]) -> None:
        """Refuse an input size the network cannot take; raises ConfigError with the nearest valid sizes."""
        step = self.size_divisor
        if all(side >= step and side % step == 0 for side in size_hw):
            return
        least = -(-max(step, self.minimum_side) // step) * step
        below = tuple(max(least, side // step * step) for side in size_hw)
        above = tuple(max(least, -(-side // step) * step) for side in size_hw)
        nearest = " or ".join(dict.fromkeys(f"{height}x{width}" for height, width in (below, above)))
        raise ConfigError(
            f"size {size_hw[0]}x{size_hw[1]} (height x width): {type(self).__name__} needs multiples of {step}; "
            f"use {nearest}"
        )


def _lies_in(name: str, modules: tuple[str, ...]) -> bool:
    return name.startswith(tuple(f"{module}." for module in modules))
