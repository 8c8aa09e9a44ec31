"""Checks for notebook 10: groups, weights of classes, doubtful labels, tiles, errors of counts."""

from collections.abc import Callable, Sequence
from math import nan

from helpers.constants import IGNORE_INDEX
from helpers.studies.objects import group_errors
from helpers.teaching.checks.verdict import (
    ask,
    ask_two,
    close,
    compare,
    exercise,
    number,
    refuse,
    tensor,
)

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


@exercise("10.1")
def split_by_group(function: Callable[[Sequence[str], float, int], Sequence[bool]]) -> str:
    """Which images are held out, whole groups at a time."""
    # One name is a part of another: "dish 1" of "dish 10".
    letters = "AAAAABBBCCCCCCCDDEEEEFFFFFFGGGGHHHIIIIIJ"
    groups = [f"dish {1 + 'ABCDEFGHIJ'.index(letter)}" for letter in letters]
    order = torch.randperm(len(groups)).tolist()
    groups = [groups[i] for i in order]  # those of one group need not stand side by side
    sizes = {name: groups.count(name) for name in groups}
    renamed = [f"the {name}" for name in groups]  # in the same order, in a set mostly in another
    seen, of_names = set(), False

    for fraction, count in ((0.2, 2), (0.28, 3), (0.23, 2)):
        for seed in range(12):
            kept = list(groups)
            answer = ask(function, groups, fraction, seed)
            refuse(groups != kept, "It changes the list that it was given: work on a copy.")
            held_out = flags(answer, len(groups))
            chosen = {name for name, held in zip(groups, held_out, strict=True) if held}
            both = sum(held_out) < sum(sizes[name] for name in chosen)
            refuse(both, "A group stands on both sides: choose among the groups, not the images.")
            refuse(
                len(chosen) != count, f"It holds out {len(chosen)} of 10 groups, not {fraction:g}."
            )
            refuse(
                flags(ask(function, groups, fraction, seed), len(groups)) != held_out,
                "Called twice with one seed, it chooses others: use a generator with that seed.",
            )
            seen.add((count, frozenset(chosen)))
            of_names |= flags(ask(function, renamed, fraction, seed), len(groups)) != held_out

    refuse(len(seen) < 6, "Other seeds choose the same groups.")
    few = flags(ask(function, ["a", "a", "b", "b"], 0.1, 0), 4)
    refuse(not any(few), "Of two groups, a fraction of 0.1 holds out none: at least one is needed.")
    refuse(
        few not in ([True, True, False, False], [False, False, True, True]),
        "Of two groups, 0.1 is one, whole.",
    )
    half = sum(flags(ask(function, [*"abcdabcd"], 0.5, 0), 8))
    refuse(half != 4, f"Of four groups with two images each, half are four images, and not {half}.")
    doubt = " (Is it the order of a set? That changes at each start of Python: sort the names.)"
    return "Groups stay whole." + doubt * of_names


def flags(answer: Sequence[bool], count: int) -> list[bool]:
    """An answer as a list of so many truth values."""
    refuse(not hasattr(answer, "__len__"), "Return a list: it is read more than once.")
    values = answer.tolist() if isinstance(answer, Tensor | np.ndarray) else list(answer)
    refuse(len(values) != count, f"One value for each image: {count}, not {len(values)}.")
    values = [value.item() if isinstance(value, Tensor) else value for value in values]
    plain = all(isinstance(value, bool | np.bool_) for value in values)
    refuse(not plain, "The values are True (held out) or False.")
    return [bool(value) for value in values]


@exercise("10.2")
def class_weights(function: Callable[[Tensor, int], Tensor]) -> str:
    """Weights for the cross-entropy, with which every class weighs the same in all."""
    masks = torch.multinomial(torch.tensor([0.9, 0.08, 0.02]), 6 * 24 * 24, replacement=True)
    masks = masks.view(6, 24, 24)
    for classes, ignored, gone in (
        (3, False, None),
        (3, True, None),
        (4, True, None),
        (4, True, 1),
    ):
        given = masks.clone() if gone is None else masks.where(masks != gone, 3)
        if ignored:
            given[:, :5] = IGNORE_INDEX
        answer = tensor(ask(function, given.clone(), classes), (classes,)).double()
        counts = given[given != IGNORE_INDEX].bincount(minlength=classes).double()
        right = counts.sum() / (classes * counts)
        right[counts == 0] = 0
        refuse(answer[counts == 0].any(), "A class that does not occur has the weight 0.")
        slips = {
            "Pixels to be ignored count: leave them out first.": (
                right * given.numel() / counts.sum()
            ),
            "Those are the shares. A rare class should weigh more.": counts / counts.sum(),
            "Divide by the number of classes, too.": right * classes,
            "Divide by num_classes, also where a class does not occur.": (
                right * classes / (counts > 0).sum()
            ),
            "In the right proportion, but the mean over the pixels is not 1.": (
                right * (answer.sum() / right.sum())
            ),
        }
        rounded = [round(weight, 3) for weight in answer.tolist()]
        otherwise = f"From {counts.long().tolist()} pixels it makes {rounded}."
        compare(answer, right, slips, otherwise, near=1e-3)
    return "Summed over its pixels, each class now weighs the same."


