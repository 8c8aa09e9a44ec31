"""Checks for notebook 06: predictions and their errors."""

from collections.abc import Callable

from helpers.constants import IGNORE_INDEX
from helpers.teaching.checks.verdict import Hint, ask, close, exercise, number, tensor

import torch
from torch import Tensor


@exercise("06.1")
def calibration_part(guess: float) -> str:
    """One bin's part of the expected calibration error."""
    guess = number(guess)
    if close(guess, 0.03, 1e-3):
        return "A bin's distance counts by the share of pixels that fall into it."
    if close(guess, 0.12, 1e-3):
        raise Hint("That is how far the bin is off. It holds a quarter of the pixels.")
    if close(guess, -0.03, 1e-3):
        raise Hint("The sign does not matter: distances must not cancel.")
    raise Hint(
        "How far is the bin's confidence from its share of right pixels, and what share of all"
        " pixels is in it?"
    )


@exercise("06.2")
def error_map(function: Callable[[Tensor, Tensor], Tensor]) -> str:
    """Where answers are wrong, bool (N, H, W)."""
    truth = torch.tensor([[[0, 1, 2, IGNORE_INDEX], [0, 0, 1, 1]]])
    answers = torch.tensor([[[0, 2, 2, 1], [1, 0, 1, 0]]])
    errors = tensor(ask(function, answers.clone(), truth.clone()), (1, 2, 4)).bool()
    wanted = (answers != truth) & (truth != IGNORE_INDEX)
    if torch.equal(errors, ~wanted):
        raise Hint("True and False are swapped: errors should be True.")
    if torch.equal(errors, answers != truth):
        raise Hint("A pixel that is to be ignored is called an error.")
    if not torch.equal(errors, wanted):
        raise Hint(
            f"It marks {int(errors.sum())} pixels of the example; {int(wanted.sum())} are wrong."
        )
    return "Errors only, and none where there is no label."


@exercise("06.3")
def largest_piece(function: Callable[[Tensor], Tensor]) -> str:
    """An answer of which only the largest connected pet (with its border) is left."""
    answer = torch.ones(12, 16, dtype=torch.int64)
    answer[2:8, 2:8], answer[3:7, 3:7] = 2, 0  # a pet with its border, the largest piece
    answer[2:8, 11:15] = 0  # a pet without border: more pet pixels than above, fewer in all
    answer[10, 3] = 2  # a crumb
    cleaned = answer.clone()
    cleaned[2:8, 11:15] = cleaned[10, 3] = 1
    given = answer.clone()
    result = tensor(ask(function, given), (12, 16))
    if not torch.equal(given, answer):
        raise Hint("Your function changes the tensor that it was given. Work on a clone.")
    if torch.equal(result, answer):
        raise Hint("Nothing was removed.")
    if (result == 1).all():
        raise Hint("Everything was removed.")
    if result[10, 3] != 1:
        raise Hint("A single border pixel, far from everything, is still there.")
    if (result[2:8, 11:15] == 0).any() and (result[3:7, 3:7] == 1).any():
        raise Hint("The wrong piece was kept: pet and border together make a piece.")
    if not torch.equal(result, cleaned):
        raise Hint(
            "The largest piece should stay as it is, border included, and all else become"
            " background."
        )
    if not torch.equal(
        torch.as_tensor(ask(function, torch.ones(4, 4, dtype=torch.int64))), torch.ones(4, 4).long()
    ):
        raise Hint("An answer that is all background should stay so.")
    return "Whether it helps, only the validation pairs can say."


@exercise("06.4")
def sure_and_wrong(function: Callable[[Tensor, Tensor, Tensor, float], Tensor]) -> str:
    """For each image, the share of pixels that are sure and wrong."""
    confidence = torch.tensor([[[0.99, 0.99, 0.6, 0.5]], [[0.97, 0.4, 0.99, 0.99]]])
    answers = torch.tensor([[[0, 1, 2, 1]], [[0, 1, 2, 1]]])
    truth = torch.tensor([[[1, 1, 0, 1]], [[1, 0, 0, 1]]])
    shares = tensor(ask(function, confidence, answers, truth, 0.95), (2,))
    sure, wrong = (confidence > 0.95).float(), (answers != truth).float()
    if close(shares, wrong.mean(dim=(1, 2))):
        raise Hint("These are all wrong pixels. Which of them was the network sure of?")
    if close(shares, (sure * wrong).sum(dim=(1, 2)) / wrong.sum(dim=(1, 2))):
        raise Hint("That is the share of an image's errors; asked is the share of all its pixels.")
    if not close(shares, (sure * wrong).mean(dim=(1, 2))):
        raise Hint(
            "Expected for the example: one share for each image, of pixels that are both sure and"
            " wrong."
        )
    return "Now rank your images by it."
