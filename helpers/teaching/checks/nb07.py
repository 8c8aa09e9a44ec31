"""Checks for notebook 07: comparing runs."""

import math
from collections.abc import Callable, Sequence
from dataclasses import fields
from statistics import mean
from typing import Any

from helpers.studies.experiments import Experiment
from helpers.teaching.checks.verdict import ask, ask_two, close, compare, exercise, number, refuse


@exercise("07.1")
def spread_of_difference(guess: float) -> str:
    """The standard deviation of the difference of two runs."""
    slips = {
        "That is the deviation of one run. Both runs had luck of their own.": 0.01,
        "Deviations do not add up; variances do.": 0.02,
        "That is the mean difference. How far from it are single differences?": 0,
    }
    otherwise = "The variance of a difference of independent numbers is the sum of their variances."
    compare(number(guess), 0.01 * 2**0.5, slips, otherwise, near=3e-4)
    return "So a difference of single runs is noisier than either run."


@exercise("07.2")
def effect_of(
    function: Callable[[Sequence[float], Sequence[float], float], tuple[float, float]],
) -> str:
    """An effect and its standard error."""
    scores, baseline, luck = [0.62, 0.64, 0.63, 0.61], [0.60, 0.61], 0.01
    result = ask_two(function, [*scores], [*baseline], luck, what="the effect, its standard error")
    effect, error = map(number, result)
    wanted = mean(scores) - mean(baseline)
    slips = {"The sign is the other way around: a higher score is a positive effect.": -wanted}
    compare(effect, wanted, slips, "The effect is the difference of two means.")
    single = "That is the error for single runs. With more runs, a mean gets more certain."
    otherwise = "Each mean has the variance luck**2 / n, with its own n; the variances add up."
    compare(error, luck * (1 / 4 + 1 / 2) ** 0.5, {single: luck * 2**0.5}, otherwise)
    return "With more seeds the error shrinks, slowly."


@exercise("07.3")
def seeds_needed(function: Callable[[float, float], int]) -> str:
    """The number of seeds that shows an effect."""
    for effect, luck in ((0.010, 0.010), (0.020, 0.007), (0.005, 0.012)):
        n, exact = number(ask(function, effect, luck)), 18 * (luck / effect) ** 2
        wanted = math.ceil(exact - 1e-6)
        half = "That many are enough for the error of one mean. Both settings have luck."
        slips = {half: math.ceil(exact / 2), f"{n:.2f} seeds? Which way do you round?": exact}
        cause = "too few" if n < wanted else "more than it takes"
        otherwise = f"For an effect of {effect} and a luck of {luck}, {n:.0f} seeds are {cause}."
        compare(n, wanted, slips, otherwise)
    return "To prove half the effect, you need four times the runs."


@exercise("07.4")
def both_changes(experiment: Any) -> str:
    """An `Experiment` with two changes."""
    kind = type(experiment).__name__
    refuse(not isinstance(experiment, Experiment), f"An Experiment is asked for, not {kind}.")
    default = Experiment()
    changed = {
        f.name for f in fields(default) if getattr(experiment, f.name) != getattr(default, f.name)
    }
    for name, what in (("fraction", "the number of pairs"), ("augment", "the augmentation")):
        refuse(name not in changed, f"It does not change {what}.")
    extra = ", ".join(sorted(changed - {"fraction", "augment"}))
    refuse(extra, f"It also changes {extra}: then you cannot tell what the effect came from.")
    refuse(experiment.augment != "none", 'No augmentation is augment="none".')
    other = not close(experiment.fraction, 0.5)
    refuse(other, f"It trains on {experiment.fraction:.0%} of the pairs.")
    return "Run it, and compare it with both single changes."
