"""Checks for notebook 06: predictions and their errors."""

import functools
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from helpers.teaching.checks.lines import function_of, repaired
from helpers.teaching.checks.verdict import (
    ask,
    ask_three,
    ask_two,
    close,
    compare,
    exercise,
    number,
    refuse,
    tensor,
)

import torch
from torch import Tensor, nn


@exercise("06.3")
def overconfidence(function: Callable[..., tuple[Any, Any, Any]]) -> str:
    """Mean confidence minus accuracy, with its interval over images."""
    count, times = 40, 10_000
    # Images differ: pixels of one image are not independent. Of some, it is not sure enough.
    hard = torch.rand(count, 1, 1) - 0.2
    confidence = 0.5 + 0.25 * (torch.rand(count, 1, 1) + torch.rand(count, 12, 12))
    right = torch.rand(count, 12, 12) < confidence - 0.5 * hard
    seed = int(torch.randint(10**6, ()))
    generator = torch.Generator().manual_seed(seed)

    def ask_for(times: int) -> list[float]:
        what = "the difference, its low and its high end"
        given = confidence.clone(), right.clone(), generator
        return [*map(number, ask_three(function, *given, times, what=what))]

    middle, low, high = ask_for(times)

    # The difference itself, then the ends, which may come from other draws than ours.
    gap = confidence.double().mean(dim=(1, 2)) - right.double().mean(dim=(1, 2))
    sign = {"The sign: above 0 should mean too sure of itself.": -gap.mean()}
    otherwise = "That is not mean confidence minus accuracy, without draws."
    compare(middle, gap.mean(), sign, otherwise, near=1e-4)
    rows = torch.randint(count, (times, count), generator=torch.Generator().manual_seed(seed))
    right_ends(torch.tensor([low, high], dtype=gap.dtype), confidence, right, rows)

    draws_used(ask_for, [middle, low, high], times)
    generator.manual_seed(seed)
    other = ask_for(times) != [middle, low, high]
    refuse(other, "The same seed gave another interval: what does torch.randint draw with?")
    return "An interval that holds 0 says: this may be luck of the images."


def right_ends(mine: Tensor, confidence: Tensor, right: Tensor, rows: Tensor) -> None:
    """Raise `Hint` unless two ends (2,) are those of the means of these rows of images."""
    sure, hits = (part.double().mean(dim=(1, 2)) for part in (confidence, right))
    gap = sure - hits
    pixels = (confidence - right.float()).flatten()
    of_pixels = pixels.std().item() / len(pixels) ** 0.5

    def ends(level: float) -> Tensor:
        tail = (1 - level) / 2
        cuts = torch.tensor([tail, 1 - tail], dtype=gap.dtype)
        return gap[rows].mean(dim=1).quantile(cuts)

    wanted = ends(0.95)
    width, near = float(mine.diff()), float(wanted.diff()) * 0.04
    refuse(width < 0, "The low end lies above the high one.")
    cuts = torch.tensor([0.025, 0.975], dtype=gap.dtype)
    one_number = (sure - hits.mean())[rows].mean(dim=1).quantile(cuts)
    fixed = close(mine, one_number, near) and not close(mine, wanted, near)
    nearer = (mine - one_number).abs().max() < (mine - ends(0.90)).abs().max()
    refuse(fixed and nearer, "The accuracy, too, is a number of each image: draw both together.")
    single = abs(width - 3.92 * of_pixels) < 0.2 * 3.92 * of_pixels
    narrow = "Far too narrow: pixels were drawn, and not images, or the quantiles are too near 0.5."
    refuse(single, narrow)
    spread = 3.92 * float(gap.std())
    refuse(width > 0.5 * spread, "That is the spread of single images, not of their mean.")
    slips = {"That is a 90 % interval: 5 % lie beyond each end.": ends(0.90)}
    otherwise = "Which quantiles leave out 5 % in all? And is each draw the mean of as many images?"
    compare(mine, wanted, slips, otherwise, near=near)


def draws_used(answer: Callable[[int], list[float]], found: list[float], times: int) -> None:
    """Raise `Hint` unless `times` and the generator decide what is drawn, and only for the ends.

    Args:
        answer: the three numbers for so many draws, with the generator as it then is.
        found: what it gave for `times` draws.
    """
    first, low, high = answer(1)
    apart = low != high
    refuse(apart, "With times=1 there is one draw, and both ends are it: is `times` used?")
    not_all = not close(first, found[0])
    refuse(not_all, "The difference itself is that of all images, without draws.")
    same = answer(times)[1:] == found[1:]
    refuse(same, "The generator was further on, and the interval the same: is it used?")


