"""Checks for notebook 03: the blocks of a U-Net."""

from collections.abc import Callable

import helpers.model
from helpers.teaching.checks.verdict import Unanswered, ask, exercise, refuse

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
    cause = "in which order do convolution, normalization and ReLU come, each time?"
    same_values(mine, theirs, (x,), cause)
    return f"It has {parameters(mine):,} parameters."


@exercise("03.2")
def down(block: type[nn.Module]) -> str:
    """Down: pooling and DoubleConv."""
    mine, x = build(block, 4, 8), torch.rand(2, 4, 12, 20)
    same_shape(ask(mine, x), (2, 8, 6, 10), "what halves height and width?")
    cause = "does the DoubleConv see the pooled tensor? Is the largest of four kept?"
    same_values(mine, helpers.model.Down(4, 8), (x,), cause)
    return "Height and width are halved before anything else is computed."


@exercise("03.3")
def up(block: type[nn.Module]) -> str:
    """Up: a step up, the skip, and DoubleConv."""
    mine, x, skip = build_up(block)
    theirs = helpers.model.Up(8, 4)
    sees_both = any(p.shape[1:] == (8, 3, 3) for p in mine.parameters())
    added = parameters(mine) < parameters(theirs) and not sees_both
    refuse(added, "The first 3x3 convolution should see the channels of both. Were they added?")
    cause = "which comes first in torch.cat, the skip or the tensor from below?"
    same_values(mine, theirs, (x, skip), cause)
    return "What comes from below and what comes from the side are mixed by the convolutions."


@exercise("03.4")
def unet(network: type[nn.Module]) -> str:
    """The whole network, compared with `helpers.model.UNet` on the same weights."""
    mine, images = build(network), torch.rand(2, 3, 32, 48)
    logits = ask(mine, images)
    same_shape(logits, (2, 3, 32, 48), "one value for each class at every pixel")

    # Likely slips first, then the values.
    positive = bool((logits >= 0).all())
    sums_to_one = torch.allclose(logits.sum(dim=1), torch.ones(2, 32, 48), atol=1e-4)
    refuse(positive and sums_to_one, "These are probabilities; the network should return logits.")
    refuse(positive, "No output is negative: is there a ReLU after the head?")
    for name in ("downs", "ups"):
        plain = isinstance(getattr(mine, name, None), list | tuple)
        refuse(plain, f"PyTorch finds no layers in {name}, a plain list. Use nn.ModuleList.")
    cause = "is the skip that is used last the one that was kept first?"
    same_values(mine, helpers.model.UNet(), (images,), cause)

    small, theirs = build(network, 1, 2, 4, 2), helpers.model.UNet(1, 2, 4, 2)
    unused = "UNet(1, 2, 4, 2): are all four arguments used?"
    same_shape(ask(small, images[:, :1]), (2, 2, 32, 48), unused)
    refuse(parameters(small) != parameters(theirs), f"Too many or too few parameters in {unused}")
    return f"It has {parameters(mine):,} parameters and gives the same logits as the helper's."


@exercise("03.5")
def additive_up(block: type[nn.Module]) -> str:
    """Up with addition in place of concatenation."""
    mine, x, skip = build_up(block)
    saved, nothing = parameters(helpers.model.Up(8, 4)) - parameters(mine), torch.zeros_like(skip)
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
    same_values(mine, helpers.model.Up(8, 4, skips=False), (x, nothing), cause)
    return f"It saves {saved} of {saved + parameters(mine)} parameters."


def build(make: Callable[..., nn.Module], *args: int) -> nn.Module:
    """An answer's module; a class that still has dots is not answered yet."""
    torch.manual_seed(0)
    try:
        module = make(*args)
    except TypeError as error:
        if "ellipsis" in str(error):
            raise Unanswered from None
        raise
    if any(part is ... for part in vars(module).values()):
        raise Unanswered
    empty = not list(module.parameters())
    refuse(empty, "No parameters: are the layers attributes, or arguments of super().__init__?")
    return module


def build_up(block: type[nn.Module]) -> tuple[nn.Module, Tensor, Tensor]:
    """A step up from 8 to 4 channels, in eval() mode, and what it gets from below and beside."""
    mine, x, skip = build(block, 8, 4), torch.rand(2, 8, 6, 10), torch.rand(2, 4, 12, 20)
    same_shape(ask(mine, x, skip), (2, 4, 12, 20), "what doubles height and width?")
    unused = torch.equal(mine.eval()(x, skip), mine(x, torch.zeros_like(skip)))
    refuse(unused, "The output does not depend on the skip.")
    return mine, x, skip


def parameters(module: nn.Module) -> int:
    """The number of trainable values."""
    return sum(p.numel() for p in module.parameters())


def same_shape(output: Tensor, wanted: tuple[int, ...], cause: str) -> None:
    """Raise `Hint` that names the first axis that differs."""
    axes = zip(("batch", "channels", "height", "width"), output.shape, wanted, strict=True)
    for axis, got, want in axes:
        refuse(got != want, f"The output's {axis} is {got}, and should be {want}: {cause}")


def same_values(mine: nn.Module, theirs: nn.Module, inputs: tuple[Tensor, ...], cause: str) -> None:
    """Give both the same weights, by name if the names agree, else in order, and compare."""
    have, want = mine.state_dict(), theirs.state_dict()
    names = want.keys() if have.keys() == want.keys() else have.keys()
    pairs = [(have[name], value) for name, value in zip(names, want.values(), strict=False)]
    surplus = parameters(mine) - parameters(theirs)
    found = f"{abs(surplus):,} parameters {'too many' if surplus > 0 else 'missing'}"
    refuse(
        len(have) != len(want) or any(a.shape != b.shape for a, b in pairs),
        "The output's shape is right, but the layers are not those asked for: "
        + (found if surplus else "there are as many parameters, but in other shapes"),
    )

    mine.load_state_dict(dict(zip(names, want.values(), strict=True)))
    for mode in (True, False):
        same = torch.allclose(mine.train(mode)(*inputs), theirs.train(mode)(*inputs), atol=1e-5)
        refuse(not same, f"The shape is right, the values are not: {cause}")
