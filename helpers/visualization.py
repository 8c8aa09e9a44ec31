"""Figures of photos, masks, predictions and training. Each function returns a matplotlib Figure.

Images are RGB, uint8 in 0..255 or float in 0..1, (N, 3, H, W); masks are class indices (N, H, W), of eight classes at
most. The first three colors are those of `helpers.data.CLASS_COLORS`, which the colour-blind can tell apart.
"""

from collections.abc import Sequence

from helpers.constants import CLASS_COLORS, CLASS_NAMES, IGNORE_INDEX
from helpers.metrics import iou

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from torch import Tensor

_LINES = {"training": "--", "validation": "-"}
_COLORS = (
    *CLASS_COLORS,
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#E69F00",
    "#999999",
)  # for other datasets than pets
_PALETTE = np.array([to_rgb(color) for color in _COLORS])


def to_rgb_array(image: Tensor | np.ndarray) -> np.ndarray:
    """One image (3, H, W), uint8 or float in 0..1, as float (H, W, 3) in 0..1, the layout of matplotlib."""
    array = np.moveaxis(np.asarray(image), 0, -1)
    return array / 255 if array.dtype == np.uint8 else array


def overlay(
    image: Tensor | np.ndarray, mask: Tensor | np.ndarray, opacity: float = 0.5
) -> np.ndarray:
    """A photo (3, H, W) tinted with the colors of its mask (H, W), float (H, W, 3); ignored pixels are darkened."""
    mask = np.asarray(mask).astype(int)
    colors = _PALETTE[np.where(mask == IGNORE_INDEX, 0, mask)]
    colors[mask == IGNORE_INDEX] = 0
    return (1 - opacity) * to_rgb_array(image) + opacity * colors


def error_map(
    image: Tensor | np.ndarray, mask: Tensor | np.ndarray, prediction: Tensor | np.ndarray
) -> np.ndarray:
    """A gray photo whose wrong pixels show the color of the class that was predicted, float (H, W, 3)."""
    mask, prediction = np.asarray(mask), np.asarray(prediction).astype(int)
    gray = np.repeat(to_rgb_array(image).mean(axis=-1, keepdims=True), 3, axis=-1) * 0.6 + 0.4
    wrong = (mask != prediction) & (mask != IGNORE_INDEX) & (prediction != IGNORE_INDEX)
    gray[wrong] = _PALETTE[prediction[wrong]]
    return gray


