"""Explorers for notebooks: ipywidgets that redraw a figure when a control moves.

Every control has a label and works by keyboard: Tab to reach it, arrow keys to move it. The picture
as it was when the cell ran is saved beside the controls, for readers without a kernel.
"""

import math
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import NamedTuple

from helpers.constants import CLASS_NAMES, IGNORE_INDEX
from helpers.data import Pairs
from helpers.inference import predict_logits
from helpers.metrics import ConfusionMatrix, iou
from helpers.model import UNet
from helpers.teaching.unet_plan import UNetPlan, plot_plan
from helpers.visualization import (
    COLORS,
    Colors,
    class_legend,
    error_map,
    overlay,
    plot_history,
    to_rgb_array,
)

import ipywidgets as widgets
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2.functional import affine, resize

SHOWN_MAPS = 5  # feature maps in a row of `explore_features`


class Explorer(widgets.VBox):
    """Controls, a picture that follows them, and a line of text below it.

    Args:
        controls: widgets with a description.
        draw: gives the figure and the text for the controls' present values. It may move controls.
    """

    def __init__(
        self, controls: Sequence[widgets.Widget], draw: Callable[[], tuple[Figure, str]]
    ) -> None:
        self.controls = {control.description: control for control in controls}
        self.picture = widgets.Image(format="png", layout={"max_width": "100%"})
        self.text = widgets.HTML()
        self._draw = draw
        self._drawing = False

        for control in controls:
            control.style.description_width = "initial"
            control.observe(self.redraw, "value")
        self.redraw()

        row = widgets.HBox(controls, layout={"flex_flow": "row wrap"})
        super().__init__([row, self.picture, self.text])

    def redraw(self, _change: object = None) -> None:
        """Draw the picture and the text again."""
        if self._drawing:  # `draw` itself has moved a control, such as the page
            return
        self._drawing = True
        try:
            figure, self.text.value = self._draw()
        finally:
            self._drawing = False

        buffer = BytesIO()
        figure.savefig(buffer, format="png", dpi=90, pil_kwargs={"compress_level": 1})
        self.picture.value = buffer.getvalue()

    def _repr_mimebundle_(self, **options: object) -> dict[str, object]:
        """What is saved in the notebook: the widget; without a kernel, a JPEG and a line."""
        small = BytesIO()
        picture = Image.open(BytesIO(self.picture.value)).convert("RGB")
        picture.save(small, format="jpeg", quality=85)
        return dict(super()._repr_mimebundle_(**options)) | {
            "image/jpeg": b64encode(small.getvalue()).decode(),
            "text/plain": "Run this cell to move the controls: " + ", ".join(self.controls),
        }


@dataclass(frozen=True)
class Item:
    """One pair of a split, and how many percent of its mask are of the last class."""

    pairs: Pairs
    index: int
    percent: float

    @property
    def name(self) -> str:
        return self.pairs.names[self.index]

    @property
    def breed(self) -> str:
        return self.name.rsplit("_", 1)[0]


def explore_dataset(*lists: Pairs, columns: int = 5) -> Explorer:
    """Browse decoded pairs of one size by split, breed and percentage of border, page by page.

    The border is the last of the dataset's classes, whatever its name.
    """
    items = _one_of_each_breed_first(lists)
    border = lists[0].class_names[-1].capitalize()
    top = int(max(item.percent for item in items)) + 1
    split = _choice(["all", *(part.split for part in lists)], "List")
    breed = _choice(["all", *sorted({item.breed for item in items})], "Breed")
    percent = _slider(f"{border}, %", 0, top, (0, top), kind=widgets.IntRangeSlider)
    page = _slider("Page", 1, 1)
    chosen: list[tuple] = []  # the filters of the picture before

    def draw() -> tuple[Figure, str]:
        low, high = percent.value
        found = [
            item
            for item in items
            if split.value in ("all", item.pairs.split)
            and breed.value in ("all", item.breed)
            and low <= item.percent <= high
        ]

        # Another choice begins on its first page.
        page.max = max(1, math.ceil(len(found) / columns))
        filters = [(split.value, breed.value, percent.value)]
        if filters != chosen:
            chosen[:], page.value = filters, 1

        text = f"{len(found)} of {len(items)} pairs, page {page.value} of {page.max}"
        if not found:
            text = "No pair fits: choose less narrowly."
        shown = found[(page.value - 1) * columns : page.value * columns]
        return _plot_page(shown, lists[0], columns), text

    return Explorer([split, breed, percent, page], draw)