@exercise("10.3")
def doubt(function: Callable[[Tensor, Tensor, int], Tensor]) -> str:
    """How sure a network is, over a window, that labels are wrong; the most of each image."""
    for classes, window, width in ((3, 7, 40), (4, 5, 52)):
        doubt_of(function, classes, window, width)
    return "A place counts where the labels of a whole window are doubtful."


def doubt_of(
    function: Callable[[Tensor, Tensor, int], Tensor], classes: int, window: int, width: int
) -> None:
    """Raise `Hint` for a wrong answer on images 40 px high."""
    logits = torch.randn(5, classes, 40, width) * 2
    masks = torch.randint(0, classes, (5, 40, width))
    # Of two corners nothing is known, but for the first image. Whatever class is put there, in one
    # of them it would be the most doubtful of all.
    for other, corner in ((1, slice(None, 9)), (2, slice(-9, None))):
        masks[1:, corner, corner] = IGNORE_INDEX
        logits[1:, other, corner, corner] = 5
    probabilities = logits.softmax(dim=1)
    valid = masks != IGNORE_INDEX

    def most(part: Tensor) -> Tensor:
        return F.avg_pool2d(part[:, None], window, stride=1).amax(dim=(1, 2, 3))

    # Of each pixel, if those to be ignored had a label, this one or that.
    of_labels = [probabilities.gather(1, masks.where(valid, k)[:, None])[:, 0] for k in range(3)]
    of_label = of_labels[0]
    wrong = (1 - of_label) * valid

    answer = ask(function, probabilities.clone(), masks.clone(), window)
    is_map = isinstance(answer, Tensor) and answer.ndim > 1
    refuse(is_map, "Return one number for each image: the largest of its windows.")
    slips = {
        "That is the largest single pixel. Take the mean over a window first.": wrong.amax((1, 2)),
        "That is the mean of each image: a small place is lost in it.": wrong.mean(dim=(1, 2)),
        "That is how sure it is of the labels. You want the opposite.": most(of_label * valid),
    }
    otherwise = "For each pixel 1 - the probability of its label, then a window's mean, then amax."
    answer = tensor(answer, (5,))
    too = any(close(answer, most(1 - part)) for part in of_labels)
    refuse(too, "Pixels to be ignored count: they should add 0.")
    compare(answer, most(wrong), slips, otherwise)


