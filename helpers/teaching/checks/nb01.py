"""Checks for notebook 01: trimaps, class balance, baselines."""

from collections.abc import Callable

from helpers.constants import CLASS_NAMES
from helpers.data import Pairs
from helpers.metrics import ConfusionMatrix
from helpers.teaching.checks.verdict import Hint, ask, close, exercise, number, tensor

import numpy as np
import torch
from torch import Tensor


@exercise("01.1")
def all_pet(guess: float, masks: Tensor) -> str:
    """The mIoU of "pet everywhere"."""
    guess, share = number(guess), (masks == 0).double().mean().item()
    if abs(guess - share) < 0.02 < abs(guess - share / 3):
        raise Hint(
            "That is its accuracy. What is the IoU of the two classes that never occur in its"
            " answer?"
        )
    if abs(guess - share / 3) > 0.02:
        raise Hint(
            "If every pixel is called pet, what is the intersection with the true pet, and what"
            " the union?"
        )
    return f"It is {share / 3:.3f}."


@exercise("01.2")
def to_labels(function: Callable[[np.ndarray], Tensor]) -> str:
    """Class indices from a trimap, ValueError for values that are not 1, 2 or 3."""
    trimap = np.array([[1, 2, 3], [3, 2, 1]], dtype=np.uint8)
    labels = tensor(ask(function, trimap.copy()), (2, 3))
    if labels.min() == 1:
        raise Hint("Your labels begin at 1; class indices begin at 0.")
    if labels.tolist() != (trimap - 1).tolist():
        raise Hint("The three classes are mixed up: the order stays, pet first, border last.")
    if labels.dtype != torch.int64:
        raise Hint(
            f"The values are right. The type is {labels.dtype}; which one does cross_entropy take"
            " for indices?"
        )
    for bad in (0, 4, 255):
        try:
            ask(function, np.array([[1, bad]], dtype=np.uint8))
        except ValueError as error:
            if str(bad) not in str(error):
                raise Hint(
                    f"A trimap with {bad} raises a ValueError that does not name the value."
                ) from None
        else:
            raise Hint(f"A trimap with the value {bad} passes without a ValueError.")
    return "And a broken trimap cannot get past it."


@exercise("01.3")
def class_weights(function: Callable[[Tensor], Tensor]) -> str:
    """One weight for each class, so that all count alike."""
    for shares in (torch.tensor([0.5, 0.25, 0.25]), torch.tensor([0.3, 0.6, 0.1])):
        weights, wanted = tensor(ask(function, shares.clone()), (3,)), 1 / (3 * shares)
        if close(weights / weights.sum(), shares):
            raise Hint("Frequent classes weigh most here. It should be the reverse.")
        if close(weights / weights.sum(), wanted / wanted.sum()) and not close(weights, wanted):
            average = (weights * shares).sum()
            raise Hint(
                "The ratios are right, the scale is not: over all pixels the weights average to"
                f" {average:.2f}."
            )
        if not close(weights, wanted):
            raise Hint("With twice the share, a class should have half the weight.")
    return "Each class now contributes the same total weight."


@exercise("01.4")
def blind_guess(guess: Tensor, pairs: Pairs) -> str:
    """One mask for all images, blind to the photo, that beats the mean mask."""
    tensor(guess, tuple(pairs.masks.shape[1:]))
    found = set(guess.unique().tolist())
    if not found <= {0, 1, 2}:
        raise Hint(f"The mask should hold the classes 0, 1 and 2; it holds {sorted(found)}.")
    counts = torch.stack([(pairs.masks == c).sum(dim=0) for c in range(3)])
    confusions = []
    for answer in (guess.long(), counts.argmax(dim=0)):
        confusions.append(ConfusionMatrix())
        confusions[-1].update(answer.expand(len(pairs), -1, -1), pairs.masks)
    mine, mean = (confusion.mean_iou() for confusion in confusions)
    if mine <= mean:
        missing = [name for c, name in enumerate(CLASS_NAMES) if c not in found]
        cause = (
            f" It has no {' and no '.join(missing)}: IoU 0."
            if missing
            else " Is the shape too large or small?"
        )
        raise Hint(f"Its mIoU on trainval is {mine:.3f}, that of the mean mask {mean:.3f}.{cause}")
    return f"Its mIoU on trainval is {mine:.3f}, that of the mean mask {mean:.3f}."
