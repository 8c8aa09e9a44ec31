"""Checks for notebook 07: comparing runs."""

import math
from collections.abc import Callable
from copy import deepcopy
from itertools import combinations
from statistics import mean, pstdev, stdev
from typing import Any

from helpers.studies.statistics import paired_difference
from helpers.teaching.checks.verdict import Hint, ask, ask_three, compare, exercise, number, refuse

import torch
from scipy.stats import t as student


@exercise("07.1")
def paired_effect(function: Callable[..., tuple[float, float, float]]) -> str:
    """The effect of a setting and its interval, from the seeds that both settings share."""
    for runs in (7, 5):  # of which two have no partner
        seeds = torch.randperm(50)[:runs].tolist()
        luck, effects = torch.rand(runs) / 5, 0.02 + torch.randn(runs) / 100
        effects[-1] = -0.01
        baseline = {s: 0.6 + float(u) for s, u in zip(seeds, luck, strict=True)}
        scores = {s: baseline[s] + float(e) for s, e in zip(seeds, effects, strict=True)}
        del baseline[seeds[0]], scores[seeds[1]]  # runs that were never made
        scores = dict(sorted(scores.items()))  # in another order than the baseline's

        what = "the effect, its low and its high end"
        result = ask_three(function, dict(scores), dict(baseline), what=what)
        mine = torch.tensor([number(part) for part in result], dtype=torch.float64)
        shared = [s for s in seeds if s in scores and s in baseline]
        differences = [scores[s] - baseline[s] for s in shared]
        wanted = paired_difference(differences, [0.0] * len(shared))

        unpaired = mean(scores.values()) - mean(baseline.values())
        slips = {
            "The sign: a higher score is a positive effect.": -wanted.mean,
            "These are means over different seeds. Which seeds have both?": unpaired,
        }
        compare(mine[0], wanted.mean, slips, "That is not the mean of the paired differences.")
        refuse(mine[1] > mine[2], "The low end lies above the high one.")
        ends = torch.tensor([wanted.low, wanted.high], dtype=torch.float64)
        wrong = {
            hint: torch.tensor([wanted.mean - h, wanted.mean + h], dtype=torch.float64)
            for hint, h in wrong_halves(differences).items()
        }
        compare(mine[1:], ends, wrong, "The effect is right, its interval is not.")
    return "The luck that both runs of a seed share is gone."


def wrong_halves(differences: list[float]) -> dict[str, float]:
    """By hint, half of an interval that is wrong in the way which the hint explains."""
    n, spread = len(differences), stdev(differences)
    return {
        "1.96 is the normal distribution's. With few seeds, Student's t is wider.": (
            1.96 * spread / n**0.5
        ),
        "That is how single differences spread. The mean is more certain.": (
            student.ppf(0.975, n - 1) * spread
        ),
        "np.std and pstdev divide by n. A sample's deviation divides by n - 1: ddof=1.": (
            student.ppf(0.975, n - 1) * pstdev(differences) / n**0.5
        ),
        "The degrees of freedom are one less than the pairs.": (
            student.ppf(0.975, n) * spread / n**0.5
        ),
        "Each end leaves out 2.5 %, so the quantile is that of 0.975.": (
            student.ppf(0.95, n - 1) * spread / n**0.5
        ),
        "4.30 is for three pairs. How many are there here?": (
            round(student.ppf(0.975, 2), 2) * spread / n**0.5
        ),
    }


@exercise("07.2")
def seeds_needed(function: Callable[[float, float], int]) -> str:
    """The number of seeds that shows an effect."""
    for _ in range(10):
        effect, luck = (torch.rand(2) * 0.005 + torch.tensor([0.005, 0.01])).tolist()
        n, exact = number(ask(function, effect, luck)), 18 * (luck / effect) ** 2
        wanted = math.ceil(exact - 1e-6)
        half = "That many are enough for the error of one mean. Both settings have luck."
        slips = {half: math.ceil(exact / 2), f"{n:.2f} seeds? Which way do you round?": exact}
        cause = "too few" if n < wanted else "more than it takes"
        otherwise = (
            f"For an effect of {effect:.4f} and a luck of {luck:.4f}, {n:.0f} seeds are {cause}."
        )
        compare(n, wanted, slips, otherwise)
    return "To prove half the effect, you need four times the runs."


@exercise("07.3")
def fair_pairs(function: Callable[[list[dict], str], Any]) -> str:
    """The pairs of runs that differ in one setting, and share all others and the seed."""
    choices = {"loss": ("ce", "ce+dice"), "size": (64, 128), "augment": ("none", "default")}
    for setting in choices:
        runs = [
            {key: values[int(torch.randint(2, ()))] for key, values in choices.items()}
            | {"seed": int(torch.randint(2, ())), "miou": int(torch.randint(3, ())) / 10}
            for _ in range(14)
        ]
        first, second = choices[setting]
        other = second if runs[0][setting] == first else first
        runs[-1] = runs[0] | {setting: other}  # the last run has a partner
        others = [key for key in ("seed", *choices) if key != setting]
        wanted = {
            (i, j)
            for i, j in combinations(range(len(runs)), 2)
            if runs[i][setting] != runs[j][setting]
            and all(runs[i][key] == runs[j][key] for key in others)
        }
        given = deepcopy(runs)
        answer = ask(function, given, setting)
        try:
            found = {tuple(sorted(map(int, pair))) for pair in answer}
        except (TypeError, ValueError):
            raise Hint("Return pairs (i, j) of positions in `runs`, from 0 on.") from None
        refuse(given != runs, "It changes the runs that it was given: work on a copy.")
        places = all(len(pair) == 2 and 0 <= pair[0] < pair[1] < len(runs) for pair in found)
        refuse(not places, f"Return pairs (i, j) of two positions, 0 to {len(runs) - 1}.")

        # The first pair that is wrong, or missing, with its reason.
        for i, j in sorted(found - wanted):
            pair = f"You pair run {i} and run {j}"
            refuse(runs[i][setting] == runs[j][setting], f"{pair}: their {setting} is the same.")
            also = next(key for key in others if runs[i][key] != runs[j][key])
            raise Hint(f"{pair}: they differ in {also}, too.")
        for i, j in sorted(wanted - found):
            raise Hint(f"Run {i} and run {j} differ in {setting} alone, and you leave them out.")
    return "Whatever else differs could be the cause just as well."
