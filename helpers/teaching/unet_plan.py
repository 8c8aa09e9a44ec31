"""A U-Net on paper: what depth, width, kernel and input size mean, without building the network.

Derived in notebook 03. Its tests compare every number with networks that are built and run.
"""

from dataclasses import dataclass

from helpers.visualization import to_rgb_array

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

DOWN_COLOR, UP_COLOR, SKIP_COLOR = "#56B4E9", "#009E73", "0.45"  # Okabe and Ito 2008
BYTES = 4  # of a float32


@dataclass(frozen=True)
class UNetPlan:
    """The numbers of a `helpers.model.UNet` with odd kernel size, for RGB and three classes.

    Level 0 is full resolution, level `depth` the bottleneck. Level i holds the encoder's block and,
    but for the bottleneck, the step up to it and the decoder's block; level 0 also holds the head.

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
        if min(self.size, self.base_channels, self.depth, self.kernel) < 1 or self.kernel % 2 == 0:
            raise ValueError(
                f"size, channels and depth are at least 1, the kernel is odd, not {self}"
            )
        if self.size % 2**self.depth:
            raise ValueError(f"size {self.size} is not divisible by 2**depth = {2**self.depth}")

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
        counts = []
        inputs = 3
        for c in self.channels:
            counts.append(self._double_conv(inputs, c))
            inputs = c
        for level, c in enumerate(self.channels[:-1]):
            step_up = 2 * 2 * (2 * c) * c + c  # a 2x2 kernel from 2c to c channels, and a bias
            counts[level] += step_up + self._double_conv(2 * c, c)
        counts[0] += 3 * self.base_channels + 3  # the head
        return counts

    def _double_conv(self, inputs: int, outputs: int) -> int:
        """Two convolutions, and scale and shift of the two normalizations."""
        return self.kernel**2 * (inputs + outputs) * outputs + 2 * 2 * outputs

    @property
    def activations(self) -> list[int]:
        """Bytes that training keeps for one image until the backward pass, float32, at each level.

        Of each convolution and its normalization, both outputs; of each skip, the concatenated
        tensor; of each pooling, the maxima and their positions (int64). The loss, and a few numbers
        per channel, are not counted.
        """
        counts = []
        for level, (c, size) in enumerate(zip(self.channels, self.sizes, strict=True)):
            numbers = 4 * c * size**2  # the encoder's block: two convolutions, two normalizations
            if level < self.depth:
                numbers += 4 * c * size**2 + 2 * c * size**2  # the decoder's, and what it joined
                numbers += (1 + 2) * c * (size // 2) ** 2  # maxima; a position takes twice as much
            counts.append(BYTES * numbers)
        counts[0] += BYTES * 3 * self.size**2  # the image
        return counts

    def receptive_interval(self, position: int) -> tuple[int, int]:
        """First and last input pixel, along one axis, that the logit at `position` depends on."""
        reach = self.kernel - 1  # of two convolutions, to each side
        low = high = position
        for _ in range(self.depth):
            low, high = (low - reach) // 2, (high + reach) // 2
        low, high = low - reach, high + reach
        for _ in range(self.depth):
            low, high = 2 * low - reach, 2 * high + 1 + reach
        return low, high


def plot_plan(plan: UNetPlan, photo: Tensor | np.ndarray) -> Figure:
    """The network to scale, what its middle pixel sees of a photo, and each level's costs.

    photo: RGB (3, size, size), uint8 or float in 0..1.
    """
    figure = Figure(figsize=(9.5, 3.6), dpi=90)
    _draw_network(figure.add_axes((0.01, 0.04, 0.5, 0.84)), plan)
    _draw_field(figure.add_axes((0.53, 0.12, 0.21, 0.76)), plan, to_rgb_array(photo))
    _draw_costs(figure.add_axes((0.8, 0.16, 0.17, 0.68)), plan)
    return figure


def _draw_network(ax: Axes, plan: UNetPlan) -> None:
    """A box for each level's maps on either side, as high as the maps, as wide as the channels."""
    gap = 0.06 * plan.size
    scale = 1.6 * plan.size / (2 * sum(plan.channels) - plan.channels[-1])  # width of one channel
    wides = [scale * c for c in plan.channels]
    width = 2 * sum(wides) - wides[-1] + 2 * plan.depth * gap
    left = top = 0.0

    for level, (wide, high) in enumerate(zip(wides, plan.sizes, strict=True)):
        ax.add_patch(Rectangle((left, top), wide, high, color=DOWN_COLOR))
        text_top, place = top + high + gap / 2, "top"
        if level < plan.depth:
            # The decoder's box, mirrored, and the skip between the two.
            mirrored, middle = width - left - wide, top + high / 2
            ax.add_patch(Rectangle((mirrored, top), wide, high, color=UP_COLOR))
            arrow = {"arrowstyle": "->", "color": SKIP_COLOR, "lw": 1}
            ax.annotate("", (mirrored, middle), (left + wide, middle), arrowprops=arrow)
            text_top, place = middle - gap / 4, "bottom"
        label = f"{plan.channels[level]} x {high} x {high}"
        ax.text(width / 2, text_top, label, ha="center", va=place, fontsize=7)
        left, top = left + wide + gap, top + high + gap

    ax.set(xlim=(-gap, width + gap), ylim=(top + 2 * gap, -gap))
    ax.set_axis_off()
    title = "Height: pixels, width: channels, to scale.\nBlue encodes, green decodes, gray skips."
    ax.set_title(title, fontsize=9)


def _draw_field(ax: Axes, plan: UNetPlan, photo: np.ndarray) -> None:
    low, high = plan.receptive_interval(plan.size // 2)
    inside = np.zeros((plan.size, plan.size, 1), dtype=bool)
    inside[max(low, 0) : high + 1, max(low, 0) : high + 1] = True
    ax.imshow(np.where(inside, photo, 0.3 * photo))
    ax.plot(plan.size // 2, plan.size // 2, "w+", ms=9, mew=1.5)
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
    ax.set_yticks(rows, [f"{size} px" for size in plan.sizes], fontsize=8)
    ax.set_xticks([0, 0.5, 1], ["0", "50 %", "100 %"], fontsize=8)
    ax.set(xlim=(0, 1), ylim=(plan.depth + 0.6, -0.6))
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_title("Fraction of each level", fontsize=9)
    ax.legend(fontsize=7, frameon=False, loc="lower right" if plan.depth < 3 else "center right")
