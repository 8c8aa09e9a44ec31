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

DOWN_COLOR, UP_COLOR, SKIP_COLOR = "#56B4E9", "#009E73", "0.45"  # Okabe and Ito 2008


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


def plot_plan(plan: UNetPlan, photo: Tensor | np.ndarray) -> Figure:
    """The network to scale, the middle pixel's receptive field on a photo, each level's costs.

    photo: RGB (3, size, size), uint8 or float in 0..1.
    """
    figure = Figure(figsize=(9.5, 3.6), dpi=90)
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
        ax.text(end / 2, y, f"{c} x {size} x {size}", ha="center", va="bottom", fontsize=7)

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
        (-0.2, plan.parameters, "0.35", "parameters"),
        (0.2, plan.activations, "0.75", "training memory"),
    ):
        ax.barh(rows + shift, np.array(values) / sum(values), 0.38, color=color, label=label)

    ax.set(xlim=(0, 1), ylim=(plan.depth + 0.6, -0.6))
    ax.set_yticks(rows, [f"{size} px" for size in plan.sizes], fontsize=8)
    ax.set_xticks([0, 0.5, 1], ["0", "50 %", "100 %"], fontsize=8)
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_title("Fraction of each level", fontsize=9)
    ax.legend(fontsize=7, frameon=False, loc="lower right" if plan.depth < 3 else "center right")
