"""Checks for notebook 04: step, epoch, mixed precision, the choice of an epoch, accumulation."""

import copy
from collections.abc import Callable, Sequence

from helpers.constants import IGNORE_INDEX
from helpers.inference import memory_format
from helpers.losses import cross_entropy
from helpers.teaching.checks.lines import function_of, in_order, repaired
from helpers.teaching.checks.verdict import (
    Hint,
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
        answer = ask(step, mine, optimizer, images.clone(), masks.clone())
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
    network, pictures, truths = toy()
    network.eval().to("meta")  # in eval() mode as validation leaves it, and not where batches are
    own = torch.optim.SGD(network.parameters(), 0.5)
    seen: list[tuple[bool, int, int]] = []
    places: set[str] = set()
    more: list[int] = []  # steps of the optimizer beside the one that is given
    own.register_step_pre_hook(lambda *_: more.append(1))

    def step(
        model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, masks: Tensor
    ) -> float:
        mixed = model is not network or optimizer is not own or (images.ndim, masks.ndim) != (4, 3)
        refuse(mixed, "The step takes model, optimizer, images and masks, in this order.")
        seen.append((model.training, len(images), len(masks)))
        places.update((images.device.type, masks.device.type))
        return float(len(seen) ** 2)

    batches = [(pictures[:6], truths[:6]), (pictures[6:], truths[6:])]
    try:
        result = ask(function, network, own, batches, step)
    except (RuntimeError, NotImplementedError) as error:
        other = "meta" in str(error)
        numbers = "Here a batch has shapes and no numbers: what looks at them is for the `step`"
        refuse(other, f"{numbers} that is given. Call it with the batch moved; it does the rest.")
        raise
    refuse(more, "The weights move once more than `step` moves them.")
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
    elsewhere = "Right where all is on one device. On a GPU: do both .to lines move the batch?"
    refuse(places != {"meta"}, elsewhere)
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


# The lines of exercise 3, as the notebook lists them.
LINES = {
    "A": "scaler.step(optimizer)",
    "B": "scaler.scale(loss).backward()",
    "C": "torch.nn.utils.clip_grad_norm_(model.parameters(), clip_norm)",
    "D": "with torch.autocast(\n"
    "    images.device.type, precision, enabled=precision is not None\n"
    "):\n"
    "    logits = model(images)",
    "E": "scaler.unscale_(optimizer)",
    "F": "loss = F.cross_entropy(logits.float(), masks, ignore_index=IGNORE_INDEX)",
    "G": "scaler.update()",
    "H": "optimizer.zero_grad()",
}
HEAD = "def mixed_step(model, optimizer, images, masks, precision, scaler, clip_norm=1.0):"
OUR_ORDER = "DFHBECAG"


def mixed_step(order: str) -> Callable[..., float]:
    """The step in mixed precision, with its lines in an order."""
    names = {"torch": torch, "F": nn.functional, "IGNORE_INDEX": IGNORE_INDEX}
    return function_of(in_order(order, LINES, HEAD, "return loss.item()"), names)


@exercise("04.3")
def mixed_order(order: str) -> str:
    """The order of the lines, by what the step does to the weights."""
    step = mixed_step(order)
    model, images, masks = toy()
    mine, theirs = copy.deepcopy(model), copy.deepcopy(model)
    optimizer, own = (torch.optim.SGD(network.parameters(), 0.5) for network in (mine, theirs))
    scaler, clip_norm = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=2), 0.1

    def after(first: str, second: str) -> bool:
        return order.upper().index(first) > order.upper().index(second)

    for _ in range(3):  # the scale doubles after the second step
        try:
            step(mine, optimizer, images, masks, None, scaler, clip_norm)
        except UnboundLocalError as error:
            raise Hint(f"{error}: which line makes it?") from None
        except (RuntimeError, AssertionError) as error:
            cleared = after("H", "B") and after("A", "H")
            refuse(cleared, "The gradients are cleared before the step could use them.")
            refuse(after("A", "G"), "update() chooses the next scale: it comes after the step.")
            raise Hint(f"The scaler stops with: {error}") from None
        own.zero_grad()
        cross_entropy(theirs(images), masks).backward()
        nn.utils.clip_grad_norm_(theirs.parameters(), clip_norm)
        own.step()

    got, wanted = moved(mine, model), moved(theirs, model)
    scaled = (
        "Gradients are clipped while they are still multiplied by the scale: all are too small."
    )
    early = "Clipping comes before backward: there is nothing yet to be clipped."
    refuse(not close(got, wanted) and after("B", "C"), early)
    refuse(not close(got, wanted) and after("E", "C"), scaled)
    refuse(not close(got, wanted) and after("C", "A"), "The weights move before they are clipped.")
    cleared = after("H", "B") and after("A", "H")
    refuse(not close(got, wanted) and cleared, "Gradients are cleared before the step uses them.")
    refuse(not close(got, wanted), "Not the steps that clipped gradients would make.")
    return "Scale, backward, unscale, clip, step, update."


# The program of exercise 4: it trains, chooses, and gives back something else.
FAULTY = """\
def train_and_choose(model, epochs, train_epoch, validate):
    best, scores = -1.0, []
    for epoch in range(epochs):
        train_epoch(model)
        scores.append(validate(model))
        if scores[-1] > best:
            best = scores[-1]
            weights = model.state_dict()
    model.load_state_dict(weights)
    return best"""