def _one_of_each_breed_first(lists: Sequence[Pairs]) -> list[Item]:
    """All pairs, in turns of one from each breed, so that the first page shows several breeds."""
    turns: Counter[str] = Counter()
    found = []
    for pairs in lists:
        last = len(pairs.class_names) - 1
        percents = 100 * (pairs.masks == last).float().mean(dim=(1, 2))
        for i, percent in enumerate(percents.tolist()):
            item = Item(pairs, i, percent)
            turns[item.breed] += 1
            found.append((turns[item.breed], item))
    return [item for _, item in sorted(found, key=lambda turn_and_item: turn_and_item[0])]


def _plot_page(shown: Sequence[Item], pairs: Pairs, columns: int) -> Figure:
    """Images over their masks; what is missing of a page stays white, so that its size is kept."""
    images = [item.pairs.images[item.index] for item in shown]
    masks = [item.pairs.masks[item.index] for item in shown]
    colors = pairs.class_colors
    tinted = [overlay(image, mask, 0.5, colors) for image, mask in zip(images, masks, strict=True)]
    white = [np.ones((*pairs.masks.shape[1:], 3))] * (columns - len(shown))

    names = [item.name for item in shown]
    percents = [f"{pairs.class_names[-1]} {item.percent:.0f} %" for item in shown]
    rows = [[*map(to_rgb_array, images), *white], tinted + white]
    return plot_mosaic(rows, [names, percents], pairs.class_names, colors)


def explore_augmentation(photo: Tensor, mask: Tensor) -> Explorer:
    """Move a photo, and its mask with it or wrongly.

    Shapes: uint8 (3, S, S) and class indices of the pets (S, S).
    """
    ways = [
        ("along, nearest (right)", "right"),
        ("not at all (wrong)", "stays"),
        ("along, bilinear (wrong)", "bilinear"),
    ]
    way = _choice(ways, "Mask moves", "right")
    angle = _slider("Turn, degrees", -45, 45, 15, step=5)
    scale = _slider("Scale", 0.5, 2, 1.2, step=0.1, kind=widgets.FloatSlider)
    mirror = widgets.Checkbox(description="Mirror", indent=False)

    def move(image: Tensor, mode: InterpolationMode, fill: int) -> Tensor:
        image = image.flip(-1) if mirror.value else image
        fills = [fill] * len(image)
        return affine(image, angle.value, [0, 0], scale.value, [0.0, 0.0], mode, fill=fills)

    def draw() -> tuple[Figure, str]:
        moved = move(photo, InterpolationMode.BILINEAR, 124)
        right = move(mask[None], InterpolationMode.NEAREST, IGNORE_INDEX)[0]

        given = right
        if way.value == "stays":
            given = mask
        elif way.value == "bilinear":
            smooth = move(mask[None].float(), InterpolationMode.BILINEAR, 1)[0].round()
            given = smooth.to(mask.dtype).where(right != IGNORE_INDEX, right)
        wrong = (given != right) & (right != IGNORE_INDEX)

        # The window of a quarter of the side with the most wrong or border pixels.
        side = mask.shape[-1] // 4
        density = F.avg_pool2d((wrong | (right == 2)).float()[None], side, stride=1)[0]
        top, left = divmod(int(density.argmax()), density.shape[1])
        whole = overlay(moved, given)
        window = whole[top : top + side, left : left + side]

        pictures = [to_rgb_array(moved), whole, window, error_map(moved, right, given)]
        titles = ["photo", "mask over photo", "a window of it", "wrong labels"]
        ring = int((wrong & (given == 1)).sum())
        text = f"{int(wrong.sum())} pixels with a wrong label, {ring} of them background"
        return plot_mosaic([pictures], [titles], side=2), text

    return Explorer([way, angle, scale, mirror], draw)


