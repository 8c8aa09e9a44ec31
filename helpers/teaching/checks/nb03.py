"""Checks for notebook 03: the blocks of a U-Net."""

from collections.abc import Callable

import helpers.model
from helpers.teaching.checks.verdict import (
    Unanswered,
    ask,
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


@exercise("03.1")
def double_conv(block: type[nn.Module]) -> str:
    """DoubleConv: convolution, normalization, ReLU, twice."""
    mine, theirs = build(block, 3, 16), helpers.model.DoubleConv(3, 16)
    x = torch.rand(2, 3, 12, 20)
    same_shape(ask(mine, x), (2, 16, 12, 20), "padding")
    surplus = parameters(mine) - parameters(theirs)
    refuse(surplus == 2 * 16, "32 parameters too many: a bias that the normalization takes away.")
    bare = surplus == -2 * 2 * 16
    refuse(bare, "Two convolutions are there. What follows each of them, before the nonlinearity?")
    cause = "are both ReLUs there, and in which order do the three layers come, each time?"
    same_values(mine, theirs, (x,), cause)
    fixed = parameters(build(block, 4, 6)) != parameters(helpers.model.DoubleConv(4, 6))
    refuse(fixed, "DoubleConv(4, 6): are both arguments used, or are numbers typed in?")
    return f"It has {parameters(mine):,} parameters."


@exercise("03.2")
def up(block: type[nn.Module]) -> str:
    """Up: a step up, the skip, and DoubleConv."""
    mine, x, skip = build_up(block)
    theirs = helpers.model.Up(12, 4)
    sees_both = any(p.shape[1:] == (8, 3, 3) for p in mine.parameters())
    added = parameters(mine) < parameters(theirs) and not sees_both
    refuse(added, "The first 3x3 convolution should see the channels of both. Were they added?")
    cause = "which comes first in torch.cat, the skip or the tensor from below?"
    same_values(mine, theirs, (x, skip), cause)
    return "What comes from below and what comes from the side are mixed by the convolutions."


@exercise("03.3")
def unet(network: type[nn.Module]) -> str:
    """The whole network, compared with `helpers.model.UNet` on the same weights."""
    mine, images = build(network), torch.rand(2, 3, 32, 48)
    logits = ask(mine, images)
    same_shape(logits, (2, 3, 32, 48), "one value for each class at every pixel")

    # Likely slips first, then the values.
    refuse_activation(logits)
    for name in ("downs", "ups"):
        plain = isinstance(getattr(mine, name, None), list | tuple)
        refuse(plain, f"PyTorch finds no layers in {name}, a plain list. Use nn.ModuleList.")
    cause = "is the skip that is used last the one that was kept first?"
    same_values(mine, helpers.model.UNet(), (images,), cause)

    small, theirs = build(network, 1, 2, 4, 2), helpers.model.UNet(1, 2, 4, 2)
    unused = "UNet(1, 2, 4, 2): are all four arguments used?"
    refuse(parameters(small) != parameters(theirs), f"Too many or too few parameters in {unused}")
    same_shape(ask(small, images[:, :1]), (2, 2, 32, 48), unused)
    return f"It has {parameters(mine):,} parameters and gives the same logits as the helper's."


@exercise("03.4")
def receptive_field(function: Callable[[int, int, int], tuple[int, int]]) -> str:
    """The first and the last pixel that a logit depends on, with kernels of any odd size."""

    def walk(depth: int, reach: int, position: int) -> tuple[int, int]:
        low = high = position
        for _ in range(depth):
            low, high = (low - reach) // 2, (high + reach) // 2
        low, high = low - reach, high + reach
        for _ in range(depth):
            low, high = 2 * low - reach, 2 * high + 1 + reach
        return low, high

    ends = ((1, 6), (0, 4), (100, 200))
    drawn = [[int(torch.randint(*two, ())) for two in ends] for _ in range(5)]
    # The first tells slips apart: on its way down, it is odd below 0, where int() is not //.
    for depth, half, position in [(5, 3, int(torch.randint(30, 58, ()))), *drawn]:
        kernel = 1 + 2 * half
        answer = ask_two(function, depth, kernel, position, what="the first pixel, the last one")
        first, last = map(number, answer)
        right = walk(depth, kernel - 1, position)
        case = f"depth {depth}, kernel {kernel}, position {position}"
        hints = {
            "A block has two convolutions.": walk(depth, kernel // 2, position),
            "A kernel of 3 reaches one pixel to each side, not three.": (
                walk(depth, 2 * kernel, position)
            ),
            "The kernel does not enter: is it still 3 everywhere?": walk(depth, 2, position),
        }
        slips = {hint: torch.tensor(wrong) for hint, wrong in hints.items()}
        otherwise = f"For {case} you say {first:.0f} to {last:.0f}, not {right[0]} to {right[1]}."
        compare(torch.tensor([first, last]), torch.tensor(right), slips, otherwise)
    return "A kernel of 5 reaches twice as far as one of 3 at every level."


@exercise("03.5")
def without_skip(function: Callable[[nn.Module, Tensor, int], Tensor]) -> str:
    """The logits of a network of which one skip is replaced by its means."""
    for depth in (2, 4):  # even, so that no level is the middle one
        for level in range(depth):
            without_one(function, depth, level)
    return "What the skip says on the average is still there; where it says it is gone."


def without_one(
    function: Callable[[nn.Module, Tensor, int], Tensor], depth: int, level: int
) -> None:
    """Raise `Hint` for wrong logits of a network of this depth without the skip of this level."""
    network, images = helpers.model.UNet(base_channels=4, depth=depth), torch.rand(2, 3, 32, 48)
    images[1] *= 5  # unlike the other one
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0  # one pass suffices, so that every level is heard
    network(images)
    network.eval()

    def cut(replace: Callable[[Tensor], Tensor], *levels: int) -> Tensor:
        x, skips = network.stem(images), []
        for number_, down in enumerate(network.downs):
            skips.append(replace(x) if number_ in levels else x)
            x = down(x)
        for up in network.ups:
            x = up(x, skips.pop())
        return network.head(x)

    def mean(dims: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
        return lambda x: x.mean(dim=dims, keepdim=True).expand_as(x)

    with torch.no_grad():
        logits = network(images)
        answer = tensor(ask(function, network, images.clone(), level), tuple(logits.shape))
        changed = not torch.equal(network(images), logits)
        refuse(changed, "Afterwards the network gives other logits: is a hook left in it?")
        everywhere = tuple(range(depth))
        slips = {
            "No skip was replaced: these are the network's own logits.": logits,
            "The skip is zero. Asked are its means, channel by channel.": (
                cut(torch.zeros_like, level)
            ),
            "One mean for all channels: each has its own.": cut(mean((1, 2, 3)), level),
            "The mean is over the images, too: one image must not see another.": (
                cut(mean((0, 2, 3)), level)
            ),
            "All skips are replaced.": cut(mean((2, 3)), *everywhere),
            "Another level: 0 is the stem's, at full resolution.": (
                cut(mean((2, 3)), depth - 1 - level)
            ),
        }
        right = cut(mean((2, 3)), level)
        slips = {hint: wrong for hint, wrong in slips.items() if not close(wrong, right)}
        otherwise = "Not the logits with the means of this one skip, and all else as it was."
        compare(answer.detach(), right, slips, otherwise)


@exercise("03.6")
def additive_up(block: type[nn.Module], count: Callable[[int, int], int]) -> str:
    """Up with addition in place of concatenation, and how many parameters that saves."""
    mine, x, skip = build_up(block)
    saved, nothing = parameters(helpers.model.Up(12, 4)) - parameters(mine), torch.zeros_like(skip)
    refuse(not saved, "It has as many parameters as Up: twice the channels are still convolved.")

    # What the first convolution gets, with and without the skip.
    inside: list[Tensor] = []
    first = next(module for module in mine.modules() if isinstance(module, nn.Conv2d))
    hook = first.register_forward_pre_hook(lambda _module, inputs: inside.append(inputs[0].clone()))
    mine(x, skip), mine(x, nothing)
    hook.remove()
    added = torch.allclose(inside[0] - inside[1], skip, atol=1e-5)
    refuse(not added, "What the first convolution gets is not the upsampled tensor plus the skip.")

    cause = "with a skip of zeros, it should be an Up without skips"
    same_values(mine, helpers.model.Up(12, 4, skips=False), (x, nothing), cause)

    # Without skips, the blocks have the parameters of blocks that add.
    for depth in (2, 3, 4):
        channels = int(torch.randint(2, 9, ()))
        networks = (
            helpers.model.UNet(base_channels=channels, depth=depth, skips=skips)
            for skips in (True, False)
        )
        concatenating, adding = map(parameters, networks)
        wanted, level = concatenating - adding, 9 * channels**2
        slips = {
            "That is one step up. There is one for each level.": level,
            "That has one weight for each pair of channels: how large is a window?": wanted / 9,
            "The bottleneck has no step up: there are `depth` of them.": wanted + level * 4**depth,
            "That is what is left over, not what is saved.": adding,
        }
        of = f"UNet(base_channels={channels}, depth={depth}) saves {wanted:,}"
        compare(number(ask(count, channels, depth)), wanted, slips, f"The block is right. {of}.")
    return "The sum is as wide as one of its parts, so the first convolution has half the weights."


def build(make: Callable[..., nn.Module], *args: int) -> nn.Module:
    """An answer's module; a class that still has dots is not answered yet."""
    module = make(*args)
    if any(part is ... for part in vars(module).values()):
        raise Unanswered
    empty = not list(module.parameters())
    refuse(empty, "No parameters: are the layers attributes, or arguments of super().__init__?")
    return module


def build_up(block: type[nn.Module]) -> tuple[nn.Module, Tensor, Tensor]:
    """A step up from 12 to 4 channels, in eval() mode, and what it gets from below and beside."""
    mine, x, skip = build(block, 12, 4), torch.rand(2, 12, 6, 10), torch.rand(2, 4, 12, 20)
    cause = "does `up` double height and width, and does `conv` come last?"
    same_shape(ask(mine, x, skip), (2, 4, 12, 20), cause)
    unused = torch.equal(mine.eval()(x, skip), mine(x, torch.zeros_like(skip)))
    refuse(unused, "The output does not depend on the skip.")
    return mine, x, skip


def parameters(module: nn.Module) -> int:
    """The number of trainable values."""
    return sum(p.numel() for p in module.parameters())


def same_shape(output: Tensor, wanted: tuple[int, ...], cause: str) -> None:
    """Raise `Hint` that names the first axis that differs."""
    refuse(not isinstance(output, Tensor), f"It returns a {type(output).__name__}, not a tensor.")
    shape = tuple(output.shape)
    refuse(len(shape) != len(wanted), f"The output is {shape}, and should be {wanted}: {cause}")
    axes = zip(("batch", "channels", "height", "width"), shape, wanted, strict=True)
    for axis, got, want in axes:
        refuse(got != want, f"The output's {axis} is {got}, and should be {want}: {cause}")


def refuse_activation(logits: Tensor) -> None:
    """Raise `Hint` if logits (N, C, H, W) went through a softmax or another activation."""
    no_negative, one = bool((logits >= 0).all()), torch.ones(())
    sums_to_one = no_negative and torch.allclose(logits.sum(dim=1), one, atol=1e-4)
    refuse(sums_to_one, "These are probabilities; the network should return logits.")
    refuse(no_negative, "No output is negative: is there a ReLU or a sigmoid after the head?")
    logarithms = torch.allclose(logits.exp().sum(dim=1), one, atol=1e-4)
    refuse(logarithms, "These are logarithms of probabilities; the network should return logits.")


def saved_buffers(network: nn.Module) -> int:
    """How many tensors of a state dict are no parameters."""
    return len(network.state_dict().keys() - dict(network.named_parameters()).keys())


def same_values(mine: nn.Module, theirs: nn.Module, inputs: tuple[Tensor, ...], cause: str) -> None:
    """Give both the same weights, by name if the names agree, else in order, and compare."""
    have, want = mine.state_dict(), theirs.state_dict()
    names = want.keys() if have.keys() == want.keys() else have.keys()
    pairs = [(have[name], value) for name, value in zip(names, want.values(), strict=False)]
    surplus = parameters(mine) - parameters(theirs)
    found = f"{abs(surplus):,} parameters {'too many' if surplus > 0 else 'missing'}"
    buffers = len(have) - len(want)
    if not surplus and buffers == saved_buffers(mine) - saved_buffers(theirs) != 0:
        found = f"buffers saved beyond those: {buffers} (persistent=False leaves one out)"
        found = found if buffers > 0 else f"{-buffers} buffers missing, such as a running mean"
    elif not surplus:
        found = (
            "there are as many parameters, but in other shapes, or not created in the order of use"
        )
    refuse(
        len(have) != len(want) or any(a.shape != b.shape for a, b in pairs),
        f"The output's shape is right, but the layers are not those asked for: {found}",
    )

    mine.load_state_dict(dict(zip(names, want.values(), strict=True)))
    for mode in (True, False):
        given = (part.clone() for part in inputs)
        same = torch.allclose(mine.train(mode)(*given), theirs.train(mode)(*inputs), atol=1e-5)
        refuse(not same, f"The shape is right, the values are not: {cause}")