@exercise("04.4")
def repaired_choice(repair: dict[int, str]) -> str:
    """Training that ends with the weights of the best epoch, from a program that did not."""
    names = {"copy": copy, "torch": torch}
    train_and_choose = function_of(repaired(FAULTY, repair), names)

    for _ in range(3):
        scores = torch.rand(6).mul(0.8).tolist()
        best = 1 + int(np.argmax(scores[:-1]))
        scores[-1] = scores[best - 1] / 2  # so that the last epoch is not the best one
        model, epochs = nn.Linear(2, 2), 0

        def train_epoch(network: nn.Module) -> None:
            nonlocal epochs
            epochs += 1
            for p in network.parameters():
                p.data.fill_(float(epochs))

        def validate(network: nn.Module) -> float:
            return scores[int(next(network.parameters())[0].max()) - 1]  # noqa: B023

        result = number(train_and_choose(model, len(scores), train_epoch, validate))
        refuse(epochs != len(scores), f"Of {len(scores)} epochs it trains {epochs}.")
        compare(result, scores[best - 1], {}, "It does not return the best validation score.")
        holds = next(model.parameters()).max().item()
        wrong = f"The best epoch was {best}; at the end the network has the weights of epoch"
        kept = "Does what was kept stay as it was, and is it loaded into the `model` given?"
        refuse(holds != best, f"{wrong} {holds:.0f}. {kept}")
    return "state_dict() gives the tensors themselves, and training goes on to change them."


@exercise("04.5")
def accumulated_step(
    step: Callable[[nn.Module, torch.optim.Optimizer, Tensor, Tensor, int], object],
) -> str:
    """A step over parts of a batch, with the gradients of the whole."""
    for parts in (4, 2):
        step_in_parts(step, parts)
    return "The step of the whole batch. (Batch normalization still sees the parts alone.)"


def step_in_parts(
    step: Callable[[nn.Module, torch.optim.Optimizer, Tensor, Tensor, int], object], parts: int
) -> None:
    """Raise `Hint` unless a step over so many parts of eight images is that of all."""
    model, images, masks = toy()
    masks[-2:, 1:] = IGNORE_INDEX  # two images are ignored, but for a row: parts weigh differently
    masks[-2:, 0] = 1
    mine = copy.deepcopy(model)
    cross_entropy(mine(images), masks.clamp(max=2)).backward()  # left over from before

    sizes: list[int] = []
    backwards: list[int] = []
    mine.register_forward_pre_hook(lambda _module, inputs: sizes.append(len(inputs[0])))
    last = next(mine.parameters())
    last.register_post_accumulate_grad_hook(lambda _parameter: backwards.append(1))
    given = images.clone(), masks.clone()
    dots = step(mine, torch.optim.SGD(mine.parameters(), 0.5), *given, parts) is ...
    got = moved(mine, model)
    if dots and not got.any():
        raise Unanswered
    refuse(not got.any(), "The weights did not change.")
    most, held = max(sizes), len(images) // parts
    refuse(most > held, f"The network saw {most} images at once, and holds {held}.")
    wrong_parts = len(sizes) != parts
    refuse(wrong_parts, f"Of {parts} parts, the network saw {len(sizes)}: is `parts` used?")
    kept = len(backwards) < parts
    refuse(kept, "backward() of all parts at once holds them all in memory: call it for each.")
    otherwise = (
        "Not the step of the batch. When are gradients cleared, how often do weights move, what is"
        " the sum of each part divided by?"
    )
    compare(got, *right_and_slips(model, images, masks, parts), otherwise)


def right_and_slips(
    model: nn.Module, images: Tensor, masks: Tensor, parts: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """How far the step of the whole batch moves each weight, (P,), and likely wrong steps do."""

    def step_of(loss: Callable[[nn.Module], Tensor]) -> Tensor:
        network = copy.deepcopy(model)
        loss(network).backward()
        torch.optim.SGD(network.parameters(), 0.5).step()
        return moved(network, model)

    def sum_of_means(network: nn.Module) -> Tensor:
        pairs = zip(images.chunk(parts), masks.chunk(parts), strict=True)
        return torch.stack([cross_entropy(network(some), truth) for some, truth in pairs]).sum()

    def summed(network: nn.Module) -> Tensor:
        return cross_entropy(network(images), masks) * (masks != IGNORE_INDEX).sum()

    whole = step_of(lambda network: cross_entropy(network(images), masks))
    of_means = step_of(sum_of_means)
    return whole, {
        "The step is too long: gradients add up; the mean is over the whole batch.": of_means,
        "A mean of the parts' means: how many pixels that count has each part?": of_means / parts,
        "Nothing divides the sum.": step_of(summed),
        "It is divided twice: by the pixels, and by the parts.": whole / parts,
        "The sum is divided by all pixels. Those that are ignored do not count.": (
            step_of(lambda network: summed(network) / masks.numel())
        ),
        "The sum is divided by the number of images. The mean is over pixels.": (
            step_of(lambda network: summed(network) / len(images))
        ),
    }


def moved(network: nn.Module, start: nn.Module) -> Tensor:
    """How far each weight is from where it was at the start, (P,)."""
    pairs = zip(network.parameters(), start.parameters(), strict=True)
    return torch.cat([(after - before).detach().flatten() for after, before in pairs])


def toy() -> tuple[nn.Module, Tensor, Tensor]:
    """A tiny network without normalization, eight images, and masks with some ignored pixels."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 1))
    for p in model.parameters():
        p.data = torch.randn(p.shape) / 2
    masks = torch.randint(3, (8, 6, 6))
    masks[:, 0] = IGNORE_INDEX
    return model, torch.randn(8, 3, 6, 6), masks
