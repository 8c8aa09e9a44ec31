"""Checks for notebook 04: the training step, the epoch, the choice of one, accumulation."""

import copy
from collections.abc import Callable, Sequence

from helpers.constants import IGNORE_INDEX
from helpers.inference import memory_format
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

import numpy as np
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


def our_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, masks: Tensor
) -> float:
    """What notebook 04 goes on with where exercise 1 has not passed."""
    loss = cross_entropy(model(images), masks)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


Step = Callable[[nn.Module, torch.optim.Optimizer, Tensor, Tensor], float]


@exercise("04.2")
def train_epoch(
    function: Callable[[nn.Module, torch.optim.Optimizer, Sequence, Step], float],
) -> str:
    """One pass over a loader: each batch a step, in train() mode, and the mean loss of a sample."""
    model, images, masks = toy()
    model.eval()  # as validation leaves it
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    seen: list[tuple[bool, int, int]] = []

    def step(
        network: nn.Module, given: torch.optim.Optimizer, some: Tensor, truth: Tensor
    ) -> float:
        mixed = network is not model or given is not optimizer
        refuse(mixed, "The step takes model, optimizer, images and masks, in this order.")
        seen.append((network.training, len(some), len(truth)))
        return float(len(seen) ** 2)

    batches = [(images[:6], masks[:6]), (images[6:], masks[6:])]
    result = ask(function, model, optimizer, batches, step)
    refuse(len(seen) != 2, f"Of two batches, your epoch made {len(seen)} steps.")
    training, sizes, of_masks = zip(*seen, strict=True)
    refuse(not all(training), "The network is in eval() mode, where validation left it.")
    parts = f"A step saw {sizes[0]} images and {of_masks[0]} masks of a batch of 6."
    refuse(sizes != (6, 2) or of_masks != (6, 2), parts)
    slips = {
        "That is the mean over batches. The second one had two samples, the first one six.": 2.5,
        "That is the sum of the losses.": 5,
        "That is the loss of the last batch.": 4,
    }
    compare(number(result), 1.75, slips, "That is not the mean loss of a sample.")
    return "Every sample counts as much as any other."


def our_epoch(
    model: nn.Module, optimizer: torch.optim.Optimizer, loader: Sequence, step: Step
) -> float:
    """What notebook 04 goes on with where exercise 2 has not passed."""
    device = next(model.parameters()).device
    losses, sizes = [], []
    model.train()
    for images, masks in loader:
        images = images.to(device, memory_format=memory_format(device))
        losses.append(step(model, optimizer, images, masks.to(device)))
        sizes.append(len(images))
    return float(np.average(losses, weights=sizes))


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
