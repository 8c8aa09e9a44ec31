import math

from helpers.losses import LOSSES, cross_entropy, cross_entropy_and_dice, dice_loss
from helpers.metrics import ConfusionMatrix

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st


def test_dice_loss_by_hand():
    target = torch.tensor([[[0, 0], [1, 255]]])
    logits = torch.zeros(1, 2, 2, 2)  # every probability is 1/2
    # class 0: overlap 1, total 1.5 + 2; class 1: overlap 0.5, total 1.5 + 1
    expected = 1 - ((2 * 1 + 1) / (3.5 + 1) + (2 * 0.5 + 1) / (2.5 + 1)) / 2
    assert dice_loss(logits, target).item() == pytest.approx(expected)
    assert cross_entropy_and_dice(logits, target).item() == pytest.approx(expected + 0.693147)
    perfect = 20 * F.one_hot(target.where(target < 2, 0), 2).movedim(-1, 1).float()
    assert dice_loss(perfect, target).item() == pytest.approx(0, abs=1e-4)


def test_cross_entropy_by_hand():
    logits = torch.tensor([1.0, 3.0]).log()[None, :, None, None].expand(1, 2, 1, 3)
    target = torch.tensor([[[0, 1, 255]]])
    expected = (math.log(4) + math.log(4 / 3)) / 2  # the probabilities are 1/4 and 3/4
    assert cross_entropy(logits, target).item() == pytest.approx(expected)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 5), st.integers(0, 10**6))
def test_dice_loss_of_certain_answers_is_that_of_counts(classes, seed):
    generator = torch.Generator().manual_seed(seed)
    prediction, target = torch.randint(classes, (2, 3, 5, 6), generator=generator)
    target[torch.rand(3, 5, 6, generator=generator) < 0.2] = 255
    counts = ConfusionMatrix.of(prediction, target, num_classes=classes).matrix
    sizes = counts.sum(dim=0) + counts.sum(dim=1)
    expected = 1 - ((2 * counts.diagonal() + 1) / (sizes + 1)).mean()
    logits = 60 * F.one_hot(prediction, classes).movedim(-1, 1).float()
    assert dice_loss(logits, target).item() == pytest.approx(expected.item(), abs=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_ignored_pixels_change_nothing(name):
    target = torch.randint(3, (2, 8, 8))
    target[:, :2] = 255
    logits = torch.randn(2, 3, 8, 8, requires_grad=True)
    other = logits.detach().clone()
    other[:, :, :2] += 5 * torch.randn(2, 3, 2, 8)
    loss = LOSSES[name](logits, target)
    assert loss.item() == pytest.approx(LOSSES[name](other, target).item())
    loss.backward()
    assert not logits.grad[:, :, :2].any() and logits.grad[:, :, 2:].all()


@pytest.mark.parametrize("name", LOSSES)
def test_a_right_answer_costs_less_and_half_precision_is_enough(name):
    target = torch.randint(3, (2, 8, 8))
    right = 9 * F.one_hot(target, 3).movedim(-1, 1).half()
    loss, worst = LOSSES[name](right, target), LOSSES[name](-right, target)
    assert loss.dtype == torch.float32 and loss < 0.01 and worst > 0.6


def test_names_are_what_they_say():
    target, logits = torch.randint(3, (2, 8, 8)), torch.randn(2, 3, 8, 8)
    ce, dice = F.cross_entropy(logits, target).item(), dice_loss(logits, target).item()
    values = {name: loss(logits, target).item() for name, loss in LOSSES.items()}
    assert values == pytest.approx({"ce": ce, "dice": dice, "ce+dice": ce + dice})
