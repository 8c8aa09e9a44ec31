"""Checks for notebook 05: confusion matrix, IoU, Dice, accuracy."""

import copy
from collections.abc import Callable

from helpers.constants import IGNORE_INDEX
from helpers.metrics import ConfusionMatrix, iou
from helpers.teaching.checks.lines import function_of, repaired
from helpers.teaching.checks.verdict import ask, close, compare, exercise, number, refuse, tensor

import torch
from torch import Tensor, nn


@exercise("05.1")
def class_iou(function: Callable[[Tensor], Tensor]) -> str:
    """The IoU of each class from a confusion matrix, NaN where a class is absent."""
    matrix = torch.randint(1, 40, (3, 3)) + torch.diag(torch.randint(20, 200, (3,)))
    matrix[2, 2] = 0  # a class that is never right
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

    # Four classes: one neither there nor predicted, and one that is predicted alone.
    matrix = torch.tensor([[5, 5, 0, 2], [0, 10, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    values = tensor(ask(function, matrix.clone()), (4,))
    given = not values[2].isnan()
    refuse(given, f"A class neither there nor predicted has IoU {values[2]:.0f}. What is 0/0?")
    alone = "A class that is predicted and not there has IoU 0, and that counts."
    compare(values[[0, 1, 3]], iou(matrix)[[0, 1, 3]], {}, alone)
    return "And a class that is not there counts neither for nor against."


@exercise("05.2")
def confusion(function: Callable[[Tensor, Tensor, int], Tensor]) -> str:
    """A confusion matrix, int64 (C, C), rows = target; 255 in the target does not count."""
    target = torch.randint(3, (4, 9, 9))
    keep = torch.rand(target.shape) < 0.6
    prediction = target.where(keep, (target + 1) % 3)

    wanted = ConfusionMatrix.of(prediction, target, num_classes=4).matrix  # class 3 never occurs
    given = prediction.clone(), target.clone()
    matrix = tensor(ask(function, *given, 4), (4, 4))
    slips = {"Rows and columns are swapped: true classes are rows.": wanted.T}
    counted = f"It counts {matrix.sum():.0f} of {target.numel()} pixels"
    compare(matrix, wanted, slips, f"{counted}, or puts some into the wrong entry.")

    target[:, :2] = IGNORE_INDEX
    wanted = ConfusionMatrix.of(prediction, target, num_classes=4).matrix
    otherwise = "Right without ignored pixels. With them, it counts some that it should not."
    compare(ask(function, prediction.clone(), target.clone(), 4), wanted, {}, otherwise)

    three = ask(function, prediction.clone(), target.clone())
    compare(three, wanted[:3, :3], {}, "Where no number of classes is given, there are three.")
    one = ask(function, prediction[0].clone(), target[0].clone())
    wanted = ConfusionMatrix.of(prediction[:1], target[:1]).matrix
    compare(one, wanted, {}, "Right for a batch. Of one mask, (H, W), it counts other pixels.")
    return "True classes in rows, ignored pixels left out."


# The program of exercise 5, with two faults.
FAULTY = """\
def score(model, loader):
    scores = []
    with torch.no_grad():
        for images, masks in loader:
            logits = model(images)
            predictions = logits.argmax(dim=1)
            matrix = confusion(predictions, masks)
            scores.append(class_iou(matrix).nanmean())
    return torch.stack(scores).mean()"""


@exercise("05.5")
def repaired_score(repair: dict[int, str]) -> str:
    """The mIoU of a network over a loader, from a program that computes something else."""

    def counted(prediction: Tensor, target: Tensor) -> Tensor:
        in_a_row = (part.reshape(1, 1, -1) for part in (prediction, target))  # of any shape
        return ConfusionMatrix.of(*in_a_row).matrix

    names = {"torch": torch, "confusion": counted, "class_iou": iou}
    score = function_of(repaired(FAULTY, repair), names)
    convolution, norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
    model = nn.Sequential(convolution, norm)
    with torch.no_grad():  # so that each class is predicted somewhere
        convolution.weight.copy_(torch.eye(3)[:, :, None, None])
    images, masks = torch.rand(12, 3, 6, 6), torch.randint(3, (12, 6, 6))
    masks[:4], masks[:, 0] = 0, IGNORE_INDEX  # batches differ in their classes
    model(images)  # statistics that differ from those of any batch

    def batches(size: int) -> list[tuple[Tensor, Tensor]]:
        return [*zip(images.split(size), masks.split(size), strict=True)]

    def wanted() -> float:
        with torch.no_grad():
            prediction = copy.deepcopy(model).eval()(images).argmax(dim=1)
        return ConfusionMatrix.of(prediction, masks).mean_iou()

    def scored(size: int) -> float:
        mine = copy.deepcopy(model).train()  # as training leaves it
        modes: list[bool] = []
        mine.register_forward_hook(lambda *_: modes.append(mine.training))
        value = number(score(mine, batches(size)))
        refuse(any(modes), "The network is scored in train() mode: what is it left in?")
        return value

    values = [scored(size) for size in (4, 12, 5)]
    varying = not close(torch.tensor(values), torch.tensor(values[:1]).expand(3))
    depends = f"In batches of 4 it is {values[0]:.3f}, of 12 {values[1]:.3f}: what is averaged?"
    refuse(varying, depends)
    compare(values[0], wanted(), {}, "It is the same for all batches, and not the mIoU.")

    # The last class neither there nor predicted.
    masks[masks == 2] = 1
    with torch.no_grad():
        norm.bias[2] = -100
    absent = "Right if all classes occur. One neither there nor predicted counts in no mean."
    compare(scored(5), wanted(), {}, absent)
    return "One matrix, in eval() mode; the size of the batches no longer matters."


@exercise("05.4")
def shifted_iou(function: Callable[[int], float]) -> str:
    """The IoU of a square of n px that is predicted one pixel aside."""
    sizes = (2, *torch.randint(3, 60, (4,)).tolist())
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
    matrix = torch.randint(1, 20, (3, 3)) + torch.diag(torch.tensor([200, 20, 100]))
    matrix[0, 1] += 60  # more true than predicted of the first class, whose IoU is the highest
    value, values = number(ask(function, matrix.clone())), iou(matrix)
    true, predicted = (matrix.double().sum(dim=k) / matrix.sum() for k in (1, 0))
    slips = {
        "That is the plain mean: every class weighs a third.": values.mean(),
        "The weights are those of the predicted pixels, not the true ones.": predicted @ values,
        "Weights that sum to 1 ask for a sum, not for a mean.": (true * values).mean(),
    }
    otherwise = "The weights are fractions of all true pixels, so they sum to 1."
    compare(value, true @ values, slips, otherwise)

    matrix[2], matrix[:, 2] = 0, 0  # a class that is neither there nor predicted
    value, weights = number(ask(function, matrix.clone())), matrix.sum(dim=1) / matrix.sum()
    absent = (
        "Right while all classes occur. One that does not has IoU NaN and weight 0: leave it out."
    )
    compare(value, weights[:2].double() @ iou(matrix)[:2], {}, absent)
    return "No class counts for more than it covers, and an absent one not at all."
