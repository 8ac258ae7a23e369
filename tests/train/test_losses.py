import math

import pytest
import torch

from seg_core.config.schema import LossSection
from seg_train.losses import SegmentationLoss, soft_dice_loss


def test_cross_entropy_of_flat_logits_is_log_of_the_class_count():
    loss = SegmentationLoss(LossSection(dice=0.0, aux=0.5), ignore_index=255)
    heads = {"main": torch.zeros(1, 4, 8, 8), "aux": torch.zeros(1, 4, 1, 1)}
    losses = loss(heads, torch.zeros(1, 8, 8, dtype=torch.int64))
    assert losses["main"].item() == pytest.approx(math.log(4))
    assert losses["loss"].item() == pytest.approx(1.5 * math.log(4))


def test_ignored_pixels_change_nothing_and_all_void_is_zero():
    loss = SegmentationLoss(LossSection(dice=1.0), ignore_index=255)
    logits = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    target = torch.randint(0, 4, (1, 8, 8), generator=torch.Generator().manual_seed(1))
    target[0, :4] = 255
    other = logits.clone()
    other[:, :, :4] += 7 * torch.rand(4, 8)
    assert loss({"main": logits}, target)["loss"].item() == pytest.approx(loss({"main": other}, target)["loss"].item())
    assert loss({"main": logits}, torch.full_like(target, 255))["loss"].item() == 0


def test_dice_is_zero_for_certainty_and_by_hand_for_a_coin_toss():
    target = torch.tensor([[[0, 1], [1, 1]]])
    certain = 60.0 * torch.nn.functional.one_hot(target, 2).permute(0, 3, 1, 2).float()
    assert soft_dice_loss(certain, target, 255, smooth=0.0).item() == pytest.approx(0, abs=1e-6)
    # p = 1/2 everywhere: class 0 has dice 2*.5/(2+1), class 1 has 2*1.5/(2+3)
    assert soft_dice_loss(torch.zeros(1, 2, 2, 2), target, 255, smooth=0.0).item() == pytest.approx(
        1 - (1 / 3 + 3 / 5) / 2
    )