@exercise("06.1")
def found_errors(function: Callable[[Tensor, Tensor, int], tuple[float, float]]) -> str:
    """Of planted errors, the fraction found among the most suspicious, and that by chance."""
    for _ in range(3):
        count, looked = 40, int(torch.tensor([11, 13])[torch.randint(2, ())])
        errors = int(torch.tensor([5, 7])[torch.randint(2, ())])  # primes: no two slips agree
        # By rank in suspicion: one planted error is the last that is looked at, one the next, and
        # none is among the least suspicious.
        loss, found = torch.rand(count), int(torch.randint(1, errors - 2, ()))
        above, below = torch.randperm(looked - 1)[:found], torch.randperm(count - 2 * looked - 1)
        below = below[: errors - 2 - found] + looked + 1
        planted = torch.zeros(count, dtype=torch.bool)
        ranks = torch.cat([above, torch.tensor([looked - 1, looked]), below])
        planted[loss.argsort(descending=True)[ranks]] = True
        what = "the recall, and that by chance"
        answer = ask_two(function, loss.clone(), planted.clone(), looked, what=what)
        recall, chance = map(number, answer)
        top, bottom = (loss.argsort(descending=d)[:looked] for d in (True, False))
        hits, total = planted[top].sum().item(), int(planted.sum())
        slips = {
            "That is precision: of those that you looked at. Recall: of those planted.": (
                hits / looked
            ),
            "The least suspicious were looked at: a high loss is suspicious.": (
                planted[bottom].sum().item() / total
            ),
            "That is a number of masks. Asked is a fraction.": hits,
        }
        slips = {hint: wrong for hint, wrong in slips.items() if wrong != hits / total}
        compare(recall, hits / total, slips, "Not the fraction of the planted that was looked at.")
        slips = {"That is the fraction planted. How much of all is looked at?": total / count}
        otherwise = "Whoever looks at a random tenth of the masks finds a tenth of the errors."
        compare(chance, looked / count, slips, otherwise)
    return "A hunt is worth its time if the first number is far above the second."


@exercise("06.2")
def largest_piece(function: Callable[[Tensor], Tensor]) -> str:
    """A prediction of which only the largest connected pet (with its border) is left."""
    given = torch.ones(12, 16, dtype=torch.int64)
    given[2:8, 2:8], given[3:7, 3:7] = 2, 0  # a pet with its border, the largest piece
    given[2:8, 11:15] = 0  # a pet without border: more pet pixels than above, fewer in all
    given[10, 3] = 2  # a crumb
    shift = int(torch.randint(0, 2, ()))  # of all of it, so that no place is known
    given = given.roll(shift, dims=0)
    cleaned = given.clone()
    cleaned[2 + shift : 8 + shift, 11:15] = cleaned[10 + shift, 3] = 1

    for turned in ((), (0, 1), (0, 1)):  # so that another piece is numbered first
        result = tensor(ask(function, given.flip(turned)), (12, 16)).flip(turned)
        refuse(torch.equal(result, given), "Nothing was removed.")
        refuse((result == 1).all(), "Everything was removed.")
        crumb = result[10 + shift, 3]
        refuse(crumb == 2, "A single border pixel, far from everything, is still there.")
        refuse(crumb == 0, "What is removed becomes background, and that is class 1.")
        right, left = result[2 + shift : 8 + shift, 11:15], result[3 + shift : 7 + shift, 3:7]
        wrong_one = (right == 0).any() and (left == 1).any()
        refuse(wrong_one, "The wrong piece was kept: pet and border together make a piece.")
        otherwise = "The largest piece stays as it is, border included; the rest is background."
        compare(result, cleaned, {}, otherwise)
        if turned:
            given[10 + shift, 3] = 1  # for the last time, two pieces without a crumb

    single = torch.ones(6, 6, dtype=torch.int64)
    single[2:4, 1:5] = 0
    otherwise = "A prediction of a single piece should stay as it is."
    compare(ask(function, single.clone()), single, {}, otherwise)

    empty = torch.ones(4, 4, dtype=torch.int64)
    otherwise = "A prediction that is all background should stay so."
    compare(ask(function, empty.clone()), empty, {}, otherwise)
    return "Whether it helps, only the validation pairs can say."


# The program of exercise 4, with a fault.
FAULTY = """\
def maps_of(network, image):
    kept, hooks = {}, []
    for name, layer in network.named_children():
        def keep(_layer, _inputs, output):
            kept[name] = output[0]
        hooks.append(layer.register_forward_hook(keep))
    with torch.inference_mode():
        network(image[None])
    for hook in hooks:
        hook.remove()
    return kept"""


@exercise("06.4")
def repaired_hooks(repair: dict[int, str]) -> str:
    """Every layer's output under its own name, from a program that keeps one."""
    program = repaired(FAULTY, repair)
    maps_of = function_of(program, {"torch": torch, "functools": functools})
    depth = int(torch.randint(3, 6, ()))
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    for k in range(depth):  # whose names are not their numbers
        parts[f"part{(k + 1) % depth}"] = nn.Conv2d(3, 3, 1)
    network = nn.Sequential(parts).eval()
    image = torch.rand(3, 4, 5)

    kept = maps_of(network, image.clone())
    refuse(any(layer._forward_hooks for layer in network), "A hook is left in the network.")
    names = [name for name, _ in network.named_children()]
    found = f"Kept is {', '.join(map(str, kept)) or 'nothing'} of the layers {', '.join(names)}"
    refuse({*kept} != {*names}, f"{found}. When is `name` looked up in `keep`?")
    x = image[None]
    for name, layer in network.named_children():
        x = layer(x).detach()
        refuse(not close(kept[name], x[0]), f"Under {name} is not the output (C, H, W) of it.")
    return "A default value is looked up when the function is made, a name when it is called."
