"""Checks for notebook 09: an encoder's input, its decoder, its learning rate, its freezing."""

from collections.abc import Callable, Iterable
from typing import Any

from helpers.constants import IMAGENET_MEAN, IMAGENET_STD
from helpers.model import DoubleConv, Up
from helpers.networks.pretrained import PretrainedUNet
from helpers.teaching.checks.nb03 import (
    build,
    parameters,
    refuse_activation,
    same_shape,
    same_values,
)
from helpers.teaching.checks.verdict import Hint, ask, compare, exercise, number, refuse, tensor

import torch
from torch import Tensor, nn


@exercise("09.1")
def renormalize(function: Callable[[Tensor], Tensor]) -> str:
    """From this package's normalization to mean 0.5 and standard deviation 0.5."""
    mean, std = statistics()
    for shape in ((2, 3, 4, 5), (2, 3, 3, 3)):  # on 3 x 3 px, channels pass for a row of pixels
        plain = torch.rand(shape)
        images = (plain - mean) / std
        answer = tensor(ask(function, images.clone()), shape)
        other = answer.dtype != images.dtype
        refuse(other, f"It returns {answer.dtype}, and the encoder takes {images.dtype}.")
        along_rows = (images * std.view(3) + mean.view(3) - 0.5) / 0.5 if shape[-1] == 3 else plain
        slips = {
            "These are values in 0..1: half of the way.": plain,
            "These images were normalized before. Undo that first.": (images - 0.5) / 0.5,
            "That is the other direction: to this package's normalization.": (
                (images * 0.5 + 0.5 - mean) / std
            ),
            "The spread is right, the middle is not: what becomes of the mean?": images * std / 0.5,
            "Right, but for the order: to undo (x - mean) / std, multiply first, then add.": (
                ((images + mean) * std - 0.5) / 0.5
            ),
            "Each color has its own mean; yours go along the rows. Which shape do they need?": (
                along_rows
            ),
        }
        otherwise = "A white pixel should become 1 and a black one -1, in each of the three colors."
        compare(answer, (plain - 0.5) / 0.5, slips, otherwise)

    try:  # images that are not on the CPU, as on a GPU
        function(images.to("meta"))
    except (RuntimeError, NotImplementedError, TypeError) as error:
        looks = "item()" in str(error)  # at a value, which those images lack
        refuse(not looks, "Right on the CPU. Do your tensors lie where the images are?")
    return "It is one multiplication and one addition for each color, if you write it out."


def statistics() -> tuple[Tensor, Tensor]:
    """The mean and the standard deviation of this package's normalization, (3, 1, 1) each."""
    mean, std = (torch.tensor(part)[:, None, None] for part in (IMAGENET_MEAN, IMAGENET_STD))
    return mean, std


