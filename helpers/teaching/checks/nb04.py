"""Checks for notebook 04: the loss, the training step, the choice of an epoch."""

import copy
import math
from collections.abc import Callable

from helpers.constants import IGNORE_INDEX
from helpers.losses import cross_entropy
from helpers.teaching.checks.verdict import (
    Unanswered,
    ask,
    close,
    compare,
    exercise,
    number,
    refuse,
)

import torch
from torch import Tensor, nn


@exercise("04.1")
def training_step(step: Callable[[nn.Module, torch.optim.Optimizer, Tensor, Tensor], float]) -> str:
    """One step of training: the loss, and weights that have moved as they should."""
    model, images, masks = toy()
    mine, theirs = copy.deepcopy(model), copy.deepcopy(model)
    optimizer, own = (torch.optim.SGD(network.parameters(), 0.5) for network in (mine, theirs))

    for k in range(3):
        answer = ask(step, mine, optimizer, images, masks)
        logits = theirs(images)
        loss = cross_entropy(logits, masks)
        own.zero_grad()
        loss.backward()
        own.step()

        # First what it returns, then what it did to the weights.
        graph = isinstance(answer, Tensor) and answer.requires_grad
        refuse(graph, "Your tensor keeps the whole graph in memory. How do you get the number?")
        twice = cross_entropy(logits.softmax(dim=1), masks).item()
        slips = {"The loss is that of a softmax too many: cross_entropy takes logits.": twice}
        found = f"The loss of step {k + 1} is {number(answer):.4f}"
        compare(number(answer), loss.item(), slips, f"{found}, and should be {loss.item():.4f}.")
        refuse(not moved(mine, model).any(), "The loss is right, and the weights did not change.")
        causes = [
            "The first step is not the one asked for: are loss, backward and step in this order?",
            "The first step is right, a later one is not: what is left over from the step before?",
        ]
        refuse(not close(moved(mine, model), moved(theirs, model)), causes[k > 0])
    return "Three steps in a row give the weights that they should."


@exercise("04.2")
def first_loss(guess: float) -> str:
    """The first loss of a network that knows nothing."""
    slips = {
        "That is for three classes.": math.log(3),
        "That is the probability of each class. The loss is minus its logarithm.": 1 / 37,
        "Right idea, another logarithm: cross-entropy takes the natural one.": math.log2(37),
        "Right idea, but cross-entropy takes the natural logarithm.": math.log10(37),
    }
    otherwise = "Which probability does the true class get, if nothing is known about 37 classes?"
    compare(number(guess), math.log(37), slips, otherwise, near=0.02)
    return "The truth does not matter, only the number of classes."


@exercise("04.3")
def best_epoch(function: Callable[[dict[str, list[float]]], int]) -> str:
    """The epoch with the best validation mIoU, counted from 1."""
    history = {
        "train_loss": [1.0, 0.8, 0.6, 0.5, 0.3],
        "val_loss": [1.1, 0.7, 0.9, 1.0, 1.2],
        "val_miou": [0.30, 0.50, 0.55, 0.60, 0.58],
    }
    slips = {
        "Lists count from 0, epochs from 1.": 3,
        "That epoch has the lowest validation loss. Kept is the best validation mIoU.": 2,
        "That is the last epoch, or the one with the lowest training loss.": 5,
    }
    otherwise = "That is not the epoch with the best validation mIoU."
    compare(number(ask(function, copy.deepcopy(history))), 4, slips, otherwise)
    return "It is chosen by validation, and nothing else."


@exercise("04.4")
def accumulated_step(
    step: Callable[[nn.Module, torch.optim.Optimizer, Tensor, Tensor, int], object],
) -> str:
    """A step over parts of a batch, with the gradients of the whole."""
    model, images, masks = toy()
    masks[-2:, 1:] = IGNORE_INDEX  # two images are ignored, but for a row: parts weigh differently
    masks[-2:, 0] = 1
    mine = copy.deepcopy(model)
    cross_entropy(mine(images), masks.clamp(max=2)).backward()  # left over from before

    sizes: list[int] = []
    mine.register_forward_pre_hook(lambda _module, inputs: sizes.append(len(inputs[0])))
    if step(mine, torch.optim.SGD(mine.parameters(), 0.5), images, masks, 4) is ...:
        raise Unanswered

    def step_of(loss: Callable[[nn.Module], Tensor]) -> Tensor:
        network = copy.deepcopy(model)
        loss(network).backward()
        torch.optim.SGD(network.parameters(), 0.5).step()
        return moved(network, model)

    def sum_of_means(network: nn.Module) -> Tensor:
        parts = zip(images.chunk(4), masks.chunk(4), strict=True)
        return torch.stack([cross_entropy(network(some), truth) for some, truth in parts]).sum()

    got, of_means = moved(mine, model), step_of(sum_of_means)
    refuse(not got.any(), "The weights did not change.")
    most, held = max(sizes), len(images) // 4
    refuse(most > held, f"The network saw {most} images at once, and holds {held}.")
    slips = {
        "The step is too long: gradients add up; the mean is over the whole batch.": of_means,
        "A mean of the parts' means: how many pixels that count has each part?": of_means / 4,
    }
    otherwise = "Not the step of the batch. When are gradients cleared, how often do weights move?"
    whole = step_of(lambda network: cross_entropy(network(images), masks))
    compare(got, whole, slips, otherwise)
    return "The same step as with the whole batch, in a quarter of the memory."


def moved(network: nn.Module, start: nn.Module) -> Tensor:
    """How far each weight is from where it was at the start, (P,)."""
    pairs = zip(network.parameters(), start.parameters(), strict=True)
    return torch.cat([(after - before).detach().flatten() for after, before in pairs])


def toy() -> tuple[nn.Module, Tensor, Tensor]:
    """A tiny network without normalization, eight images, and masks with some ignored pixels."""
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 1))
    for p in model.parameters():
        p.data = torch.randn(p.shape, generator=generator) / 2
    masks = torch.randint(3, (8, 6, 6), generator=generator)
    masks[:, 0] = IGNORE_INDEX
    return model, torch.randn(8, 3, 6, 6, generator=generator), masks
