"""Checks for notebook 01: trimaps, class balance, baselines."""

from collections.abc import Callable

from helpers.data import Pairs
from helpers.metrics import ConfusionMatrix
from helpers.teaching.checks.verdict import (
    Hint,
    Unanswered,
    ask,
    compare,
    exercise,
    number,
    refuse,
    tensor,
)

import numpy as np
import torch
from torch import Tensor


@exercise("01.3")
def all_pet(function: Callable[[Tensor], float]) -> str:
    """The mIoU of "pet everywhere", from the classes' fractions of the pixels."""
    for _ in range(3):
        fractions = drawn_fractions()
        pet = fractions[0].item()
        value = number(ask(function, fractions.clone()))
        slips = {
            "That is its accuracy. What is the IoU of the other two classes?": pet,
            "Two of three classes are never predicted. Do they count in the mean?": 1,
        }
        otherwise = "If all is called pet, what is the intersection with the true pet, the union?"
        compare(value, pet / 3, slips, otherwise)
    return f"With {pet:.0%} of the pixels it is {value:.3f}."


@exercise("01.1")
def to_labels(function: Callable[[np.ndarray], Tensor]) -> str:
    """Class indices from a trimap, ValueError for values that are not 1, 2 or 3."""
    drawn = torch.cat([torch.arange(1, 4), torch.randint(1, 4, (9,))])  # each value occurs
    trimap = drawn.reshape(3, 4).numpy().astype(np.uint8)
    labels = tensor(ask(function, trimap.copy()), (3, 4))
    refuse(labels.min() == 1, "Your labels begin at 1; class indices begin at 0.")
    mixed_up = labels.tolist() != (trimap - 1).tolist()
    refuse(mixed_up, "The three classes are mixed up: the order stays, pet first, border last.")
    other = labels.dtype != torch.int64
    refuse(other, f"The values are right. Does cross_entropy take the type {labels.dtype}?")

    for bad in (0, 4, 255):
        try:
            ask(function, np.array([[1, bad]], dtype=np.uint8))
        except ValueError as error:
            unnamed = str(bad) not in str(error)
            refuse(unnamed, f"A trimap with {bad} raises a ValueError that does not name it.")
        except (Hint, Unanswered):
            raise
        except Exception as error:
            kind = type(error).__name__
            raise Hint(f"For a trimap with {bad} it raises {kind}; asked is ValueError.") from error
        else:
            raise Hint(f"A trimap with the value {bad} passes without a ValueError.")

    for value in (1, 2, 3):  # the official ones without a pet have a 2 everywhere
        try:
            ask(function, np.full((2, 3), value, np.uint8))
        except ValueError as error:
            raise Hint(f"A trimap of {value} alone is valid, and raises a ValueError.") from error
    return "And a broken trimap cannot get past it."


@exercise("01.2")
def class_weights(function: Callable[[Tensor], Tensor]) -> str:
    """One weight for each class, so that all count alike."""
    for _ in range(3):
        fractions = drawn_fractions()
        weights = tensor(ask(function, fractions.clone()), (3,))
        wanted = 1 / (3 * fractions)
        average = (weights * fractions).sum()  # over all pixels; it should be 1
        slips = {
            "Frequent classes weigh most; it should be the reverse.": fractions * weights.sum(),
            f"The ratios are right, the scale is not: pixels weigh {average:.2f} on average.": (
                wanted * average
            ),
        }
        otherwise = "With twice the fraction, a class should have half the weight."
        compare(weights, wanted, slips, otherwise)
    return "Each class now contributes the same total weight."


@exercise("01.4")
def blind_guess(guess: Tensor, pairs: Pairs) -> str:
    """One mask for all images, blind to the photo, that beats the mean mask."""
    tensor(guess, tuple(pairs.masks.shape[1:]))
    found = set(guess.unique().tolist())
    beyond = not found <= {0, 1, 2}
    refuse(beyond, f"The mask should hold the classes 0, 1 and 2; it holds {sorted(found)[:5]}.")

    counts = torch.stack([(pairs.masks == c).sum(dim=0) for c in range(3)])
    guessed, of_mean = (
        ConfusionMatrix.of(mask.long().expand(len(pairs), -1, -1), pairs.masks)
        for mask in (guess, counts.argmax(dim=0))
    )
    mine, mean = guessed.mean_iou(), of_mean.mean_iou()
    scores = f"Its mIoU on trainval is {mine:.3f}, that of the mean mask {mean:.3f}."
    missing = [name for c, name in enumerate(pairs.class_names) if c not in found]
    both = zip(pairs.class_names, guessed.iou().tolist(), of_mean.iou().tolist(), strict=True)
    each = ", ".join(f"{name} {one:.2f} ({other:.2f})" for name, one, other in both)
    cause = f"IoU of each class, and in brackets the mean mask's: {each}. Which one is lost?"
    cause = f"It has no {' and no '.join(missing)}: IoU 0." if missing else cause
    refuse(mine <= mean, f"{scores} {cause}")
    return scores


def drawn_fractions() -> Tensor:
    """Of three classes, (3,), with none below 5 %."""
    drawn = 0.1 + torch.rand(3)
    return drawn / drawn.sum()