@exercise("09.2")
def encoder_unet(network: Callable[..., nn.Module]) -> str:
    """A decoder on an encoder, compared with `PretrainedUNet` on the same weights."""
    given, theirs = PretrainedUNet().encoder, PretrainedUNet()
    mine = build(lambda: network(given))
    mean, std = statistics()
    images = (torch.rand(2, 3, 64, 96) - mean) / std
    refuse(not hasattr(mine, "encoder"), "The encoder is no part of it: keep it as self.encoder.")
    encoder: Any = mine.encoder
    pairs = zip(given.parameters(), encoder.parameters(), strict=False)
    same = all(torch.equal(wanted, own) for wanted, own in pairs)
    refuse(not same, "Its encoder is another one than the one that was given.")
    for name in ("lateral", "ups"):
        plain = isinstance(getattr(mine, name, None), list | tuple)
        refuse(plain, f"PyTorch finds no layers in {name}, a plain list. Use nn.ModuleList.")
    logits = ask(mine, images)
    same_shape(logits, (2, 3, 64, 96), "does the last Up reach full resolution?")
    refuse_activation(logits)

    # Right but for one thing, if it agrees with a network that has this fault.
    scale, shift = std / 0.5, (mean - 0.5) / 0.5
    unchanged, stem_too = PretrainedUNet(), PretrainedUNet()
    unchanged.register_buffer("scale", torch.ones_like(scale), persistent=False)
    unchanged.register_buffer("shift", torch.zeros_like(shift), persistent=False)
    stem_too.stem.register_forward_pre_hook(lambda _stem, inputs: (inputs[0] * scale + shift,))
    cause = "The encoder gets the images as they came: where is renormalize?"
    refuse(agree(mine, unchanged, images), cause)
    cause = "The stem sees renormalized images. It is new: give it the images themselves."
    refuse(agree(mine, stem_too, images), cause)

    cause = "do the skips run from the lowest level up, each through its own 1x1 convolution?"
    same_values(mine, theirs, (images,), cause)

    mine.train()(images).sum().backward()
    still = [name for name, parameter in mine.named_parameters() if parameter.grad is None]
    refuse(still, f"Right, but no gradient reaches {still and still[0]}: it would never learn.")

    other: dict[str, Any] = {"channels": (64, 32, 32, 16, 8), "num_classes": 2}
    two = build(lambda: network(PretrainedUNet().encoder, **other))
    same_shape(ask(two, images), (2, 2, 64, 96), "there are num_classes of them.")
    fixed = parameters(two) != parameters(PretrainedUNet(**other))
    refuse(fixed, "With other channels it should have other layers: are some numbers typed in?")
    return f"It has {parameters(mine):,} parameters and gives the same logits as the helper's."


def agree(mine: nn.Module, theirs: nn.Module, images: Tensor) -> bool:
    """Whether two networks give the same logits on the same weights."""
    try:
        same_values(mine, theirs, (images,), "")
    except Hint:
        return False
    return True


@exercise("09.3")
def parameter_groups(function: Callable[[nn.Module, float, float], list[dict[str, Any]]]) -> str:
    """Parameter groups for an optimizer: the encoder's with a fraction of the rate."""
    model = PretrainedUNet()
    model.encoder.conv_stem.requires_grad_(False)  # frozen: nothing that an optimizer should hold
    model.head.requires_grad_(False)
    for rate, fraction in ((0.004, 0.25), (0.01, 0.1)):
        groups_of(model, function, rate, fraction)
    return "Each parameter that is trained is in one group."


def groups_of(model: PretrainedUNet, function: Callable, rate: float, fraction: float) -> None:
    """Raise `Hint` for wrong groups."""
    groups = ask(function, model, rate, fraction)
    is_list = isinstance(groups, list | tuple) and all(isinstance(group, dict) for group in groups)
    refuse(not is_list, "Return a list of dictionaries, one for each group.")
    refuse(not all({"params", "lr"} <= set(group) for group in groups), "Each needs params and lr.")

    found: list[tuple[nn.Parameter, float]] = []
    for group in groups:
        some = group["params"]
        refuse(isinstance(some, set | frozenset), "params is a list: torch refuses a set.")
        refuse(not isinstance(some, Iterable), "params is a list of parameters.")
        some = [some] if isinstance(some, Tensor) else some  # torch takes one, too,
        some = [one[-1] if isinstance(one, tuple) else one for one in some]  # and names beside
        found += [(parameter, number(group["lr"])) for parameter in some]
    refuse(not all(isinstance(p, nn.Parameter) for p, _ in found), "params holds parameters alone.")
    rates = {id(parameter): rate for parameter, rate in found}
    twice = len(rates) < len(found)
    refuse(twice, "Some parameters are in two groups. Does model.parameters() hold the encoder's?")

    of_part: dict[bool, set[float]] = {True: set(), False: set()}
    for name, parameter in model.named_parameters():
        missing = parameter.requires_grad and id(parameter) not in rates
        refuse(missing, f"{name} is in no group: it would never be trained.")
        if parameter.requires_grad:
            of_part[name.startswith("encoder.")].add(rates[id(parameter)])
    refuse(
        not all(of_part.values()), "Nothing of the encoder, or of the rest, gets a gradient now."
    )
    refuse(max(map(len, of_part.values())) > 1, "Some of the encoder, or of the rest, is apart.")
    slips = {
        "The two rates are exchanged.": (rate, fraction * rate),
        "Both parts have the same rate.": (rate, rate),
        "The encoder's rate is a fraction of the other one: multiply.": (fraction, rate),
    }
    answer = torch.tensor([*of_part[True], *of_part[False]])
    pairs = {hint: torch.tensor(pair) for hint, pair in slips.items()}
    otherwise = f"The encoder has the rate {answer[0]:g} and the rest {answer[1]:g}."
    compare(answer, torch.tensor([fraction * rate, rate]), pairs, otherwise, near=1e-6)
    frozen = any(id(p) in rates for p in model.parameters() if not p.requires_grad)
    refuse(frozen, "Parameters that need no gradient are in a group: leave them out.")