def explore_unet(photo: Tensor) -> Explorer:
    """Design a U-Net: depth, width, kernel and input size.

    photo: uint8 (3, H, W), to lay the receptive field on.
    """
    depth = _slider("Depth", 1, 5, 4)
    width = _choice([4, 8, 16, 24, 32, 48, 64], "Channels at full size", 16)
    kernel = _choice([1, 3, 5, 7], "Kernel", 3)
    size = _choice([32, 64, 96, 128, 192, 256, 384, 512], "Input, px", 128)
    batch = _choice([1, 2, 4, 8, 16, 32, 64], "Batch", 16)

    def draw() -> tuple[Figure, str]:
        plan = UNetPlan(size.value, width.value, depth.value, kernel.value)
        count, maps = sum(plan.parameters), sum(plan.activations) / 1e6
        low, high = plan.receptive_interval(plan.size // 2)
        text = (
            f"{count / 1e6:.3g} M parameters; with gradients and Adam's two moments"
            f" {16 * count / 1e6:.3g} MB. Maps kept for the backward pass: {maps:.3g} MB an image,"
            f" {batch.value * maps / 1e3:.3g} GB a batch. The middle pixel depends on"
            f" {high - low + 1} px of {plan.size}."
        )
        return plot_plan(plan, resize(photo, [plan.size, plan.size], antialias=True)), text

    return Explorer([depth, width, kernel, size, batch], draw)


def explore_runs(histories: dict[str, dict[str, list[float]]]) -> Explorer:
    """Compare training curves: histories of `helpers.training.fit` or of run records, by name."""
    names = list(histories)
    first_three = [*names, "none", "none"][:3]
    runs = [
        _choice(["none", *names], f"Run {k}", name) for k, name in enumerate(first_three, start=1)
    ]
    longest = max(len(history["val_loss"]) for history in histories.values())
    first = _slider("From epoch", 1, max(1, longest - 2))

    def draw() -> tuple[Figure, str]:
        chosen = [control.value for control in runs if control.value != "none"] or names[:1]
        lines = []
        for name in chosen:
            scores = histories[name]["val_miou"]
            best = max(scores)
            epoch = scores.index(best) + 1
            lines.append(f"{name}: best validation mIoU {best:.3f}, epoch {epoch}")
        shown = {name: histories[name] for name in chosen}
        return plot_history(shown, first=first.value), "; ".join(lines)

    return Explorer([*runs, first], draw)


def explore_predictions(
    images: Tensor,
    masks: Tensor,
    probabilities: Tensor,
    names: Sequence[str],
    class_names: Sequence[str] = CLASS_NAMES,
    class_colors: Colors = COLORS,
) -> Explorer:
    """Browse predictions from worst to best, with a threshold on their probability.

    Args:
        images: RGB (N, 3, H, W). masks: (N, H, W). probabilities: (N, C, H, W).
        names: of the images. class_names, class_colors: of the C classes.
    """
    confidence, predictions = probabilities.max(dim=1)
    confusion = ConfusionMatrix.of(predictions, masks, num_classes=len(class_names))
    of_class = iou(confusion.per_image)  # (N, C)
    scores = {"mIoU": of_class.nanmean(dim=1)}
    scores |= {f"IoU of {name}": of_class[:, k] for k, name in enumerate(class_names)}

    by = _choice(list(scores), "Sorted by")
    rank = _slider("Rank", 1, len(images))
    shown_class = _choice(["all", *class_names], "Class")
    least = _slider("Threshold", 0, 1, 0.5, step=0.05, kind=widgets.FloatSlider)
    opacity = _slider("Opacity", 0, 1, 0.5, step=0.1, kind=widgets.FloatSlider)

    def draw() -> tuple[Figure, str]:
        order = scores[by.value].nan_to_num(2).argsort().tolist()  # images without the class last
        i = order[rank.value - 1]
        values = ", ".join(f"{name} {of_image[i]:.3f}" for name, of_image in scores.items())
        text = f"{rank.value} of {len(order)} by {by.value}: {names[i]}, {values}; "

        if shown_class.value == "all":
            view = _view_of_all(masks[i], predictions[i], confidence[i], least.value)
            errors = error_map(images[i], masks[i], predictions[i], class_colors)
        else:
            k = class_names.index(shown_class.value)
            view = _view_of_class(masks[i], k, probabilities[i, k], least.value)
            text += f"{shown_class.value} from {least.value:.2f}: "

            # Found and not there: in the color of the class; missed: black.
            found, true = view.prediction == k, view.truth == k
            errors = error_map(images[i], masks[i], masks[i])
            errors[found & ~true & (masks[i] != IGNORE_INDEX)] = to_rgb(class_colors[k])
            errors[true & ~found] = 0

        pictures = [
            to_rgb_array(images[i]),
            overlay(images[i], view.truth, opacity.value, class_colors),
            overlay(images[i], view.prediction, opacity.value, class_colors),
            errors,
            to_rgb_array(view.probability.expand(3, -1, -1)),
        ]
        titles = ["photo", "truth", "prediction", view.title, "probability"]
        return plot_mosaic([pictures], [titles], class_names, class_colors), text + view.text

    return Explorer([by, rank, shown_class, least, opacity], draw)


class View(NamedTuple):
    """What `explore_predictions` shows of one image: masks, a map (H, W), and words."""

    truth: Tensor
    prediction: Tensor
    probability: Tensor
    title: str
    text: str


def _view_of_all(mask: Tensor, prediction: Tensor, confidence: Tensor, least: float) -> View:
    """All classes; where the confidence is below the threshold, the photo is darkened."""
    sure = confidence >= least
    text = f"{sure.float().mean():.0%} of the pixels reach the threshold"
    return View(mask, prediction.where(sure, IGNORE_INDEX), confidence, "errors", text)


def _view_of_class(mask: Tensor, k: int, probability: Tensor, least: float) -> View:
    """Class k against all others, found where its probability reaches the threshold."""
    valid, found, true = mask != IGNORE_INDEX, probability >= least, mask == k

    def ratio(part: Tensor, whole: Tensor) -> str:
        return f"{part.sum() / whole.sum():.3f}" if whole.any() else "undefined"

    hits = found & true
    text = (
        f"IoU {ratio(hits, (found | true) & valid)}, precision {ratio(hits, found & valid)},"
        f" recall {ratio(hits, true)}"
    )
    everywhere = mask.new_full(mask.shape, k)
    truth, prediction = (everywhere.where(part, IGNORE_INDEX) for part in (true, found))
    return View(truth, prediction, probability, "false, missed (black)", text)


def explore_features(
    model: UNet,
    inputs: Tensor,
    images: Tensor,
    masks: Tensor,
    class_names: Sequence[str] = CLASS_NAMES,
    class_colors: Colors = COLORS,
) -> Explorer:
    """Feature maps of a trained U-Net, and what cutting one skip does to its prediction.

    The model stays on its device and in its mode.

    Args:
        inputs: normalized images (N, 3, H, W). images: the same to look at. masks: (N, H, W).
        class_names, class_colors: of the model's classes.
    """
    layers: dict[str, nn.Module] = {"stem": model.stem}
    layers |= {f"down {k}": layer for k, layer in enumerate(model.downs, start=1)}
    layers |= {f"up {k}": layer for k, layer in enumerate(model.ups, start=1)}
    skips: dict[str, nn.Module | None] = {"none": None}
    skips |= {f"at 1/{2**level}": up for level, up in enumerate(reversed(model.ups))}

    which = _slider("Image", 1, len(images))
    cut = _choice(list(skips), "Cut skip", list(skips)[-2])  # the saved picture shows a change
    layer = _choice(list(layers), "Maps of")
    start = _slider("From channel", 1, 1)

    def draw() -> tuple[Figure, str]:
        i = which.value - 1
        image, mask = images[i], masks[i]
        whole, _ = _watch(model, inputs[i], model.stem)
        prediction, maps = _watch(model, inputs[i], layers[layer.value], skips[cut.value])

        start.max = max(1, len(maps) - SHOWN_MAPS + 1)
        first = start.value - 1
        features = [_gray(channel) for channel in maps[first : first + SHOWN_MAPS]]
        numbers = [f"{layer.value}, channel {first + k}" for k in range(1, len(features) + 1)]

        pictures = [to_rgb_array(image)]
        pictures += [overlay(image, part, 0.5, class_colors) for part in (mask, whole, prediction)]
        pictures.append(error_map(image, whole, prediction, class_colors))
        titles = ["photo", "truth", "whole network", f"cut: {cut.value}", "what the cut changed"]

        before, after = (
            ConfusionMatrix.of(part[None], mask[None], num_classes=len(class_names)).iou()
            for part in (whole, prediction)
        )
        text = (
            f"mIoU of the whole network {before.nanmean():.3f}, cut {after.nanmean():.3f}."
            f" IoU of {class_names[-1]} {before[-1]:.3f}, cut {after[-1]:.3f}."
            f" {layer.value}: {len(maps)} maps of {maps.shape[1]} px"
        )
        rows = [pictures, features]
        return plot_mosaic(rows, [titles, numbers], class_names, class_colors, side=1.5), text

    return Explorer([which, cut, layer, start], draw)


def _watch(
    model: nn.Module, image: Tensor, watched: nn.Module, silenced: nn.Module | None = None
) -> tuple[Tensor, Tensor]:
    """A prediction (H, W), and the output of `watched`; `silenced` gets a skip of zeros."""
    kept: list[Tensor] = []
    hooks = [watched.register_forward_hook(lambda _layer, _inputs, output: kept.append(output[0]))]
    if silenced is not None:
        hooks.append(
            silenced.register_forward_pre_hook(
                lambda _layer, inputs: (inputs[0], torch.zeros_like(inputs[1]))
            )
        )
    try:
        logits = predict_logits(model, image[None])
    finally:
        for hook in hooks:
            hook.remove()
    return logits[0].argmax(dim=0), kept[0].cpu()


def _gray(channel: Tensor) -> np.ndarray:
    """A feature map (H, W), scaled to 0..1, as a gray picture (H, W, 3)."""
    low, high = channel.min(), channel.max()
    return ((channel - low) / (high - low).clamp(min=1e-6))[..., None].expand(-1, -1, 3).numpy()


def _choice(options: Sequence, label: str, value: object = None) -> widgets.SelectionSlider:
    """One of several, the first if no value is given.

    (A Dropdown loses its arrow keys to JupyterLab, which moves to the next cell instead.)
    """
    value = options[0] if value is None else value
    return widgets.SelectionSlider(
        options=options, value=value, description=label, continuous_update=False
    )


def _slider(
    label: str,
    low: float,
    high: float,
    value: object = None,
    step: float = 1,
    kind: type[widgets.Widget] = widgets.IntSlider,
) -> widgets.Widget:
    """A number that is passed on when the handle is let go; the lowest if no value is given."""
    value = low if value is None else value
    return kind(
        min=low, max=high, value=value, step=step, description=label, continuous_update=False
    )


def plot_mosaic(
    pictures: Sequence[Sequence[np.ndarray]],
    titles: Sequence[Sequence[str]],
    class_names: Sequence[str] = CLASS_NAMES,
    class_colors: Colors = COLORS,
    side: float = 1.6,
) -> Figure:
    """Rows of pictures, float (H, W, 3) in 0..1, under their titles; drawn as one, which is fast.

    Pictures are enlarged, pixel by pixel, to the size of the first.

    Args:
        titles: for each row; pictures beyond the last title have none.
        class_names, class_colors: for the legend.
        side: of a picture, in inches.
    """
    height, width = pictures[0][0].shape[:2]
    head, gap = round(0.13 * height), round(0.03 * width)
    columns = max(map(len, pictures))
    canvas = np.ones((len(pictures) * (height + head), columns * (width + gap) - gap, 3))

    size = (side * canvas.shape[1] / width, side * canvas.shape[0] / height + 0.3)
    figure = Figure(figsize=size, dpi=90)
    ax = figure.add_axes((0, 0.3 / size[1], 1, 1 - 0.3 / size[1]))

    for row, (shown, names) in enumerate(zip(pictures, titles, strict=True)):
        for column, (picture, name) in enumerate(zip(shown, names, strict=False)):
            top, left = row * (height + head) + head, column * (width + gap)

            # The row and the column of the picture that each pixel of its place shows.
            from_rows = np.arange(height) * picture.shape[0] // height
            from_columns = np.arange(width) * picture.shape[1] // width
            enlarged = picture[from_rows[:, None], from_columns]
            canvas[top : top + height, left : left + width] = enlarged

            middle = left + width / 2
            ax.text(middle, top - 0.02 * height, name, ha="center", va="bottom", fontsize=9)

    ax.imshow(canvas.clip(0, 1))
    ax.set_axis_off()
    class_legend(figure, class_names, class_colors, place="lower center")
    return figure
