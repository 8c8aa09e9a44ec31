from i4ex import *

nb = NB("07")
nb.objectives(
    [
        "to tell an effect from the luck of a seed",
        "to compare two settings fairly, with an error bar",
        "to say how many runs it takes to show an effect",
        "to plan an experiment that changes what it claims to change; and to say what skips, data, augmentation, size and pretraining are worth on this dataset",
    ]
)
nb.sub(
    "from helpers.data import CLASS_COLORS",
    "from helpers.checks import analysis as check\nfrom helpers.data import CLASS_COLORS",
)
nb.sub(
    "from helpers.source import find_dataset\n",
    "from helpers.quiz import quiz\nfrom helpers.source import find_dataset\n",
)
nb.exercises(
    "Each belongs to the objective with its number.",
    [
        (
            "predict first",
            "Runs of one setting have a standard deviation of 0.010. You run it twice, with two seeds, again and again. What is the standard deviation of the difference of the two scores?",
            "spread = ...",
            "check.spread_of_difference(spread)",
            """```python
spread = 0.010 * 2**0.5
```

Variances of independent numbers add up, for a difference as for a sum.""",
        ),
        (
            "an effect with its error",
            "Write the function that takes the scores of an experiment (a list, one per seed), those of the baseline, and the standard deviation `luck` of a single run. It returns the effect and its standard error. The two lists may have different lengths.",
            "def effect_of(scores, baseline, luck):\n    return ..., ...",
            "check.effect_of(effect_of)",
            """```python
def effect_of(scores, baseline, luck):
    return mean(scores) - mean(baseline), luck * (1 / len(scores) + 1 / len(baseline)) ** 0.5
```""",
        ),
        (
            "how many seeds",
            "The true effect of a setting is `effect`, the standard deviation of a single run `luck`. How many seeds of *each* of the two settings do you need, at least, for the standard error of the difference to be a third of the effect or less?",
            "def seeds_needed(effect, luck):\n    return ...",
            "check.seeds_needed(seeds_needed)",
            """```python
import math


def seeds_needed(effect, luck):
    return math.ceil(2 * (3 * luck / effect) ** 2 - 1e-9)


print(seeds_needed(0.010, luck), "seeds of each for an effect of 0.010")
```

The difference of two means over n seeds has the standard error luck · √(2/n). Set it to a third of the effect and solve for n. (The tiny number keeps a rounding error from costing a run.) Small effects are expensive to prove, which is why so many of them are believed instead.""",
        ),
        (
            "an open task: two changes at once",
            "Two changes that each help need not help together. Define the `Experiment` (of `helpers.experiments`) that trains on half of the pairs and without augmentation, and otherwise is the baseline. When the check agrees, run it and compare it with both single changes.",
            "both = ...",
            "check.both_changes(both)",
            """```python
from helpers.experiments import Experiment

both = Experiment(share=0.5, augment=False)
for name, experiment in (("both", both), ("1/2 of the pairs", None), ("no augmentation", None)):
    _, record = run_experiment(name, source, experiment, seed=SEED, epochs=2, progress=False)
    print(f"{name:<18} {record['val']['miou']:.3f}")
```

Two epochs show how it is done; for a result, take `EPOCHS` or more, and several seeds. If the effects simply added up, the change from both would be the sum of the two changes. The fewer the pairs, the more there is to gain from augmentation, given enough epochs. For other changes set `NAME` and run this notebook again: does the drawn dataset agree with the photographs? It need not. The drawn pets come from one program, so overfitting hurts less; and "pretrained on drawn pets" is no fair experiment on drawn pets, which those weights have seen.""",
        ),
    ],
    1,
    "analysis",
)
nb.quiz(
    [
        (
            "Network A scores 0.712, network B 0.719, one run each. Runs of one setting differ by 0.008 (standard deviation). What do you conclude?",
            [
                ("B is better.", 0, "The difference of two such runs has a standard deviation of 0.011."),
                ("Nothing yet: the difference is smaller than luck.", 1, "More seeds, or no claim."),
                (
                    "They are equally good.",
                    0,
                    "That was not shown, either. No evidence of a difference is no evidence of equality.",
                ),
            ],
        ),
        (
            "You compare two losses. What must be the same for both?",
            [
                ("The pairs, the number of steps, the schedule.", 1, "Otherwise you compare those, too."),
                ("The input size.", 1, "And the size at which it is scored."),
                ("The value of the loss at the end.", 0, "Two losses have two scales. Compare the score."),
                ("The list that it is scored on: validation.", 1, "The test list is not for choosing."),
            ],
        ),
        (
            "An effect of 0.020 takes 2 seeds of each to show. How many does one of 0.010 take, with the same luck?",
            [
                ("4", 0, "The error falls with the square root of n."),
                ("8", 1, "Half the effect, four times the runs."),
                ("2", 0, "The error stays, and the effect is half of it."),
            ],
        ),
        (
            "In runs of 30 epochs, augmentation lowered the score. What is the right conclusion?",
            [
                ("Leave augmentation out.", 0, "The run that matters is far longer."),
                (
                    "In runs of 30 epochs on these pairs, it lowers the score.",
                    1,
                    "Effects depend on length and data; measure at the length that you mean to use.",
                ),
                (
                    "The augmentation has a bug.",
                    0,
                    "It might, but this is no sign of one: a harder task takes longer to learn.",
                ),
            ],
        ),
    ]
)
nb.cells[nb.find('runs = {name: run_experiment(name, source')]['metadata'].setdefault('tags',[]).append('long')  # the grader leaves it out
nb.save()