@exercise("09.4")
def frozen_unet(network: Callable[..., nn.Module]) -> str:
    """A network whose encoder stays as it is, whatever is called."""
    mine, images = build(lambda: network(PretrainedUNet().encoder)), torch.randn(2, 3, 64, 64)
    at_once = changed_by(mine, images)
    encoder, own = mine.encoder, [p for n, p in mine.named_parameters() if "encoder." not in n]
    assert isinstance(encoder, nn.Module)
    trained = any(p.requires_grad for p in encoder.parameters())
    returned = ask(mine.train)
    trained |= any(p.requires_grad for p in encoder.parameters())
    refuse(trained, "The encoder still gets gradients.")
    refuse(not all(p.requires_grad for p in own), "The decoder is frozen, too.")

    refuse(returned is not mine, "train() should return the network itself, as PyTorch's does.")
    cause = "The rest no longer follows train() and eval(): what does super().train get?"
    for mode in (False, True):
        mine.train(mode)
        others = [
            part for child in mine.children() if child is not encoder for part in child.modules()
        ]
        refuse(any(part.training is not mode for part in (mine, *others)), cause)
    mine.eval().train()
    refuse(not mine.training, "train() without an argument should begin training, as PyTorch's.")

    cause = "does train() leave every BatchNorm of the encoder in eval() mode?"
    moved = changed_by(mine, images)
    refuse(moved, f"In train() mode, a batch changes {moved} of its tensors: {cause}")
    training = [name for name, part in encoder.named_modules() if part.training]
    refuse(training, f"After train(), {len(training)} parts of the encoder are in train() mode.")
    with torch.no_grad():
        alone, beside = encoder(images[:1])[-1], encoder(images)[-1][:1]
    depends = not torch.allclose(alone, beside, atol=1e-4)
    refuse(depends, "What the encoder sees in an image depends on the other images of its batch.")
    ask(mine, images).sum().backward()
    still = any(parameter.grad is None for parameter in own)
    refuse(still, "No gradient reaches the decoder: it would never learn.")
    cause = "which mode is the encoder in, before anything is called?"
    refuse(at_once, f"A batch right after __init__ changes {at_once} of its tensors: {cause}")

    two = ask(build(lambda: network(PretrainedUNet().encoder, num_classes=2)), images)
    refuse(two.shape[1] != 2, "With num_classes=2 it has other classes: what becomes of options?")
    return "Neither a gradient nor a batch changes the encoder."


def changed_by(network: nn.Module, images: Tensor) -> int:
    """How many tensors of its encoder a batch of images changes."""
    refuse(not hasattr(network, "encoder"), "The encoder is no part of it: keep self.encoder.")
    encoder: Any = network.encoder
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    ask(network, images)
    return sum(not torch.equal(v, before[n]) for n, v in encoder.state_dict().items())


