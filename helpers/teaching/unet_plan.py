"""A U-Net on paper: what a depth, a width, a kernel and an input size mean, before it is trained.

Derived in notebook 03. The tests compare every number with networks that are built and run.
"""

from dataclasses import dataclass

from helpers.model import UNet
from helpers.visualization import to_rgb_array

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

# Encoder, decoder, skips, head: Okabe and Ito 2008.
DOWN_COLOR, UP_COLOR, SKIP_COLOR, HEAD_COLOR = "#0072B2", "#009E73", "0.45", "#CC79A7"


@dataclass(frozen=True)
class UNetPlan:
    """The numbers of a `helpers.model.UNet` with odd kernel size, for RGB images and three classes.

    Level 0 is full resolution, level `depth` the bottleneck; level i holds the encoder's block and,
    but for the bottleneck, the step up to it, the decoder's block and, at level 0, the head.

    Args:
        size: height and width of the input in pixels, divisible by 2**depth.
        base_channels: channels at full resolution.
        depth: number of steps down.
        kernel: size of the convolutions in each DoubleConv.

    Raises ValueError for a size that is not divisible, an even kernel, or anything below 1.
    """

    size: int = 128
    base_channels: int = 16
    depth: int = 4
    kernel: int = 3

    def __post_init__(self) -> None:
        below_one = min(self.size, self.base_channels, self.depth, self.kernel) < 1
        if below_one or self.kernel % 2 == 0 or self.size % 2**self.depth:
            raise ValueError(
                f"below 1, an even kernel, or a size that is not divisible by 2**depth: {self}"
            )

    @property
    def channels(self) -> list[int]:
        """Channels of each level."""
        return [self.base_channels * 2**level for level in range(self.depth + 1)]

    @property
    def sizes(self) -> list[int]:
        """Height and width of each level's maps, in pixels."""
        return [self.size // 2**level for level in range(self.depth + 1)]

    @property
    def parameters(self) -> list[int]:
        """Trainable numbers of each level."""
        with torch.device("meta"):  # shapes without memory
            network = UNet(base_channels=self.base_channels, depth=self.depth)

        def count(part: nn.Module) -> int:
            """All numbers of a part, with the plan's kernel in place of each of 3x3."""
            kernels = [p.numel() for p in part.parameters() if p.shape[2:] == (3, 3)]
            wider = sum(kernels) * (self.kernel**2 - 9) // 9
            return sum(p.numel() for p in part.parameters()) + wider

        counts = [count(part) for part in (network.stem, *network.downs)]
        for level, up in enumerate(reversed(network.ups)):
            counts[level] += count(up)
        counts[0] += count(network.head)
        return counts

    @property
    def activations(self) -> list[int]:
        """Bytes that training keeps for one image until the backward pass, float32, at each level.

        Of each convolution and its normalization, both outputs; of each skip, the concatenated
        tensor; of each pooling, the maxima and their positions (int64). The loss, and a few numbers
        per channel, are not counted.
        """
        # A level's maps of c channels: four of them in each block, two in the concatenated tensor.
        # The pooling leaves a quarter of the numbers, and a position takes the bytes of two.
        maps = [4 * c * size**2 for c, size in zip(self.channels, self.sizes, strict=True)]
        kept = [(4 + 4 + 2) * of_level + 3 * of_level // 4 for of_level in maps]
        kept[-1] = 4 * maps[-1]  # the bottleneck is one block
        kept[0] += 4 * 3 * self.size**2  # the image
        return kept

    def receptive_interval(self, position: int) -> tuple[int, int]:
        """First and last input pixel, along one axis, that the logit at `position` depends on."""
        reach = self.kernel - 1  # of two convolutions, to each side
        low = high = position

        # Back through the decoder, whose steps up halve the distances, to the bottleneck.
        for _ in range(self.depth):
            low, high = (low - reach) // 2, (high + reach) // 2
        low, high = low - reach, high + reach

        # Back through the encoder: each pixel of a pooled map has seen two.
        for _ in range(self.depth):
            low, high = 2 * low - reach, 2 * high + 1 + reach
        return low, high


class _Drawing:
    """What `draw_unet` draws with: tensors as boxes, layers as arrows."""

    def __init__(self, ax: Axes) -> None:
        self.ax = ax

    def box(
        self, x: float, y: float, level: int, channels: int, color: str, name: bool = True
    ) -> tuple[float, float]:
        """A tensor, as high as its level; wider with more channels. Half its width and height."""
        wide, tall = 0.05 + 0.011 * channels**0.6, 1.15 * 0.75**level
        self.ax.bar(x, tall, wide, y - tall / 2, color=color, ec="white")
        if name:
            self.ax.text(x, y + tall / 2 + 0.03, str(channels), ha="center", fontsize=8)
        return wide / 2, tall / 2

    def arrow(
        self, start: tuple[float, float], end: tuple[float, float], color: str = "black", **style
    ) -> None:
        ends = {"arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 0, "mutation_scale": 9}
        self.ax.annotate("", end, start, arrowprops=ends | {"color": color, **style})

    def double_conv(
        self, xs: list[float], y: float, level: int, channels: list[int], color: str, name: bool
    ) -> tuple[float, float]:
        """Three tensors, and the convolutions that make the second and the third of them."""
        half, tall = self.box(xs[0], y, level, channels[0], color, name)
        for before, x, c in zip(xs[:-1], xs[1:], channels[1:], strict=True):
            start, (half, tall) = before + half + 0.02, self.box(x, y, level, c, color)
            self.arrow((start, y), (x - half - 0.02, y))
        return half, tall


def draw_unet(plan: UNetPlan, image: np.ndarray, prediction: np.ndarray) -> Figure:
    """The whole network: every tensor with its channels, every layer as an arrow.

    image, prediction: pictures (H, W, 3), float in 0..1, for the two ends.
    """
    figure = Figure(figsize=(12, 6), dpi=100)
    ax = figure.add_axes((0, 0.1, 1, 0.9))
    draw = _Drawing(ax)
    gap, drop = 0.5, 1.5  # between tensors, and from level to level
    end = (4 * plan.depth + 2) * gap

    for level, (c, size) in enumerate(zip(plan.channels, plan.sizes, strict=True)):
        # The encoder: what comes in, and the outputs of two convolutions.
        y, left = -drop * level, 2 * gap * level
        xs = [left, left + gap, left + 2 * gap]
        first = c // 2 if level else 3
        half, tall = draw.double_conv(xs, y, level, [first, c, c], DOWN_COLOR, True)
        ax.text(left - 0.2, y, f"{size} x {size}", ha="right", va="center", fontsize=8)
        if level == plan.depth:
            break

        # The decoder mirrors it: the skip beside what came up, and two outputs again.
        right = [end - x for x in reversed(xs)]
        draw.double_conv(right, y, level, [c, c, c], UP_COLOR, False)
        draw.box(right[0] - 2 * half, y, level, c, DOWN_COLOR, False)
        ax.text(right[0] - half, y + tall + 0.03, f"{c} + {c}", ha="center", fontsize=8)
        draw.arrow((xs[2] + half, y), (right[0] - 3 * half, y), SKIP_COLOR, ls="--")

        # One level down on the left, and up again on the right.
        below = y - drop + 1.15 * 0.75 ** (level + 1) / 2 + 0.2
        draw.arrow((xs[2], y - tall), (xs[2], below), DOWN_COLOR, lw=2)
        draw.arrow((right[0], below), (right[0], y - tall), UP_COLOR, lw=2)

    # The head, and a picture at each end.
    half, _ = draw.box(end + gap, 0, 0, 3, HEAD_COLOR)
    draw.arrow((end + 0.12, 0), (end + gap - half, 0), HEAD_COLOR, lw=2)
    for picture, x, name in ((image, -3.3, "image"), (prediction, end + 0.8, "prediction")):
        ax.imshow(picture, extent=(x, x + 1.9, -0.95, 0.95))
        ax.text(x + 0.95, 1, name, ha="center", fontsize=9)

    _name_layers(figure)
    ax.set(xlim=(-3.4, end + 2.8), ylim=(-drop * plan.depth - 0.4, 1.2), aspect="equal")
    ax.set_axis_off()
    return figure


def _name_layers(figure: Figure) -> None:
    """What each arrow of `draw_unet` is in code, in its color: four columns below it."""
    columns = {
        0.02: (
            ("→ Conv2d 3x3, BatchNorm2d, ReLU; two: DoubleConv", "black"),
            ("→ head: Conv2d 1x1, a logit for each class", "#A6527F"),
        ),
        0.35: (("↓ MaxPool2d(2)", "#0072B2"), ("Down = ↓, then DoubleConv", "#0072B2")),
        0.56: (
            ("↑ ConvTranspose2d 2x2, stride 2", UP_COLOR),
            ("Up = ↑, ⇢, then DoubleConv", UP_COLOR),
        ),
        0.8: (("⇢ torch.cat([skip, x])", SKIP_COLOR),),
    }
    for left, lines in columns.items():
        for line, (text, color) in enumerate(lines):
            place = left, 0.06 - 0.04 * line
            figure.text(*place, text, color=color, fontsize=9)


def plot_plan(plan: UNetPlan, photo: Tensor | np.ndarray) -> Figure:
    """The network to scale, the middle pixel's receptive field on a photo, each level's costs.

    photo: RGB (3, size, size), uint8 or float in 0..1.
    """
    figure = Figure(figsize=(12, 4.5), dpi=90)
    _draw_network(figure.add_axes((0.01, 0.04, 0.5, 0.84)), plan)
    _draw_field(figure.add_axes((0.53, 0.12, 0.21, 0.76)), plan, to_rgb_array(photo))
    _draw_costs(figure.add_axes((0.8, 0.16, 0.17, 0.68)), plan)
    return figure


def _draw_network(ax: Axes, plan: UNetPlan) -> None:
    # Boxes go down and to the right, with a gap between them; the decoder mirrors the encoder.
    gap = 0.06 * plan.size
    sizes, channels = np.array(plan.sizes), np.array(plan.channels)
    widths = channels * 1.6 * plan.size / (2 * channels.sum() - channels[-1])
    tops = np.cumsum(sizes + gap) - sizes - gap
    lefts = np.cumsum(widths + gap) - widths - gap
    end = 2 * lefts[-1] + widths[-1]
    mirrored = (end - lefts - widths)[:-1]

    ax.barh(tops, widths, sizes, lefts, align="edge", color=DOWN_COLOR)
    ax.barh(tops[:-1], widths[:-1], sizes[:-1], mirrored, align="edge", color=UP_COLOR)

    # A skip leads from the right side of a box to its mirror image.
    arrow = {"arrowstyle": "->", "color": SKIP_COLOR, "lw": 1}
    for left, right, y in zip(lefts + widths, mirrored, tops + sizes / 2, strict=False):
        ax.annotate("", (right, y), (left, y), arrowprops=arrow)

    # Above each skip, and below the bottleneck, how many maps of which size there are.
    heights = tops + sizes / 2 - gap / 4
    heights[-1] = tops[-1] + sizes[-1] + 2 * gap
    for c, size, y in zip(plan.channels, plan.sizes, heights, strict=True):
        ax.text(end / 2, y, f"{c} x {size} x {size}", ha="center", va="bottom", fontsize=9)

    ax.set(xlim=(-gap, end + gap), ylim=(tops[-1] + sizes[-1] + 3 * gap, -gap))
    ax.set_axis_off()
    title = "Height: pixels, width: channels, to scale.\nBlue encodes, green decodes, gray skips."
    ax.set_title(title, fontsize=9)


def _draw_field(ax: Axes, plan: UNetPlan, photo: np.ndarray) -> None:
    middle = plan.size // 2
    low, high = plan.receptive_interval(middle)
    shown = 0.3 * photo
    inside = slice(max(low, 0), high + 1)
    shown[inside, inside] = photo[inside, inside]

    ax.imshow(shown)
    ax.plot(middle, middle, "w+", ms=9, mew=1.5)
    ax.set(xticks=[0, plan.size - 1], yticks=[])
    ax.tick_params(labelsize=8)
    everything = " (everything)" if low <= 0 and high >= plan.size - 1 else ""
    ax.set_title(f"The cross sees {high - low + 1} px{everything}", fontsize=9)


def _draw_costs(ax: Axes, plan: UNetPlan) -> None:
    rows = np.arange(plan.depth + 1)
    for shift, values, color, label in (
        (-0.2, plan.parameters, "0.25", "parameters"),
        (0.2, plan.activations, "0.58", "training memory"),
    ):
        ax.barh(rows + shift, np.array(values) / sum(values), 0.38, color=color, label=label)

    ax.set(xlim=(0, 1), ylim=(plan.depth + 0.6, -0.6))
    ax.set_yticks(rows, [f"{size} px" for size in plan.sizes], fontsize=9)
    ax.set_xticks([0, 0.5, 1], ["0", "50 %", "100 %"], fontsize=9)
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_title("Fraction of each level", fontsize=9)
    ax.legend(fontsize=8, frameon=False, loc="lower right" if plan.depth < 3 else "center right")