@exercise("10.4")
def tile_starts(function: Callable[[int, int, int], Sequence[int]]) -> str:
    """Where tiles begin along one side."""
    cases = [(512, 128, 32), (500, 128, 32), (128, 128, 0), (300, 64, 16), (430, 128, 32)]
    cases += [(225, 128, 32)]  # one pixel more than two tiles
    cases += [(int(torch.randint(200, 900, ())), 64, 16) for _ in range(5)]
    for length, tile, overlap in cases:
        starts = ask(function, length, tile, overlap)
        starts = starts.tolist() if isinstance(starts, Tensor | np.ndarray) else starts
        refuse(not isinstance(starts, Sequence), "Return a list of whole numbers.")
        whole = all(isinstance(start, int | np.integer) for start in starts)
        refuse(not whole, "The starts are whole numbers.")
        starts = [int(start) for start in starts]  # not of a class that says yes to everything
        case = f"length {length}, tile {tile}, overlap {overlap}"
        refuse(list(starts) != sorted(set(starts)), f"In order, and each once, please ({case}).")
        refuse(not starts or starts[0] != 0, f"The first tile begins at 0 ({case}).")
        outside = starts[-1] + tile > length
        refuse(
            outside, f"The last tile ends at {starts[-1] + tile}, outside of the image ({case})."
        )
        short = starts[-1] + tile < length
        refuse(short, f"The last tile ends at {starts[-1] + tile}: the rest is missing ({case}).")

        steps = np.diff(starts)
        refuse((steps > tile).any(), f"There are gaps between tiles ({case}).")
        little = (steps > tile - overlap).any()
        refuse(little, f"Some neighbors share less than {overlap} pixels ({case}).")
        need = -(-(length - tile) // (tile - overlap)) + 1
        refuse(len(starts) > need, f"{len(starts)} tiles, where {need} are enough ({case}).")
    return "Every pixel is seen, and neighbors share what you asked for."


@exercise("10.5")
def count_error(
    function: Callable[[Sequence[int], Sequence[int], Sequence[str]], tuple[float, float]],
) -> str:
    """The mean relative error of counts, and how it varies, over groups."""
    truth = (torch.rand(15) * 90 + 30).long().tolist()
    groups = [*"ABBCCCADDEEEEEF"]
    # Groups err to both sides, and the largest and the smallest group by far from the same: else a
    # slip could give what is right, or what another slip gives.
    errors_of = torch.tensor([-0.2, -0.25, 0.05, -0.3, 0.1, -0.2]) + torch.rand(6) * 0.05
    off = dict(zip("ABCDEF", errors_of.tolist(), strict=True))
    pairs = enumerate(zip(truth, groups, strict=True))
    found = [round(n * (1 + off[g])) + k % 3 for k, (n, g) in pairs]
    errors, of_group = np.array(found) / np.array(truth) - 1, group_errors(found, truth, groups)

    def both(values: np.ndarray, ddof: int = 1) -> Tensor:
        return torch.tensor([values.mean(), values.std(ddof=ddof)])

    what = "the mean error, and the standard deviation"
    answer = torch.tensor(
        [number(part) for part in ask_two(function, found, truth, groups, what=what)]
    )
    refuse(answer.isnan().any(), "NaN: is a list compared with a name? That is one False.")
    right = both(of_group)
    slips = {
        "These are over images, and those of one group err alike: average each group first.": (
            both(errors)
        ),
        "The mean is over images, the deviation over groups: use the groups for both.": (
            torch.stack([both(errors)[0], right[1]])
        ),
        "That is the standard error of the mean, not how far a new group is from it.": (
            right / torch.tensor([1, len(of_group) ** 0.5])
        ),
        "The deviation of a sample: divide by n - 1, not by n.": both(of_group, ddof=0),
        "You have left the signs out: too many here and too few there cancel in a mean count.": (
            both(np.abs(of_group))
        ),
        "The sign: too few is below 0, too many above.": right * torch.tensor([-1.0, 1.0]),
        "As a fraction, not in percent.": right * 100,
    }
    otherwise = "The error of an image is (found - true) / true. Then the mean of each group."
    if close(answer[0], right[0]):
        otherwise = "The mean is right. The deviation is that of the groups' means, of a sample."
    compare(answer, right, slips, otherwise)
    return "Now a count has an error that says what to expect of a new group."


# What the notebook goes on with where an answer has not passed. Its solutions are the same.


def our_split_by_group(groups: Sequence[str], fraction: float, seed: int) -> list[bool]:
    """Which images are held out: those of a fraction of the groups, at least of one."""
    names = sorted(set(groups))
    count = max(round(fraction * len(names)), 1)
    chosen = set(np.random.default_rng(seed).choice(names, count, replace=False))
    return [group in chosen for group in groups]


def our_class_weights(masks: Tensor, num_classes: int) -> Tensor:
    """Weights (num_classes,) of masks (N, H, W) with which each class weighs the same in all."""
    counts = masks[masks != IGNORE_INDEX].bincount(minlength=num_classes)
    return torch.where(counts > 0, counts.sum() / (num_classes * counts), 0.0)


def our_doubt(probabilities: Tensor, masks: Tensor, window: int) -> Tensor:
    """Of (N, C, H, W) and labels (N, H, W): the most doubtful window of each image, (N,)."""
    valid = masks != IGNORE_INDEX
    label = masks.where(valid, 0)
    wrong = (1 - probabilities.gather(1, label[:, None])) * valid[:, None]
    return F.avg_pool2d(wrong, window, stride=1).amax(dim=(1, 2, 3))


def our_tile_starts(length: int, tile: int, overlap: int) -> list[int]:
    """Where tiles begin along a side; the last one ends with it."""
    return [*range(0, length - tile, tile - overlap), length - tile]


def our_count_error(
    found: Sequence[int], truth: Sequence[int], groups: Sequence[str]
) -> tuple[float, float]:
    """The mean relative error over groups, and its standard deviation; NaN for one group."""
    errors = group_errors(found, truth, groups)
    return float(errors.mean()), float(errors.std(ddof=1)) if len(errors) > 1 else nan
