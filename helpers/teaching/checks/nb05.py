"""Checks for notebook 05: confusion matrix, IoU, Dice, accuracy."""

from collections.abc import Callable

from helpers.constants import IGNORE_INDEX
from helpers.metrics import ConfusionMatrix, iou
from helpers.teaching.checks.verdict import ask, close, compare, exercise, number, refuse, tensor

import torch
from torch import Tensor


@exercise("05.1")
def class_iou(function: Callable[[Tensor], Tensor]) -> str:
    """The IoU of each class from a confusion matrix, NaN where a class is absent."""
    matrix = torch.tensor([[50, 10, 0], [5, 100, 15], [10, 10, 0]])
    values = tensor(ask(function, matrix.clone()), (3,))
    right, true, predicted = matrix.diag(), matrix.sum(dim=1), matrix.sum(dim=0)
    areas = true + predicted
    slips = {
        "That is recall, of the true pixels. The predicted ones count, too.": right / true,
        "That is precision, of the predicted pixels. True ones count, too.": right / predicted,
        "This is Dice. What is counted twice in the sum of both areas?": 2 * right / areas,
        "The sum of both areas counts the intersection twice.": right / areas,
    }
    otherwise = "Intersection: the diagonal. Union: the class's row and column, each pixel once."
    compare(values, iou(matrix), slips, otherwise)

    absent = torch.as_tensor(ask(function, torch.tensor([[5, 5, 0], [0, 10, 0], [0, 0, 0]])))[2]
    given = not absent.isnan()
    refuse(given, f"A class neither there nor predicted has IoU {absent:.0f}. What is 0/0?")
    return "And a class that is not there counts neither for nor against."


@exercise("05.2")
def confusion(function: Callable[[Tensor, Tensor, int], Tensor]) -> str:
    """A confusion matrix, int64 (C, C), rows = target; 255 in the target does not count."""
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(3, (4, 9, 9), generator=generator)
    keep = torch.rand(target.shape, generator=generator) < 0.6
    prediction = target.where(keep, (target + 1) % 3)

    wanted = ConfusionMatrix.of(prediction, target, num_classes=4).matrix  # class 3 never occurs
    matrix = tensor(ask(function, prediction, target, 4), (4, 4))
    slips = {"Rows and columns are swapped: true classes are rows.": wanted.T}
    counted = f"It counts {int(matrix.sum())} of {target.numel()} pixels"
    compare(matrix, wanted, slips, f"{counted}, or puts some into the wrong entry.")

    target[:, :2] = IGNORE_INDEX
    wanted = ConfusionMatrix.of(prediction, target, num_classes=4).matrix
    otherwise = "Right without ignored pixels. With them, it counts some that it should not."
    compare(ask(function, prediction, target, 4), wanted, {}, otherwise)
    return "True classes in rows, ignored pixels left out."


@exercise("05.5")
def pixel_accuracy(guess: float) -> str:
    """Pixel accuracy from an accuracy over one-hot channels."""
    slips = {
        "That is the fraction of right channels.": 0.9,
        "Not three wrong channels for each wrong pixel: how many of the three differ?": 0.7,
    }
    otherwise = "If a fraction e of the pixels is wrong, what fraction of the channels is?"
    compare(number(guess), 0.85, slips, otherwise, near=2e-3)
    return "One error in seven pixels looks like one in ten."


@exercise("05.4")
def shifted_iou(function: Callable[[int], float]) -> str:
    """The IoU of a square of n px that is predicted one pixel aside."""
    sizes = (2, 4, 8, 16, 32)
    values = [number(ask(function, n)) for n in sizes]
    covered = close(torch.tensor(values), torch.tensor([(n - 1) / n for n in sizes]))
    refuse(covered, "That much of it is still covered. The union is larger than the object.")
    for n, value in zip(sizes, values, strict=True):
        truth = torch.ones(1, n, n + 1, dtype=torch.int64)
        truth[..., :n] = 0
        wanted = ConfusionMatrix.of(truth.flip(-1), truth, num_classes=2).iou()[0]
        draw = "Draw it: which columns are in both, which in either?"
        compare(value, wanted, {}, f"For n = {n} you say {value:.3f}. {draw}")
    return "2 px wide: 0.33. 32 px wide: 0.94. One pixel is not the same everywhere."


@exercise("05.3")
def weighted_iou(function: Callable[[Tensor], float]) -> str:
    """The IoUs of the classes, each weighted by its fraction of the true pixels."""
    matrix = torch.tensor([[50, 10, 0], [5, 100, 15], [10, 10, 20]])
    value, values = number(ask(function, matrix.clone())), iou(matrix)
    true, predicted = (matrix.double().sum(dim=k) / matrix.sum() for k in (1, 0))
    slips = {
        "That is the plain mean: every class weighs a third.": values.mean(),
        "The weights are those of the predicted pixels, not the true ones.": predicted @ values,
    }
    otherwise = "The weights are fractions of all true pixels, so they sum to 1."
    compare(value, true @ values, slips, otherwise)
    return f"For this matrix it is {value:.3f}, with an mIoU of {values.mean():.3f}."
