"""Building blocks that several networks share: convolution with normalisation, its separable form, attention.

Everything here is traced, captured and converted as plain convolutions, so no target needs a special case.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from seg_core.errors import ConfigError
from seg_core.registry import Registry

#: Images have at most this many channels (RGB and a prior mask): a convolution that reads them stays as it is.
IMAGE_CHANNELS = 4

#: Group normalisation's number of groups (Wu & He, 2018, https://arxiv.org/abs/1803.08494, section 3.1).
NORM_GROUPS = 32


def _group_norm(channels: int) -> nn.Module:
    return nn.GroupNorm(math.gcd(NORM_GROUPS, channels), channels)


#: Normalisation names to constructors taking the number of channels.
NORMS: Registry[Callable[[int], nn.Module]] = Registry("norm")
NORMS.add("batch", nn.BatchNorm2d, ("bn",))
NORMS.add("group", _group_norm, ("gn",))
NORMS.add("none", lambda channels: nn.Identity())


def create_norm(name: str, channels: int) -> nn.Module:
    """Create the normalisation `name` (batch, group or none) for `channels`.

    Group normalisation takes the most groups, up to 32, that both divide the channels and are a divisor of 32.
    Raises ConfigError naming the nearest when the name is unknown.
    """
    return NORMS.get(name)(channels)


class SeparableConv(nn.Sequential):
    """Depthwise 3x3 (or larger) convolution, then a 1x1 convolution across channels (Chollet, 2017).

    Nothing stands between the two, as in the Xception paper (https://arxiv.org/abs/1610.02357) and in the layers
    of EfficientDet. It needs k²·in + in·out multiplications a pixel where the plain convolution needs k²·in·out.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 3,
        stride: int = 1,
        dilation: int = 1,
        bias: bool = False,
    ) -> None:
        """Create both convolutions, padded so that stride 1 keeps the size; only the second may have a bias."""
        padding = dilation * (kernel // 2)
        depthwise = nn.Conv2d(
            in_channels, in_channels, kernel, stride, padding, dilation, groups=in_channels, bias=False
        )
        super().__init__(depthwise, nn.Conv2d(in_channels, out_channels, 1, bias=bias))
        self.initialise()

    def initialise(self) -> None:
        """Fill both weights so that the pair keeps a signal's variance as He's rule does for the plain one.

        The rule by fan-out, which whole networks apply to all their convolutions, ignores groups and would make
        depthwise weights vanish.
        """
        depthwise, pointwise = self[0], self[1]
        if not isinstance(depthwise, nn.Conv2d) or not isinstance(pointwise, nn.Conv2d) or depthwise.weight.is_meta:
            return
        nn.init.normal_(depthwise.weight, std=1 / math.sqrt(math.prod(depthwise.kernel_size)))
        nn.init.kaiming_normal_(pointwise.weight, nonlinearity="relu")
        if pointwise.bias is not None:
            nn.init.zeros_(pointwise.bias)


def conv3x3(
    in_channels: int,
    out_channels: int,
    stride: int = 1,
    dilation: int = 1,
    bias: bool = False,
    separable: bool = False,
) -> nn.Module:
    """Create a 3x3 convolution, plain or (`separable`) a SeparableConv, padded to keep the size at stride 1."""
    if separable:
        return SeparableConv(in_channels, out_channels, 3, stride, dilation, bias)
    return nn.Conv2d(in_channels, out_channels, 3, stride, padding=dilation, dilation=dilation, bias=bias)


class ConvNormAct(nn.Sequential):
    """Convolution, normalisation and ReLU; the convolution has a bias only where nothing normalises.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel: Side of the kernel, odd; padding keeps the size at stride 1.
        stride: Step of the convolution.
        dilation: Distance between the kernel's taps.
        norm: Name of the normalisation: batch, group or none.
        activation: Whether a ReLU ends it.
        separable: Whether the convolution is depthwise-separable; a 1x1 kernel has nothing to separate.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 3,
        stride: int = 1,
        dilation: int = 1,
        norm: str = "batch",
        activation: bool = True,
        separable: bool = False,
    ) -> None:
        bias = NORMS.resolve(norm) == "none"
        conv: nn.Module
        if separable and kernel > 1:
            conv = SeparableConv(in_channels, out_channels, kernel, stride, dilation, bias)
        else:
            padding = dilation * (kernel // 2)
            conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding, dilation, bias=bias)
        layers = [conv, create_norm(norm, out_channels)]
        if activation:
            layers.append(nn.ReLU())
        super().__init__(*layers)


class ScoreHead(nn.Sequential):
    """3x3 convolution with norm and ReLU, then a 1x1 convolution to one score a class.

    Serves as a main head and, put on an encoder's finest features, as the auxiliary one. Maps
    (N, in_channels, h, w) to (N, num_classes, h, w).
    """

    def __init__(
        self, in_channels: int, hidden_channels: int, num_classes: int, norm: str = "batch", separable: bool = False
    ) -> None:
        super().__init__(
            ConvNormAct(in_channels, hidden_channels, norm=norm, separable=separable),
            nn.Conv2d(hidden_channels, num_classes, 1),
        )


class SCSE(nn.Module):
    """Concurrent spatial and channel squeeze and excitation (Roy et al., 2018, https://arxiv.org/abs/1803.02579).

    One gate a channel, computed from the global mean, and one gate a pixel, computed across channels, multiply
    the input; the two results are added.

    Args:
        channels: Channels of the features.
        reduction: How many times narrower the channel gate's hidden layer is; at least one channel remains.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        if reduction < 1:
            raise ConfigError(f"SCSE: reduction must be at least 1, found {reduction}")
        hidden = max(1, channels // reduction)
        self.squeeze = nn.Conv2d(channels, hidden, 1)
        self.excite = nn.Conv2d(hidden, channels, 1)
        self.spatial = nn.Conv2d(channels, 1, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Return `features` (N, channels, h, w) weighted by channel plus weighted by place."""
        mean = F.adaptive_avg_pool2d(features, 1)
        by_channel = self.excite(F.relu(self.squeeze(mean))).sigmoid()
        by_place = self.spatial(features).sigmoid()
        return features * by_channel + features * by_place  # type: ignore[no-any-return]


def is_separable(module: nn.Module) -> bool:
    """Return whether `separate_convolutions` replaces `module`.

    Eligible is a plain torch.nn.Conv2d (no subclass) with a 3x3 kernel, one group and zero padding that keeps
    the size (padding equal to dilation), which reads features rather than the image (more than 4 channels) and
    writes more than one channel. Any stride and dilation will do.
    """
    return (
        type(module) is nn.Conv2d
        and module.kernel_size == (3, 3)
        and module.groups == 1
        and module.padding_mode == "zeros"
        and module.padding == module.dilation
        and module.dilation[0] == module.dilation[1]
        and module.stride[0] == module.stride[1]
        and module.in_channels > IMAGE_CHANNELS
        and module.out_channels > 1
    )


def separate_convolutions(network: nn.Module) -> int:
    """Replace every eligible 3x3 convolution of `network` by a SeparableConv, in place; return how many.

    `is_separable` says what is eligible. Stride, dilation and bias are kept, weights are new: call it when the
    network is built, after its own initialisation and before weights are loaded. State-dict keys of a replaced
    convolution go from `x.weight` to `x.0.weight` and `x.1.weight`.
    """
    names = [name for name, module in network.named_modules() if name and is_separable(module)]
    for name in names:
        conv = network.get_submodule(name)
        assert isinstance(conv, nn.Conv2d)
        separable = SeparableConv(
            conv.in_channels, conv.out_channels, 3, conv.stride[0], conv.dilation[0], conv.bias is not None
        )
        parent, _, leaf = name.rpartition(".")
        setattr(network.get_submodule(parent), leaf, separable.to(conv.weight.device, conv.weight.dtype))
    return len(names)
