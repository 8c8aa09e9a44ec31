"""Figures of images, masks, predictions and training. Each function gives a matplotlib Figure.

Images are RGB, uint8 in 0..255 or float in 0..1, (N, 3, H, W); masks are class indices (N, H, W).
Names and colors of the classes are the pets', unless those of your dataset (`Pairs.class_names`,
`Pairs.class_colors`) or checkpoint are passed on.
"""

from collections.abc import Sequence
from typing import Any

from helpers.constants import CLASS_COLORS, CLASS_NAMES, IGNORE_INDEX

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from torch import Tensor

Array = Tensor | np.ndarray
Colors = Sequence[str]
COLORS = (*CLASS_COLORS, "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#999999")  # up to 8 classes


def to_rgb_array(image: Array) -> np.ndarray:
    """One image (3, H, W) as matplotlib wants it: float (H, W, 3) in 0..1."""
    array = np.moveaxis(np.asarray(image), 0, -1)
    return array / 255 if array.dtype == np.uint8 else array


def overlay(
    image: Array,
    mask: Array,
    opacity: float = 0.6,
    class_colors: Colors = COLORS,
    plain: int | None = 0,
) -> np.ndarray:
    """An image (3, H, W) tinted with the colors of its mask (H, W): float (H, W, 3).

    Ignored pixels are darkened. plain: a class, the object, that keeps the image's colors, inside
    an outline in its own color; None tints all.
    """
    mask = np.asarray(mask).astype(int)
    ignored, inside = mask == IGNORE_INDEX, mask == plain
    padded = np.pad(inside, 1, mode="edge")
    inside &= padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]

    tint = _palette(class_colors)[np.where(ignored, 0, mask)] * ~ignored[..., None]
    strength = opacity * ~inside[..., None]
    return (1 - strength) * to_rgb_array(image) + strength * tint


def error_map(
    image: Array, mask: Array, prediction: Array, class_colors: Colors = COLORS
) -> np.ndarray:
    """A pale gray image whose wrong pixels have the color of the predicted class: (H, W, 3)."""
    mask, prediction = np.asarray(mask), np.asarray(prediction).astype(int)
    gray = np.repeat(to_rgb_array(image).mean(axis=-1, keepdims=True), 3, axis=-1) * 0.6 + 0.4

    wrong = (mask != prediction) & (mask != IGNORE_INDEX) & (prediction != IGNORE_INDEX)
    gray[wrong] = _palette(class_colors)[prediction[wrong]]
    return gray


def plot_samples(
    images: Tensor,
    masks: Tensor | None = None,
    titles: Sequence[str] | None = None,
    columns: int = 4,
    class_names: Sequence[str] = CLASS_NAMES,
    class_colors: Colors = COLORS,
) -> Figure:
    """Images in a grid; with masks, each overlay stands under its image.

    Raises ValueError if there are none.
    """
    columns, height = min(columns, len(images)), 1 if masks is None else 2
    figure, axes = _picture_grid(-(-len(images) // max(columns, 1)) * height, columns)

    for i, image in enumerate(images):
        ax = axes[::height].flat[i]
        ax.imshow(to_rgb_array(image))
        ax.set_title(titles[i] if titles else "", fontsize=9, parse_math=False)
        if masks is not None:
            tinted = overlay(image, masks[i], class_colors=class_colors)
            axes[1::height].flat[i].imshow(tinted)

    if masks is not None:
        class_legend(figure, class_names, class_colors)
    return _finish(figure)


def plot_predictions(
    images: Tensor,
    masks: Tensor,
    predictions: Tensor,
    titles: Sequence[str] | None = None,
    confidence: Tensor | None = None,
    class_names: Sequence[str] = CLASS_NAMES,
    class_colors: Colors = COLORS,
) -> Figure:
    """A row for each image: image, truth, prediction, errors and, if given, confidence (N, H, W).

    Raises ValueError if there are none.
    """
    heads = ["image", "truth", "prediction", "errors, in the color\nof what was predicted"]
    heads += [] if confidence is None else ["confidence"]
    figure, axes = _picture_grid(len(images), len(heads))
    for ax, head in zip(axes[0], heads, strict=True):
        ax.set_title(head, fontsize=9)

    for i, row in enumerate(axes):
        row[0].imshow(to_rgb_array(images[i]))
        row[1].imshow(overlay(images[i], masks[i], class_colors=class_colors))
        row[2].imshow(overlay(images[i], predictions[i], class_colors=class_colors))
        row[3].imshow(error_map(images[i], masks[i], predictions[i], class_colors))
        row[0].set_ylabel(titles[i] if titles else "", fontsize=8, parse_math=False)

    # From a guess among all classes (black) to certainty (white).
    if confidence is not None:
        for ax, sure in zip(axes[:, -1], confidence, strict=True):
            shown = ax.imshow(np.asarray(sure), cmap="gray", vmin=1 / len(class_names), vmax=1)
        figure.colorbar(shown, ax=axes[:, -1], shrink=0.6, label="probability")

    class_legend(figure, class_names, class_colors)
    return _finish(figure)


def plot_history(history: dict[str, Any], first: int = 1) -> Figure:
    """Losses and validation mIoU by epoch, from the epoch `first` on.

    history: one from `helpers.training.fit`, or several under their names.
    """
    histories: dict[str, Any] = {"": history} if "train_loss" in history else history
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.5), layout="constrained")

    for i, values in enumerate(histories.values()):
        epochs = range(first, len(values["val_loss"]) + 1)
        for key, line in (("train_loss", "--"), ("val_loss", "-")):
            left.plot(epochs, values[key][first - 1 :], line, color=f"C{i}")
        right.plot(epochs, values["val_miou"][first - 1 :], color=f"C{i}")

    left.set(ylabel="loss, logarithmic", yscale="log")
    ticks = LogLocator(subs=(1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8))
    left.yaxis.set(major_locator=ticks, major_formatter="{x:g}", minor_formatter=NullFormatter())
    left.set_title("Training loss (dashed), validation cross-entropy (solid)", fontsize=10)
    right.set(ylabel="mIoU", title="Validation mIoU", ylim=(0, 1) if first == 1 else None)
    if len(histories) > 1:
        right.legend(right.lines, histories, frameon=False, fontsize=8)  # "_a", too
    for ax in (left, right):
        ax.xaxis.set(label_text="epoch", major_locator=MaxNLocator(integer=True))
        ax.grid(alpha=0.3)
    return _finish(figure)


def class_legend(
    figure: Figure,
    class_names: Sequence[str] = CLASS_NAMES,
    class_colors: Colors = COLORS,
    place: Any = "outside lower center",
) -> None:
    """Add the classes' names and colors to a figure."""
    patches = [Patch(color=c, label=n) for n, c in zip(class_names, class_colors, strict=False)]
    figure.legend(handles=patches, loc=place, ncols=len(patches), frameon=False, fontsize=9)


def _palette(class_colors: Colors) -> np.ndarray:
    """RGB of each class, float (C, 3) in 0..1."""
    return np.array([to_rgb(color) for color in class_colors])


def _picture_grid(rows: int, columns: int, side: float = 2.4) -> tuple[Figure, np.ndarray]:
    """Axes for pictures of about 100 `side` pixels."""
    if not rows or not columns:
        raise ValueError("there are no images to show: the selection is empty")
    figure, axes = plt.subplots(rows, columns, squeeze=False, dpi=100, layout="constrained")
    figure.set_size_inches(side * columns + 0.3, side * rows + 0.6)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    return figure, axes


def _finish(figure: Figure) -> Figure:
    plt.close(figure)  # a notebook shows the returned figure, and only once
    return figure
