from helpers.losses import LOSSES, cross_entropy, dice_loss

import pytest
import torch
import torch.nn.functional as F


def test_dice_loss_by_hand():
    target = torch.tensor([[[0, 0], [1, 255]]])
    logits = torch.zeros(1, 2, 2, 2)  # every probability is 1/2
    # class 0: overlap 1, total 1.5 + 2; class 1: overlap 0.5, total 1.5 + 1
    expected = 1 - ((2 * 1 + 1) / (3.5 + 1) + (2 * 0.5 + 1) / (2.5 + 1)) / 2
    assert dice_loss(logits, target).item() == pytest.approx(expected)
    perfect = 20 * F.one_hot(target.where(target < 2, 0), 2).movedim(-1, 1).float()
    assert dice_loss(perfect, target).item() == pytest.approx(0, abs=1e-4)


def test_ignored_pixels_change_nothing():
    target = torch.randint(3, (2, 8, 8))
    target[:, :2] = 255
    logits = torch.randn(2, 3, 8, 8)
    other = logits.clone()
    other[:, :, :2] += 5 * torch.randn(2, 3, 2, 8)
    for name, loss in LOSSES.items():
        assert loss(logits, target).item() == pytest.approx(loss(other, target).item()), name


def test_the_sum_is_the_sum():
    target, logits = torch.randint(3, (2, 8, 8)), torch.randn(2, 3, 8, 8)
    total = cross_entropy(logits, target) + dice_loss(logits, target)
    assert LOSSES["ce+dice"](logits, target).item() == pytest.approx(total.item())
