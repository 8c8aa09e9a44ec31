"""Checks for notebook 06: predictions and their errors."""

from collections.abc import Callable

from helpers.constants import IGNORE_INDEX
from helpers.teaching.checks.verdict import ask, compare, exercise, number, refuse, tensor

import torch
from torch import Tensor


@exercise("06.3")
def calibration_part(guess: float) -> str:
    """One bin's part of the expected calibration error."""
    slips = {
        "That is how far the bin is off. It holds a quarter of the pixels.": 0.12,
        "The sign does not matter: distances must not cancel.": -0.03,
    }
    otherwise = "How far is its confidence from what is right, and how much of all is in the bin?"
    compare(number(guess), 0.03, slips, otherwise, near=1e-3)
    return "A bin's distance counts by the fraction of pixels that fall into it."


@exercise("06.1")
def error_map(function: Callable[[Tensor, Tensor], Tensor]) -> str:
    """Where predictions are wrong, bool (N, H, W)."""
    target = torch.tensor([[[0, 1, 2, IGNORE_INDEX], [0, 0, 1, 1]]])
    prediction = torch.tensor([[[0, 2, 2, 1], [1, 0, 1, 0]]])
    errors = tensor(ask(function, prediction.clone(), target.clone()), (1, 2, 4)).bool()
    wanted = (prediction != target) & (target != IGNORE_INDEX)
    slips = {
        "True and False are swapped: errors should be True.": ~wanted,
        "A pixel that is to be ignored is called an error.": prediction != target,
    }
    marked = f"It marks {int(errors.sum())} pixels of the example"
    compare(errors, wanted, slips, f"{marked}; {int(wanted.sum())} are wrong.")
    return "Errors only, and none where there is no label."


@exercise("06.2")
def largest_piece(function: Callable[[Tensor], Tensor]) -> str:
    """A prediction of which only the largest connected pet (with its border) is left."""
    given = torch.ones(12, 16, dtype=torch.int64)
    given[2:8, 2:8], given[3:7, 3:7] = 2, 0  # a pet with its border, the largest piece
    given[2:8, 11:15] = 0  # a pet without border: more pet pixels than above, fewer in all
    given[10, 3] = 2  # a crumb
    cleaned, copy = given.clone(), given.clone()
    cleaned[2:8, 11:15] = cleaned[10, 3] = 1

    result = tensor(ask(function, copy), (12, 16))
    changed = not torch.equal(given, copy)
    refuse(changed, "Your function changes the tensor that it was given. Work on a clone.")
    refuse(torch.equal(result, given), "Nothing was removed.")
    refuse((result == 1).all(), "Everything was removed.")
    refuse(result[10, 3] != 1, "A single border pixel, far from everything, is still there.")
    wrong_one = (result[2:8, 11:15] == 0).any() and (result[3:7, 3:7] == 1).any()
    refuse(wrong_one, "The wrong piece was kept: pet and border together make a piece.")
    otherwise = "The largest piece stays as it is, border included; all else becomes background."
    compare(result, cleaned, {}, otherwise)

    empty = torch.ones(4, 4, dtype=torch.int64)
    otherwise = "A prediction that is all background should stay so."
    compare(ask(function, empty.clone()), empty, {}, otherwise)
    return "Whether it helps, only the validation pairs can say."


@exercise("06.4")
def sure_and_wrong(function: Callable[[Tensor, Tensor, Tensor, float], Tensor]) -> str:
    """For each image, the fraction of pixels that are sure and wrong."""
    confidence = torch.tensor([[[0.99, 0.99, 0.6, 0.5]], [[0.97, 0.4, 0.99, 0.99]]])
    prediction = torch.tensor([[[0, 1, 2, 1]], [[0, 1, 2, 1]]])
    target = torch.tensor([[[1, 1, 0, 1]], [[1, 0, 0, 1]]])
    found = tensor(ask(function, confidence, prediction, target, 0.95), (2,))
    wrong = (prediction != target).float()
    both = (confidence > 0.95) * wrong
    per_error = both.sum(dim=(1, 2)) / wrong.sum(dim=(1, 2))
    slips = {
        "These are all wrong pixels. Which was the network sure of?": wrong.mean(dim=(1, 2)),
        "That is a fraction of the errors; asked is the fraction of all its pixels.": per_error,
    }
    otherwise = "Asked is one fraction for each image, of pixels that are both sure and wrong."
    compare(found, both.mean(dim=(1, 2)), slips, otherwise)
    return "Now rank your images by it."