def plot_samples(
    images: Tensor,
    masks: Tensor | None = None,
    titles: Sequence[str] | None = None,
    columns: int = 6,
    class_names: Sequence[str] = CLASS_NAMES,
) -> Figure:
    """Photos in a grid; with masks, each overlay stands under its photo. Raises ValueError if there are none."""
    _check_some(images)
    columns = min(columns, len(images))
    groups = -(-len(images) // columns)
    rows = groups * (1 if masks is None else 2)
    figure, axes = _picture_grid(rows, columns)
    for i, image in enumerate(images):
        row, column = divmod(i, columns)
        top = axes[row * (rows // groups), column]
        top.imshow(to_rgb_array(image))
        if titles is not None:
            top.set_title(titles[i], fontsize=9)
        if masks is not None:
            axes[2 * row + 1, column].imshow(overlay(image, masks[i]))
    if masks is not None:
        class_legend(figure, class_names)
    return _finish(figure)


def plot_predictions(
    images: Tensor,
    masks: Tensor,
    predictions: Tensor,
    titles: Sequence[str] | None = None,
    confidence: Tensor | None = None,
    class_names: Sequence[str] = CLASS_NAMES,
) -> Figure:
    """One row for each image: photo, truth, prediction, errors and, if given, confidence (N, H, W) in 0..1.

    Raises ValueError if there are none.
    """
    _check_some(images)
    heads = ["photo", "truth", "prediction", "errors, in the color\nof what was predicted"]
    heads += [] if confidence is None else ["confidence"]
    figure, axes = _picture_grid(len(images), len(heads))
    for i, row in enumerate(axes):
        image, mask, prediction = images[i], masks[i], predictions[i]
        pictures = to_rgb_array(image), overlay(image, mask), overlay(image, prediction)
        for ax, picture in zip(row, (*pictures, error_map(image, mask, prediction)), strict=False):
            ax.imshow(np.clip(picture, 0, 1))
        if confidence is not None:
            shown = row[-1].imshow(
                np.asarray(confidence[i]), cmap="gray", vmin=1 / len(class_names), vmax=1
            )
        if titles is not None:
            row[0].set_ylabel(titles[i], fontsize=8)
    for ax, head in zip(axes[0], heads, strict=True):
        ax.set_title(head, fontsize=9)
    if confidence is not None:
        figure.colorbar(shown, ax=axes[:, -1], shrink=0.6, label="probability")
    class_legend(figure, class_names)
    return _finish(figure)


def plot_history(
    history: dict[str, list[float]] | dict[str, dict[str, list[float]]],
    smooth: int = 1,
    first: int = 1,
) -> Figure:
    """Losses and validation mIoU by epoch, of one history or of several under their names.

    smooth: each point is the mean of so many epochs, the last of them its own. first: the epoch to begin with.
    """
    histories = {"": history} if "train_loss" in history else history
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2))
    figure.subplots_adjust(0.07, 0.16, 0.98, 0.9)
    for i, (name, values) in enumerate(histories.items()):
        epochs = range(first, len(values["val_loss"]) + 1)
        curves = {
            key: [np.mean(of_epoch[max(0, e - smooth) : e]) for e in epochs]
            for key, of_epoch in values.items()
        }
        color = f"C{i}"
        for part, key in (("training", "train_loss"), ("validation", "val_loss")):
            left.plot(epochs, curves[key], _LINES[part], color=color, label=part)
        right.plot(epochs, curves["val_miou"], color=color, label=name or "validation")
    left.set(xlabel="epoch", ylabel="loss", title="Loss")
    right.set(xlabel="epoch", ylabel="mIoU", title="Validation mIoU")
    if first == 1:
        right.set(ylim=(0, 1))
    if len(histories) > 1:
        left.legend(
            handles=[Line2D([], [], color="0.4", ls=ls, label=n) for n, ls in _LINES.items()],
            frameon=False,
        )
        right.legend(frameon=False, fontsize=8)
    else:
        left.legend(frameon=False)
    for ax in (left, right):
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.grid(alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
    return _finish(figure)


def plot_confusion(matrix: Tensor, class_names: Sequence[str] | None = None) -> Figure:
    """A confusion matrix (C, C): shares of each true class, with the IoU of each class at the side.

    class_names: those of the pets if None and C is 3, else the numbers 0..C-1.
    """
    counts = np.asarray(matrix, dtype=float)
    if class_names is None:
        class_names = (
            CLASS_NAMES if len(counts) == len(CLASS_NAMES) else [str(c) for c in range(len(counts))]
        )
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    figure, ax = plt.subplots(figsize=(4.6, 3.6), layout="constrained")
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        ax.text(
            column,
            row,
            f"{share:.1%}",
            ha="center",
            va="center",
            color="white" if share > 0.5 else "black",
        )
    of_class = iou(matrix).tolist()
    rows = [f"{name}\n(IoU {value:.2f})" for name, value in zip(class_names, of_class, strict=True)]
    ax.set_xticks(range(len(counts)), class_names)
    ax.set_yticks(range(len(counts)), rows)
    ax.set(xlabel="predicted", ylabel="true", title="Where the pixels of each true class went")
    return _finish(figure)


def plot_feature_maps(maps: dict[str, Tensor], channels: int = 6) -> Figure:
    """The first channels of feature maps (C, H, W), one row for each name, every map on its own gray scale."""
    figure, axes = _picture_grid(
        len(maps), min(channels, max(len(m) for m in maps.values())), side=0.9
    )
    for row, (name, features) in zip(axes, maps.items(), strict=True):
        for ax, channel in zip(row, features, strict=False):
            ax.imshow(np.asarray(channel), cmap="gray")
        row[0].set_ylabel(
            f"{name}\n{len(features)} x {features.shape[1]} x {features.shape[2]}", fontsize=7
        )
    return _finish(figure)


def _picture_grid(rows: int, columns: int, side: float = 1.5) -> tuple[Figure, np.ndarray]:
    size = (side * columns + 0.3, side * rows + 0.5)
    figure, axes = plt.subplots(
        rows, columns, figsize=size, dpi=72, layout="constrained", squeeze=False
    )
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    return figure, axes


def _check_some(images: Tensor) -> None:
    if not len(images):
        raise ValueError("there are no images to show: the selection is empty")


def class_legend(
    figure: Figure | Axes,
    class_names: Sequence[str] = CLASS_NAMES,
    place: str = "outside lower center",
) -> None:
    patches = [
        Patch(color=color, label=name) for name, color in zip(class_names, _COLORS, strict=False)
    ]
    figure.legend(handles=patches, loc=place, ncols=len(patches), frameon=False, fontsize=9)


def _finish(figure: Figure) -> Figure:
    plt.close(figure)  # a notebook shows the returned figure, and only once
    return figure
