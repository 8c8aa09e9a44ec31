"""Checks for notebook 05: confusion matrix, IoU, Dice, accuracy."""

from collections.abc import Callable

from helpers.constants import IGNORE_INDEX
from helpers.metrics import ConfusionMatrix, iou
from helpers.teaching.checks.verdict import Hint, ask, close, exercise, number, tensor

import torch
from torch import Tensor


@exercise("05.1")
def class_iou(function: Callable[[Tensor], Tensor]) -> str:
    """The IoU of each class from a confusion matrix, NaN where a class is absent."""
    matrix = torch.tensor([[50, 10, 0], [5, 100, 15], [10, 10, 0]])
    values, areas = tensor(ask(function, matrix.clone()), (3,)), matrix.sum(dim=1)
    if close(values, matrix.diag() / areas):
        raise Hint(
            "These are shares of the true pixels that were found (recall). Predicted pixels"
            " count, too."
        )
    if close(values, matrix.diag() / matrix.sum(dim=0)):
        raise Hint(
            "These are shares of the predicted pixels that are right (precision). True pixels"
            " count, too."
        )
    if close(values, 2 * matrix.diag() / (areas + matrix.sum(dim=0))):
        raise Hint("This is Dice. What is counted twice in the sum of both areas?")
    if close(values, matrix.diag() / (areas + matrix.sum(dim=0))):
        raise Hint("The sum of both areas counts the intersection twice.")
    if not close(values, iou(matrix)):
        raise Hint(
            "Intersection: on the diagonal. Union: the class's row and column together, each"
            " pixel once."
        )
    absent = ask(function, torch.tensor([[5, 5, 0], [0, 10, 0], [0, 0, 0]]))
    if not torch.as_tensor(absent)[2].isnan():
        raise Hint(
            f"A class that is neither there nor predicted has IoU {float(absent[2]):.0f}. What is"
            " 0/0?"
        )
    return "And a class that is not there counts neither for nor against."


@exercise("05.2")
def confusion(function: Callable[[Tensor, Tensor, int], Tensor]) -> str:
    """A confusion matrix, int64 (C, C), rows = truth; 255 in the truth does not count."""
    generator = torch.Generator().manual_seed(0)
    truth = torch.randint(3, (4, 9, 9), generator=generator)
    prediction = torch.where(
        torch.rand(truth.shape, generator=generator) < 0.6, truth, (truth + 1) % 3
    )
    wanted = ConfusionMatrix(4)  # class 3 never occurs
    wanted.update(prediction, truth)
    matrix = tensor(ask(function, prediction, truth, 4), (4, 4))
    if close(matrix, wanted.matrix.T):
        raise Hint("Rows and columns are swapped: true classes are rows, predicted ones columns.")
    if not close(matrix, wanted.matrix):
        raise Hint(
            f"It counts {int(matrix.sum())} pixels, of {truth.numel()}, or puts some into the"
            " wrong entry."
        )
    truth[:, :2] = IGNORE_INDEX
    wanted = ConfusionMatrix(4)
    wanted.update(prediction, truth)
    if not close(ask(function, prediction, truth, 4), wanted.matrix):
        raise Hint("Right without ignored pixels. With them, it counts some that it should not.")
    return "True classes in rows, ignored pixels left out."


@exercise("05.3")
def pixel_accuracy(guess: float) -> str:
    """Pixel accuracy from an accuracy over one-hot channels."""
    guess = number(guess)
    if close(guess, 0.85, 1e-3):
        return "One error in seven pixels looks like one in ten."
    if close(guess, 0.9, 1e-3):
        raise Hint("That is the share of right channels.")
    if close(guess, 0.7, 1e-3):
        raise Hint("Not three wrong channels for each wrong pixel: how many of the three differ?")
    raise Hint("If a share e of the pixels is wrong, what share of the channels is?")


@exercise("05.4")
def shifted_iou(function: Callable[[int], float]) -> str:
    """The IoU of a square of n px that is predicted one pixel aside."""
    values = [number(ask(function, n)) for n in (2, 4, 8, 16, 32)]
    if close(torch.tensor(values), torch.tensor([(n - 1) / n for n in (2, 4, 8, 16, 32)])):
        raise Hint(
            "That is the share of the object that is still covered. The union is larger than the"
            " object."
        )
    for n, value in zip((2, 4, 8, 16, 32), values, strict=True):
        truth = torch.ones(1, n, n + 1, dtype=torch.int64)
        truth[..., :n] = 0
        shifted = ConfusionMatrix(2)
        shifted.update(truth.flip(-1), truth)
        if not close(value, shifted.iou()[0], 1e-6):
            raise Hint(
                f"For n = {n} you say {value:.3f}. Draw it: which columns are in both squares,"
                " which in either?"
            )
    return "2 px wide: 0.33. 32 px wide: 0.94. One pixel is not the same everywhere."


@exercise("05.5")
def weighted_iou(function: Callable[[Tensor], float]) -> str:
    """The IoUs of the classes, each weighted by its share of the true pixels."""
    matrix = torch.tensor([[50, 10, 0], [5, 100, 15], [10, 10, 20]])
    value, values = number(ask(function, matrix.clone())), iou(matrix)
    true, predicted = (matrix.sum(dim=k) / matrix.sum() for k in (1, 0))
    if close(value, values.mean()):
        raise Hint("That is the plain mean: every class weighs a third.")
    if close(value, (predicted * values).sum()):
        raise Hint(
            "The weights are shares of the predicted pixels, and should be those of the true ones."
        )
    if not close(value, (true * values).sum()):
        raise Hint("The weights are shares of all true pixels, so they sum to 1.")
    return f"For this matrix it is {value:.3f}, with a mIoU of {values.mean():.3f}."
