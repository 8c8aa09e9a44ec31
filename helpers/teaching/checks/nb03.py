"""Checks for notebook 03: the blocks of a U-Net."""

from collections.abc import Callable

import helpers.model
from helpers.teaching.checks.verdict import Hint, Unanswered, ask, exercise

import torch
from torch import Tensor, nn


@exercise("03.1")
def double_conv(block: type[nn.Module]) -> str:
    """DoubleConv: convolution, normalization, ReLU, twice."""
    mine = build(block, 3, 16)
    x = torch.rand(2, 3, 12, 20)
    same_shape(ask(mine, x), (2, 16, 12, 20), "padding")
    theirs = helpers.model.DoubleConv(3, 16)
    surplus = parameters(mine) - parameters(theirs)
    if surplus == 2 * 16:
        raise Hint(
            "There are 32 parameters too many: a bias that the normalization after it takes away"
            " again."
        )
    if surplus == -2 * 2 * 16:
        raise Hint(
            "The two convolutions are there. What follows each of them, before the nonlinearity?"
        )
    same_values(
        mine, theirs, (x,), "in which order do convolution, normalization and ReLU come, each time?"
    )
    return f"It has {parameters(mine):,} parameters."


@exercise("03.2")
def down(block: type[nn.Module]) -> str:
    """Down: pooling and DoubleConv."""
    mine = build(block, 4, 8)
    x = torch.rand(2, 4, 12, 20)
    same_shape(ask(mine, x), (2, 8, 6, 10), "what halves height and width?")
    same_values(
        mine,
        helpers.model.Down(4, 8),
        (x,),
        "does the DoubleConv see the pooled tensor? Is the largest of four kept?",
    )
    return "Height and width are halved before anything else is computed."


@exercise("03.3")
def up(block: type[nn.Module]) -> str:
    """Up: a step up, the skip, and DoubleConv."""
    mine, theirs = build(block, 8, 4), helpers.model.Up(8, 4)
    x, skip = torch.rand(2, 8, 6, 10), torch.rand(2, 4, 12, 20)
    same_shape(ask(mine, x, skip), (2, 4, 12, 20), "what doubles height and width?")
    if torch.equal(mine.eval()(x, skip), mine.eval()(x, torch.zeros_like(skip))):
        raise Hint("The output does not depend on the skip.")
    if parameters(mine) < parameters(theirs) and not any(
        p.shape[1:2] == (8,) for p in mine.parameters() if p.shape[-1:] == (3,)
    ):
        raise Hint(
            "The first 3x3 convolution should see the channels of both, side by side. Were they"
            " added?"
        )
    same_values(
        mine,
        theirs,
        (x, skip),
        "which comes first in torch.cat, the skip or the tensor from below?",
    )
    return "What comes from below and what comes from the side are mixed by the convolutions."


@exercise("03.4")
def unet(network: type[nn.Module]) -> str:
    """The whole network, compared with `helpers.model.UNet` on the same weights."""
    mine, theirs = build(network), helpers.model.UNet()
    images = torch.rand(2, 3, 32, 48)
    logits = ask(mine, images)
    same_shape(logits, (2, 3, 32, 48), "one value for each class at every pixel")
    if (logits >= 0).all() and torch.allclose(logits.sum(dim=1), torch.ones(2, 32, 48), atol=1e-4):
        raise Hint(
            "The output sums to 1 over the classes: these are probabilities. The network should"
            " return logits."
        )
    if (logits >= 0).all():
        raise Hint("No output is negative: is there a ReLU after the head?")
    for name in ("downs", "ups"):
        if isinstance(getattr(mine, name, None), list | tuple):
            raise Hint(
                f"{name} is a plain Python list, in which PyTorch finds no layers to train. Use"
                " nn.ModuleList."
            )
    same_values(
        mine, theirs, (images,), "is the skip that is used last the one that was kept first?"
    )
    small = build(network, 1, 2, 4, 2)
    same_shape(
        ask(small, images[:, :1]), (2, 2, 32, 48), "UNet(1, 2, 4, 2): are all four arguments used?"
    )
    if parameters(small) != parameters(helpers.model.UNet(1, 2, 4, 2)):
        raise Hint(
            "UNet(1, 2, 4, 2) has another number of parameters than it should: are all four"
            " arguments used?"
        )
    return f"It has {parameters(mine):,} parameters and gives the same logits as the helper's."


@exercise("03.5")
def additive_up(block: type[nn.Module]) -> str:
    """Up with addition in place of concatenation."""
    mine, theirs = build(block, 8, 4), helpers.model.Up(8, 4)
    x, skip = torch.rand(2, 8, 6, 10), torch.rand(2, 4, 12, 20)
    same_shape(ask(mine, x, skip), (2, 4, 12, 20), "the shape is that of Up")
    if parameters(mine) == parameters(theirs):
        raise Hint(
            "It has as many parameters as Up: the first convolution still sees twice the channels."
        )
    mine.eval()
    if torch.equal(mine(x, skip), mine(x, torch.zeros_like(skip))):
        raise Hint("The output does not depend on the skip.")
    inside: list[Tensor] = []
    first = next(module for module in mine.modules() if isinstance(module, nn.Conv2d))
    hook = first.register_forward_pre_hook(lambda _module, inputs: inside.append(inputs[0].clone()))
    mine(x, skip), mine(x, torch.zeros_like(skip))
    hook.remove()
    if not torch.allclose(inside[0] - inside[1], skip, atol=1e-5):
        raise Hint("What enters the first convolution is not the upsampled tensor plus the skip.")
    oracle = helpers.model.Up(8, 4, skips=False)
    same_values(
        mine,
        oracle,
        (x, torch.zeros_like(skip)),
        "with a skip of zeros, it should be an Up without skips",
    )
    return f"It saves {parameters(theirs) - parameters(mine)} of {parameters(theirs)} parameters."


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
    if not list(module.parameters()):
        raise Hint(
            "The block has no parameters. Are its layers attributes, or arguments of"
            " super().__init__?"
        )
    return module


def parameters(module: nn.Module) -> int:
    """The number of trainable values."""
    return sum(p.numel() for p in module.parameters())


def same_shape(output: Tensor, wanted: tuple[int, ...], cause: str) -> None:
    """Raise `Hint` that names the first axis that differs."""
    for axis, got, want in zip(
        ("batch", "channels", "height", "width"), output.shape, wanted, strict=True
    ):
        if got != want:
            raise Hint(f"The output's {axis} is {got}, and should be {want}: {cause}")


def same_values(mine: nn.Module, theirs: nn.Module, inputs: tuple[Tensor, ...], cause: str) -> None:
    """Give both the same weights, by name or else in order, and compare what they compute."""
    have, want = mine.state_dict(), theirs.state_dict()
    names = want.keys() if have.keys() == want.keys() else have.keys()
    pairs = [(have[name], value) for name, value in zip(names, want.values(), strict=False)]
    if len(have) != len(want) or any(a.shape != b.shape for a, b in pairs):
        difference = parameters(mine) - parameters(theirs)
        found = f"{abs(difference):,} parameters {'too many' if difference > 0 else 'missing'}"
        found = found if difference else "there are as many parameters, but in other shapes"
        raise Hint(f"The output's shape is right, but the layers are not those asked for: {found}.")
    mine.load_state_dict(dict(zip(names, want.values(), strict=True)))
    for mode in (True, False):
        if not torch.allclose(mine.train(mode)(*inputs), theirs.train(mode)(*inputs), atol=1e-5):
            raise Hint(f"The shape is right, the values are not: {cause}")