@exercise("09.5")
def pairs_needed(function: Callable[[dict[int, float], dict[int, float]], int | None]) -> str:
    """How few pairs are enough, begun with pretrained weights."""
    random = {1600: 0.68, 100: 0.50, 400: 0.60}
    cases = {
        400: {1600: 0.74, 100: 0.59, 400: 0.69},
        1600: {100: 0.61, 400: 0.66, 1600: 0.70},
        100: {100: 0.68, 400: 0.70, 1600: 0.71},
    }
    for wanted, pretrained in cases.items():
        answer = number(or_none(function, random, pretrained) or 0)
        refuse(not answer, f"It finds none for {pretrained}, where {wanted} pairs are enough.")
        slips = {
            "That is a score. How many pairs does it take?": pretrained[wanted],
            "That is how many pairs the random weights got. How few do the others need?": 1600,
            "That is not enough yet: compare with the score of random weights on all pairs.": 100,
        }
        otherwise = f"{wanted} pairs are enough in {pretrained}, and no fewer."
        compare(answer, wanted, slips, otherwise)
    # Random weights that are best with fewer than all: the luck of a run.
    lucky = {1600: 0.66, 100: 0.50, 400: 0.68}
    answer = number(or_none(function, lucky, {1600: 0.70, 100: 0.60, 400: 0.67}) or 0)
    best = "Their goal is what they have with the most pairs, not their best score."
    compare(answer, 400, {best: 1600}, "400 pairs are enough where 0.66 is to be reached.")

    # Other numbers of pairs, in another order, and a curve that goes down between.
    uneven = {2000: 0.74, 100: 0.70, 400: 0.64}
    answer = number(or_none(function, {270: 0.72, 900: 0.66, 30: 0.50}, uneven) or 0)
    compare(answer, 100, {}, f"100 pairs are enough for 0.66 in {uneven}, and it says {answer:g}.")

    never = or_none(function, random, {100: 0.4, 400: 0.5, 1600: 0.6})
    refuse(never is not None, "Where no number of pairs is enough, return None.")
    return "The same score from fewer masks: this is what pretrained weights are worth here."


def or_none(function: Callable, *curves: dict[int, float]) -> Any:
    """What an answer returns; None is one, too."""
    given = [dict(curve) for curve in curves]
    result = function(*given)
    refuse(given != [*curves], "It changes the scores that it was given: work on a copy.")
    return result if result is None else ask(lambda: result)


# What the notebook goes on with where an answer has not passed. Its solutions are the same.


def our_renormalize(images: Tensor) -> Tensor:
    """From this package's normalization to mean 0.5 and standard deviation 0.5, (N, 3, H, W)."""
    mean, std = (part.to(images.device) for part in statistics())
    return (images * std + mean - 0.5) / 0.5


class OurEncoderUNet(nn.Module):
    """A decoder on an encoder of timm: (N, 3, H, W) -> (N, num_classes, H, W)."""

    def __init__(
        self, encoder: Any, channels: tuple[int, ...] = (128, 64, 32, 32, 16), num_classes: int = 3
    ) -> None:
        super().__init__()
        self.encoder = encoder
        *skips, last = encoder.feature_info.channels()
        pairs = zip(skips[::-1], channels, strict=False)
        self.lateral = nn.ModuleList(nn.Conv2d(a, b, kernel_size=1) for a, b in pairs)
        self.stem = DoubleConv(3, channels[-1])
        pairs = zip([last, *channels], channels, strict=False)
        self.ups = nn.ModuleList(Up(a, b) for a, b in pairs)
        self.head = nn.Conv2d(channels[-1], num_classes, kernel_size=1)

    def forward(self, images: Tensor) -> Tensor:
        *features, x = self.encoder(our_renormalize(images))
        skips = [layer(f) for layer, f in zip(self.lateral, features[::-1], strict=True)]
        for up, skip in zip(self.ups, [*skips, self.stem(images)], strict=True):
            x = up(x, skip)
        return self.head(x)


def our_parameter_groups(model: nn.Module, rate: float, fraction: float) -> list[dict[str, Any]]:
    """What is trained, in two groups: the encoder's with a fraction of the rate."""
    trained = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    encoder = [p for name, p in trained if name.startswith("encoder.")]
    others = [p for name, p in trained if not name.startswith("encoder.")]
    return [{"params": others, "lr": rate}, {"params": encoder, "lr": fraction * rate}]


class OurFrozenUNet(OurEncoderUNet):
    """The same with an encoder that stays as it is, whatever is called."""

    def __init__(self, encoder: Any, **options: Any) -> None:
        super().__init__(encoder, **options)
        self.encoder.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "OurFrozenUNet":
        super().train(mode)
        self.encoder.eval()
        return self
