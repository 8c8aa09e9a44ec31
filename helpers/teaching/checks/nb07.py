"""Checks for notebook 07: comparing runs."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from statistics import mean
from typing import Any

from helpers.studies.experiments import Experiment
from helpers.teaching.checks.verdict import Hint, ask, close, exercise, number


@exercise("07.1")
def spread_of_difference(guess: float) -> str:
    """The standard deviation of the difference of two runs."""
    guess = number(guess)
    if close(guess, 0.01 * 2**0.5, 3e-4):
        return "So a difference of single runs is noisier than either run."
    if close(guess, 0.01, 3e-4):
        raise Hint("That is the deviation of one run. Both runs had luck of their own.")
    if close(guess, 0.02, 3e-4):
        raise Hint("Deviations do not add up; variances do.")
    if close(guess, 0.0):
        raise Hint("That is the mean difference. How far from it are single differences?")
    raise Hint("The variance of a difference of independent numbers is the sum of their variances.")


@exercise("07.2")
def effect_of(
    function: Callable[[Sequence[float], Sequence[float], float], tuple[float, float]],
) -> str:
    """An effect and its standard error."""
    scores, baseline, luck = [0.62, 0.64, 0.63, 0.61], [0.60, 0.61], 0.01
    result = ask(function, list(scores), list(baseline), luck)
    if not isinstance(result, tuple) or len(result) != 2:
        raise Hint("Return two numbers: the effect and its standard error.")
    effect, error = map(number, result)
    wanted = mean(scores) - mean(baseline)
    if close(effect, -wanted):
        raise Hint(
            "The sign is the other way around: an experiment that scores more has a positive"
            " effect."
        )
    if not close(effect, wanted):
        raise Hint("The effect is the difference of two means.")
    if close(error, luck * 2**0.5):
        raise Hint("That is the error for single runs. With more runs, a mean gets more certain.")
    if not close(error, luck * (1 / 4 + 1 / 2) ** 0.5):
        raise Hint("Each mean has the variance luck**2 / n, with its own n; the variances add up.")
    return "With more seeds the error shrinks, slowly."


@exercise("07.3")
def seeds_needed(function: Callable[[float, float], int]) -> str:
    """The number of seeds that shows an effect."""
    for effect, luck in ((0.010, 0.010), (0.020, 0.007), (0.005, 0.012)):
        n, wanted = number(ask(function, effect, luck)), 18 * (luck / effect) ** 2
        whole = -(-wanted // 1) if abs(wanted - round(wanted)) > 1e-6 else round(wanted)
        if n == -(-wanted / 2 // 1):
            raise Hint("That many are enough for the error of one mean. Both settings have luck.")
        if abs(n - wanted) < 1e-6 and n != whole:
            raise Hint(f"{n:.2f} seeds cannot be run: which way do you round?")
        if n != whole:
            cause = "too few" if n < whole else "more than it takes"
            raise Hint(
                f"For an effect of {effect} and a luck of {luck}, {n:.0f} seeds of each are"
                f" {cause}."
            )
    return "To prove half the effect, you need four times the runs."


@exercise("07.4")
def both_changes(experiment: Any) -> str:
    """An `Experiment` with two changes."""
    if not isinstance(experiment, Experiment):
        raise Hint(f"An Experiment is asked for, not {type(experiment).__name__}.")
    default = Experiment()
    changed = {
        f.name for f in fields(default) if getattr(experiment, f.name) != getattr(default, f.name)
    }
    for name, what in (("fraction", "the number of pairs"), ("augment", "the augmentation")):
        if name not in changed:
            raise Hint(f"It does not change {what}.")
    if extra := changed - {"fraction", "augment"}:
        raise Hint(
            f"It also changes {', '.join(sorted(extra))}: then you cannot tell what the effect"
            " came from."
        )
    if not close(experiment.fraction, 0.5):
        raise Hint(f"It trains on {experiment.fraction:.0%} of the pairs.")
    return "Run it, and compare it with both single changes."
