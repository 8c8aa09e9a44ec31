"""Checks for notebook 04: the loss, the training step, the choice of an epoch."""

import copy
import math
from collections.abc import Callable

from helpers.constants import IGNORE_INDEX
from helpers.losses import cross_entropy
from helpers.teaching.checks.verdict import Hint, Unanswered, ask, close, exercise, number

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@exercise("04.1")
def training_step(step: Callable[[nn.Module, torch.optim.Optimizer, Tensor, Tensor], float]) -> str:
    """One step of training: the loss, and weights that have moved as they should."""
    model, images, masks = toy()
    mine, theirs = copy.deepcopy(model), copy.deepcopy(model)
    optimizers = [torch.optim.SGD(network.parameters(), lr=0.5) for network in (mine, theirs)]

    for k in range(3):
        answer = ask(step, mine, optimizers[0], images, masks)
        logits = theirs(images)
        loss = cross_entropy(logits, masks)
        optimizers[1].zero_grad()
        loss.backward()
        optimizers[1].step()

        # First what it returns, then what it did to the weights.
        if isinstance(answer, Tensor) and answer.requires_grad:
            raise Hint(
                "It returns a tensor that keeps the whole graph in memory. How do you get the"
                " plain number?"
            )
        if not close(number(answer), loss.item()):
            softmax_twice = cross_entropy(logits.softmax(dim=1), masks).item()
            if k == 0 and close(number(answer), softmax_twice):
                raise Hint("The loss is that of a softmax too many: cross_entropy takes logits.")
            raise Hint(
                f"The loss of step {k + 1} is {number(answer):.4f}, and should be"
                f" {loss.item():.4f}."
            )
        pairs = zip(mine.parameters(), model.parameters(), strict=True)
        if all(torch.equal(a, b) for a, b in pairs):
            raise Hint("The loss is right, and the weights did not change.")
        pairs = zip(mine.parameters(), theirs.parameters(), strict=True)
        if not all(close(a, b) for a, b in pairs):
            raise Hint(
                "The first step is not the one asked for: are loss, backward and step in this"
                " order?"
                if k == 0
                else "The first step is right, a later one is not: what is left over from the step"
                " before?"
            )
    return "Three steps in a row give the weights that they should."


@exercise("04.2")
def first_loss(guess: float) -> str:
    """The first loss of a network that knows nothing."""
    guess = number(guess)
    if close(guess, math.log(37), 5e-3):
        return "The truth does not matter, only the number of classes."
    if close(guess, math.log(3), 5e-3):
        raise Hint("That is for three classes.")
    if close(guess, 1 / 37, 5e-3):
        raise Hint(
            "That is the probability which each class gets. The loss is minus its logarithm."
        )
    if close(guess, math.log2(37), 5e-3) or close(guess, math.log10(37), 5e-3):
        raise Hint("Right idea, another logarithm: cross-entropy takes the natural one.")
    raise Hint(
        "What probability does the true class get from a network that knows nothing about 37"
        " classes?"
    )


@exercise("04.3")
def best_epoch(function: Callable[[dict[str, list[float]]], int]) -> str:
    """The epoch with the best validation mIoU, counted from 1."""
    history = {
        "train_loss": [1.0, 0.8, 0.6, 0.5, 0.3],
        "val_loss": [1.1, 0.7, 0.9, 1.0, 1.2],
        "val_miou": [0.30, 0.50, 0.55, 0.60, 0.58],
    }
    answer = number(ask(function, copy.deepcopy(history)))
    causes = {
        3: "Lists count from 0, epochs from 1.",
        2: "That epoch has the lowest validation loss. This series keeps the one with the best"
        " validation mIoU.",
        5: "That is the last epoch, or the one with the lowest training loss.",
    }
    if answer != 4:
        raise Hint(causes.get(int(answer), "That is not the epoch with the best validation mIoU."))
    return "It is chosen by validation, and nothing else."


@exercise("04.4")
def accumulated_step(
    step: Callable[[nn.Module, torch.optim.Optimizer, Tensor, Tensor, int], None],
) -> str:
    """A step over parts of a batch, with the gradients of the whole."""
    model, images, masks = toy()
    masks[-2:, 1:] = IGNORE_INDEX  # two images are ignored, but for a row: parts weigh differently
    masks[-2:, 0] = 1
    mine = copy.deepcopy(model)
    F.cross_entropy(mine(images), masks.clamp(max=2)).backward()  # left over from before

    sizes: list[int] = []
    mine.register_forward_pre_hook(lambda _module, inputs: sizes.append(len(inputs[0])))
    if step(mine, torch.optim.SGD(mine.parameters(), lr=0.5), images, masks, 4) is ...:  # type: ignore[func-returns-value]
        raise Unanswered

    def moved(by: nn.Module) -> Tensor:
        pairs = zip(by.parameters(), model.parameters(), strict=True)
        return torch.cat([(after - before).detach().flatten() for after, before in pairs])

    def step_of(loss: Callable[[nn.Module], Tensor]) -> Tensor:
        network = copy.deepcopy(model)
        loss(network).backward()
        torch.optim.SGD(network.parameters(), lr=0.5).step()
        return moved(network)

    def sum_of_means(network: nn.Module) -> Tensor:
        parts = zip(images.chunk(4), masks.chunk(4), strict=True)
        return torch.stack([cross_entropy(network(some), truth) for some, truth in parts]).sum()

    got = moved(mine)
    if not got.any():
        raise Hint("The weights did not change.")
    if max(sizes) > len(images) // 4:
        raise Hint(f"The network saw {max(sizes)} images at once, and holds {len(images) // 4}.")
    if close(got, step_of(sum_of_means), 1e-4):
        raise Hint("The step is too long: gradients add up, and the mean is over the whole batch.")
    if close(got, step_of(sum_of_means) / 4, 1e-4):
        raise Hint(
            "It is the step of the mean of the parts' means. Two of these images are ignored,"
            " but for a row: how many pixels does each part count?"
        )
    if not close(got, step_of(lambda network: cross_entropy(network(images), masks)), 1e-4):
        raise Hint(
            "The step is not that of the whole batch. When are gradients cleared, and how often do"
            " weights move?"
        )
    return "The same step as with the whole batch, in a quarter of the memory."


def toy() -> tuple[nn.Module, Tensor, Tensor]:
    """A tiny network without normalization, eight images, and masks with some ignored pixels."""
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 1))
    for p in model.parameters():
        p.data = torch.randn(p.shape, generator=generator) / 2
    masks = torch.randint(3, (8, 6, 6), generator=generator)
    masks[:, 0] = IGNORE_INDEX
    return model, torch.randn(8, 3, 6, 6, generator=generator), masks
