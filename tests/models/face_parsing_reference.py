"""The widely used face-parsing BiSeNet, written out from its published structure: entries, shapes and arithmetic.

Nothing here comes from the library under test. Its state dict has 191 entries: a ResNet-18 without classifier (20
convolutions, each with a BatchNorm of five entries: 120), two attention refinements (12 each), three convolutions
of the context path (6 each), the fusion (6 + 1 + 1) and three heads (6 + 1 each); no convolution has a bias.
"""

import torch
import torch.nn.functional as F

NORM = ("weight", "bias", "running_mean", "running_var")


def face_parsing_shapes(num_classes=19):
    shapes = {}

    def conv(key, planes, in_planes, kernel):
        shapes[f"{key}.weight"] = (planes, in_planes, kernel, kernel)

    def norm(key, planes):
        shapes.update({f"{key}.{entry}": (planes,) for entry in NORM})
        shapes[f"{key}.num_batches_tracked"] = ()

    def block(key, planes, in_planes, kernel):
        conv(f"{key}.conv", planes, in_planes, kernel)
        norm(f"{key}.bn", planes)

    conv("cp.resnet.conv1", 64, 3, 7)
    norm("cp.resnet.bn1", 64)
    for stage, planes in enumerate((64, 128, 256, 512), start=1):
        first = f"cp.resnet.layer{stage}.0"
        in_planes = 64 if stage == 1 else planes // 2
        for key, part, width in (
            (first, 1, in_planes),
            (first, 2, planes),
            (first[:-1] + "1", 1, planes),
            (first[:-1] + "1", 2, planes),
        ):
            conv(f"{key}.conv{part}", planes, width, 3)
            norm(f"{key}.bn{part}", planes)
        if stage > 1:
            conv(f"{first}.downsample.0", planes, in_planes, 1)
            norm(f"{first}.downsample.1", planes)
    for key, width in (("cp.arm16", 256), ("cp.arm32", 512)):
        block(f"{key}.conv", 128, width, 3)
        conv(f"{key}.conv_atten", 128, 128, 1)
        norm(f"{key}.bn_atten", 128)
    for key, width, kernel in (("conv_head32", 128, 3), ("conv_head16", 128, 3), ("conv_avg", 512, 1)):
        block(f"cp.{key}", 128, width, kernel)
    block("ffm.convblk", 256, 256, 1)
    conv("ffm.conv1", 64, 256, 1)
    conv("ffm.conv2", 256, 64, 1)
    for key, width, planes in (("conv_out", 256, 256), ("conv_out16", 128, 64), ("conv_out32", 128, 64)):
        block(f"{key}.conv", planes, width, 3)
        conv(f"{key}.conv_out", num_classes, planes, 1)
    return shapes


def face_parsing_outputs(state, image):
    """The three outputs at the size of `image`, main first, in eval mode."""

    def conv(x, key, stride=1):
        weight = state[f"{key}.weight"]
        return F.conv2d(x, weight, None, stride, weight.shape[-1] // 2)

    def norm(x, key):
        weight, bias, mean, variance = (state[f"{key}.{entry}"] for entry in NORM)
        return F.batch_norm(x, mean, variance, weight, bias)

    def block(x, key):
        return F.relu(norm(conv(x, f"{key}.conv"), f"{key}.bn"))

    def residual(x, key, stride):
        out = F.relu(norm(conv(x, f"{key}.conv1", stride), f"{key}.bn1"))
        out = norm(conv(out, f"{key}.conv2"), f"{key}.bn2")
        if f"{key}.downsample.0.weight" in state:
            x = norm(conv(x, f"{key}.downsample.0", stride), f"{key}.downsample.1")
        return F.relu(out + x)

    def refine(x, key):
        x = block(x, f"{key}.conv")
        return x * torch.sigmoid(norm(conv(F.adaptive_avg_pool2d(x, 1), f"{key}.conv_atten"), f"{key}.bn_atten"))

    def nearest(x, like):
        return F.interpolate(x, like.shape[2:], mode="nearest")

    def score(x, key):
        logits = conv(block(x, f"{key}.conv"), f"{key}.conv_out")
        return F.interpolate(logits, image.shape[2:], mode="bilinear", align_corners=True)

    x = F.max_pool2d(F.relu(norm(conv(image, "cp.resnet.conv1", 2), "cp.resnet.bn1")), 3, 2, 1)
    features = []
    for stage in range(1, 5):
        x = residual(x, f"cp.resnet.layer{stage}.0", 1 if stage == 1 else 2)
        x = residual(x, f"cp.resnet.layer{stage}.1", 1)
        features.append(x)
    _, eighth, sixteenth, deepest = features
    mean = nearest(block(F.adaptive_avg_pool2d(deepest, 1), "cp.conv_avg"), deepest)
    coarse = block(nearest(refine(deepest, "cp.arm32") + mean, sixteenth), "cp.conv_head32")
    fine = block(nearest(refine(sixteenth, "cp.arm16") + coarse, eighth), "cp.conv_head16")
    fused = block(torch.cat((eighth, fine), 1), "ffm.convblk")
    gate = torch.sigmoid(conv(F.relu(conv(F.adaptive_avg_pool2d(fused, 1), "ffm.conv1")), "ffm.conv2"))
    return score(fused * gate + fused, "conv_out"), score(fine, "conv_out16"), score(coarse, "conv_out32")
