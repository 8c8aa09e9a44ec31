"""Explorers for notebooks: ipywidgets that redraw a figure when a control moves.

Every control has a label and works by keyboard: Tab to reach it, arrow keys to move it. The picture
as it was when the cell ran is saved beside the controls, for readers without a kernel.
"""

import math
import random
import re
from collections.abc import Callable, Sequence
from functools import cache
from io import BytesIO
from typing import Any, NamedTuple

from helpers.constants import CLASS_NAMES, IGNORE_INDEX
from helpers.data import Pairs
from helpers.datasets.folder import OwnFolder
from helpers.inference import predict_logits
from helpers.metrics import ConfusionMatrix, iou
from helpers.model import UNet
from helpers.studies.objects import count_errors, label_objects
from helpers.teaching.outputs import as_html
from helpers.teaching.unet_plan import UNetPlan, plot_plan
from helpers.visualization import COLORS, Colors, class_legend, error_map, overlay, plot_history
from helpers.visualization import to_rgb_array as rgb

import ipywidgets as widgets
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from PIL import Image
from skimage.color import label2rgb
from skimage.segmentation import find_boundaries
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2.functional import affine, resize

SHOWN_MAPS = 5  # feature maps in a row of `explore_features`


class Explorer(widgets.VBox):
    """Controls, a picture that follows them, and a line of text below it.

    Args:
        controls: widgets with a description.
        draw: gives the figure and the text for the controls' present values. It may move controls.
        about: what the picture shows, for those who do not see it.
    """

    def __init__(
        self, controls: Sequence[widgets.Widget], draw: Callable[[], tuple[Figure, str]], about: str
    ) -> None:
        self.controls = {control.description: control for control in controls}
        self.about = about
        self.png = b""
        self.picture = widgets.HTML()  # not an Image: that takes no alt text
        self.text = widgets.HTML()
        self._draw = draw
        self._drawing = False

        for control in controls:
            control.style.description_width = "initial"
            control.observe(self.redraw, "value")
        self.redraw()

        named = [_with_value(control) for control in controls]
        row = widgets.HBox(named, layout={"flex_flow": "row wrap"})
        super().__init__([row, self.picture, self.text])
        self.add_class("explorer")

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
        self.png = buffer.getvalue()
        self.picture.value = as_html(self.png, "png", self.described)

    @property
    def described(self) -> str:
        """What the picture shows, where the controls stand, and the text: for those who listen."""
        present = ", ".join(
            f"{name}: {getattr(control, 'label', control.value)}"
            for name, control in self.controls.items()
        )
        return f"{self.about} ({present}.) {re.sub(r'<[^>]+>', '', self.text.value)}"

    def _repr_mimebundle_(self, **options: object) -> dict[str, object]:
        """What is saved in the notebook: the widget; without a kernel, a JPEG and a line."""
        small = BytesIO()
        picture = Image.open(BytesIO(self.png)).convert("RGB")
        picture.save(small, format="jpeg", quality=85)
        image = as_html(small.getvalue(), "jpeg", self.described)
        line = "Run this cell to move the controls: " + ", ".join(self.controls)
        return dict(super()._repr_mimebundle_(**options)) | {
            "text/html": f"{image}<p>{self.text.value}</p><p><em>{line}</em></p>",
            "text/plain": line,
        }


class Item(NamedTuple):
    """One pair, and how many percent of its mask are of the dataset's last class."""

    image: Tensor
    mask: Tensor
    name: str
    group: str
    split: str
    percent: float


def explore_dataset(*lists: Pairs, columns: int = 4) -> Explorer:
    """Browse decoded pairs of one size by list, breed and percentage of border, page by page.

    Of images of your own: by split, group, and percentage of the last class.
    """
    items = [item for pairs in lists for item in _items(pairs)]
    random.Random(0).shuffle(items)  # so that a page shows several groups
    last = lists[0].class_names[-1].capitalize()
    largest = max(item.percent for item in items)
    digits = 0 if largest >= 10 else 1  # of a percentage: a rare class would be 0 % everywhere
    top, step = max(1, round(largest, digits or None)), 10**-digits
    split = _choice("List", ["all", *(pairs.split for pairs in lists)])
    kind = "Group" if isinstance(lists[0].source, OwnFolder) else "Breed"
    group = _choice(kind, ["all", *sorted({item.group for item in items})])
    of_last = widgets.FloatRangeSlider if digits else widgets.IntRangeSlider
    percent = _slider(f"{last}, %", 0, top, of_last, value=(0, top), step=step)
    page = _slider("Page", 1, 1)
    chosen: list[tuple] = []  # the filters of the picture before

    def draw() -> tuple[Figure, str]:
        low, high = (round(end, digits) for end in percent.value)  # three steps of 0.1 are 0.3
        found = [
            item
            for item in items
            if split.value in ("all", item.split)
            and group.value in ("all", item.group)
            and low <= round(item.percent, digits) <= high  # as below the pictures
        ]

        # Another choice begins on its first page.
        page.max = max(1, math.ceil(len(found) / columns))
        filters = [(split.value, group.value, percent.value)]
        if filters != chosen:
            chosen[:], page.value = filters, 1

        text = f"{len(found)} of {len(items)} pairs, page {page.value} of {page.max}"
        if not found:
            text = "No pair fits: choose less narrowly."
        shown = found[(page.value - 1) * columns : page.value * columns]
        return _plot_page(shown, lists[0], columns, digits), text

    about = "A page of images, and below each of them the same image with its mask."
    return Explorer([split, group, percent, page], draw, about)


def _items(pairs: Pairs) -> list[Item]:
    last = len(pairs.class_names) - 1
    percents = 100 * (pairs.masks == last).mean(dim=(1, 2), dtype=torch.float32)
    known = isinstance(pairs.source, OwnFolder) and {r.name: r.group for r in pairs.source.rows}
    columns = zip(pairs.images, pairs.masks, pairs.names, percents.tolist(), strict=True)
    return [
        Item(image, mask, name, _group(name, known or {}), pairs.split, percent)
        for image, mask, name, percent in columns
    ]


def _group(name: str, known: dict[str, str]) -> str:
    """Of an image of your own, or a tile of one, as images.csv says; of a pet, its breed."""
    return known.get(name) or known.get(name.rpartition(" ")[0]) or name.rsplit("_", 1)[0]


def _plot_page(shown: Sequence[Item], pairs: Pairs, columns: int, digits: int) -> Figure:
    """Images over their masks; what is missing of a page stays white, so that its size is kept."""
    white = [np.ones((*pairs.masks.shape[1:], 3))] * (columns - len(shown))
    colors, last = pairs.class_colors, pairs.class_names[-1]
    photos = [rgb(item.image) for item in shown] + white
    tinted = [overlay(item.image, item.mask, class_colors=colors) for item in shown] + white

    percents = [f"{last} {item.percent:.{digits}f} %" for item in shown]
    titles = [[_shortened(item.name) for item in shown], percents]
    return plot_mosaic([photos, tinted], titles, pairs.class_names, colors)


def _shortened(name: str) -> str:
    """A name that fits above a picture, but for the widest letters: without its middle if long."""
    return name if len(name) <= 32 else f"{name[:15]}...{name[-14:]}"


def explore_augmentation(photo: Tensor, mask: Tensor, class_colors: Colors = COLORS) -> Explorer:
    """Move a photo, and its mask with it or wrongly.

    Shapes: uint8 (3, S, S) and class indices (S, S).
    """
    ways = ("along, nearest (right)", "not at all (wrong)", "along, bilinear (wrong)")
    way = _choice("Mask moves", list(zip(ways, ("right", "stays", "bilinear"), strict=True)))
    angle = _slider("Turn, degrees", -45, 45, value=15, step=5)
    scale = _slider("Scale", 0.5, 2, widgets.FloatSlider, value=1.2, step=0.1)
    mirror = widgets.Checkbox(description="Mirror", indent=False)

    def move(image: Tensor, mode: InterpolationMode, fill: int) -> Tensor:
        image = image.flip(-1) if mirror.value else image
        fills = [fill] * len(image)
        return affine(image, angle.value, [0, 0], scale.value, [0.0, 0.0], mode, fill=fills)

    def draw() -> tuple[Figure, str]:
        moved = move(photo, InterpolationMode.BILINEAR, 124)
        right = move(mask[None], InterpolationMode.NEAREST, IGNORE_INDEX)[0]
        outside = right == IGNORE_INDEX

        smooth = move(mask[None].float(), InterpolationMode.BILINEAR, 1)[0].round().to(mask.dtype)
        bilinear = smooth.where(~outside, right)
        given = {"right": right, "stays": mask, "bilinear": bilinear}[way.value]
        wrong = (given != right) & ~outside

        # The window of a quarter of the side with the most pixels that are wrong, or border.
        side = mask.shape[-1] // 4
        density = F.avg_pool2d((wrong | (right == 2)).float()[None], side, stride=1)[0]
        top, left = divmod(int(density.argmax()), density.shape[1])
        whole = overlay(moved, given, class_colors=class_colors)
        window = whole[top : top + side, left : left + side]

        errors = error_map(moved, right, given, class_colors)
        pictures = [rgb(moved), whole, window, errors]
        titles = ["image", "mask over image", "a window of it", "wrong labels"]
        ring = int((wrong & (given == 1)).sum())
        text = f"{int(wrong.sum())} pixels with a wrong label, {ring} of them background"
        astray = int((outside & (given != IGNORE_INDEX)).sum())
        text += f"; and {astray} with a label on what was filled in, where none belongs"
        return plot_mosaic([pictures], [titles]), text

    about = "An image that was moved, its mask over it, a window of that, and the wrong labels."
    return Explorer([way, angle, scale, mirror], draw, about)


def explore_unet(photo: Tensor) -> Explorer:
    """Design a U-Net: depth, width, kernel and input size.

    photo: uint8 (3, H, W), to lay the receptive field on.
    """
    depth = _slider("Depth", 1, 5, value=4)
    width = _choice("Channels at full size", [4, 8, 16, 24, 32, 48, 64], value=16)
    kernel = _choice("Kernel", [1, 3, 5, 7], value=3)
    size = _choice("Input, px", [32, 64, 96, 128, 192, 256, 384, 512], value=128)
    batch = _choice("Batch", [1, 2, 4, 8, 16, 32, 64], value=16)

    def draw() -> tuple[Figure, str]:
        plan = UNetPlan(size.value, width.value, depth.value, kernel.value)
        count, maps = sum(plan.parameters), sum(plan.activations)
        low, high = plan.receptive_interval(plan.size // 2)
        text = (
            f"{_amount(count)} parameters; with gradients and Adam's two moments"
            f" {_amount(16 * count)}B. Maps kept for the backward pass: {_amount(maps)}B an image,"
            f" {_amount(batch.value * maps)}B a batch. The middle pixel sees"
            f" {high - low + 1} px; the input has {plan.size}."
        )
        return plot_plan(plan, resize(photo, [plan.size, plan.size], antialias=True)), text

    about = "A U-Net drawn to scale, and how far one of its outputs sees in an image."
    return Explorer([depth, width, kernel, size, batch], draw, about)


def _amount(count: float) -> str:
    """Three digits, with the prefix of the unit: "1.94 M"."""
    for prefix in ("", "k", "M"):
        if count < 999.5:
            return f"{count:.3g} {prefix}"
        count /= 1000
    return f"{count:.3g} G"


def explore_runs(histories: dict[str, dict[str, list[float]]]) -> Explorer:
    """Compare training curves: histories of `helpers.training.fit` or of run records, by name."""
    names = list(histories)
    begin = [*names, "none", "none"][:3]
    listed = (names, ["none", *names], ["none", *names])
    runs = [_choice(f"Run {k + 1}", listed[k], value=begin[k]) for k in range(3)]
    first = _slider("From epoch", 1, 1)

    def draw() -> tuple[Figure, str]:
        chosen = [control.value for control in runs if control.value != "none"]
        shown = {name: histories[name] for name in chosen}  # one that is chosen twice, once
        lengths = {name: len(history["val_loss"]) for name, history in shown.items()}
        lines = []
        for name, history in shown.items():
            scores = history["val_miou"]
            epoch = int(np.argmax(scores)) + 1
            lines.append(f"{name}: best validation mIoU {max(scores):.3f}, epoch {epoch}")

        # A line takes two epochs: what ends before is left out.
        first.max = max(1, max(lengths.values()) - 2)
        for name, length in lengths.items():
            if 1 < first.value >= length:
                del shown[name]
        return plot_history(shown, first=first.value), "; ".join(lines)

    about = "Training loss, validation loss and validation mIoU of these runs, epoch by epoch."
    return Explorer([*runs, first], draw, about)


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
    predictions = probabilities.argmax(dim=1)
    confusion = ConfusionMatrix.of(predictions, masks, num_classes=len(class_names))
    of_class = iou(confusion.per_image)  # (N, C)
    scores = {"mIoU": of_class.nanmean(dim=1)}
    scores |= {f"IoU of {name}": of_class[:, k] for k, name in enumerate(class_names)}

    by = _choice("Sorted by", list(scores))
    rank = _slider("Rank", 1, len(images))
    shown_class = _choice("Class", ["all", *class_names])
    least = _slider("Threshold", 0, 1, widgets.FloatSlider, value=0.5, step=0.05)
    opacity = _slider("Opacity", 0, 1, widgets.FloatSlider, value=0.5, step=0.1)

    def draw() -> tuple[Figure, str]:
        order = scores[by.value].nan_to_num(2).argsort().tolist()  # images without the class last
        i = order[rank.value - 1]
        if shown_class.value == "all":
            seen = _view_of_all(probabilities[i], masks[i], least.value, class_colors)
        else:
            k = class_names.index(shown_class.value)
            colors = ("black", class_colors[k])
            seen = _view_of_one(probabilities[i, k], masks[i], k, least.value, colors)
            seen = seen._replace(words=f"{shown_class.value} from {least.value:.2f}: {seen.words}")

        pictures = [
            rgb(images[i]),
            overlay(images[i], seen.truth, opacity.value, seen.colors, seen.plain),
            overlay(images[i], seen.shown, opacity.value, seen.colors, seen.plain),
            error_map(images[i], seen.truth, seen.prediction, seen.colors),
            rgb(seen.probability.expand(3, -1, -1)),
        ]
        titles = ["image", "truth", "prediction", seen.errors, "probability (white: 1)"]

        values = ", ".join(_score(name, of_image[i]) for name, of_image in scores.items())
        text = f"{rank.value} of {len(order)} by {by.value}: {names[i]}, {values}; {seen.words}"
        return plot_mosaic([pictures], [titles], class_names, class_colors), text

    about = "An image, its true mask, the prediction, the errors, and the probabilities."
    return Explorer([by, rank, shown_class, least, opacity], draw, about)


class View(NamedTuple):
    """What `explore_predictions` shows of an image, (H, W) each, and in which colors.

    shown: the prediction as it is tinted. plain: see `overlay`. errors: the title of their map.
    """

    truth: Tensor
    prediction: Tensor
    shown: Tensor
    probability: Tensor
    colors: Colors
    plain: int | None
    errors: str
    words: str


def _view_of_all(probabilities: Tensor, truth: Tensor, least: float, colors: Colors) -> View:
    """All classes of (C, H, W); where the likeliest is below the threshold, it is darkened."""
    probability, prediction = probabilities.max(dim=0)
    sure = probability >= least
    shown = prediction.where(sure, IGNORE_INDEX)
    words = f"{sure.float().mean():.1%} of the pixels reach the threshold"
    return View(truth, prediction, shown, probability, colors, 0, "errors, sure or not", words)


def _view_of_one(
    probability: Tensor, mask: Tensor, number: int, least: float, colors: Colors
) -> View:
    """One class against the rest, which is black: 1 where it is, or is found, 0 elsewhere."""
    truth = (mask == number).long().where(mask != IGNORE_INDEX, IGNORE_INDEX)
    found = (probability >= least).long()
    errors, words = "false, missed (black)", _scores(found, truth)
    return View(truth, found, found, probability, colors, None, errors, words)


def _scores(found: Tensor, truth: Tensor) -> str:
    """IoU, precision and recall of class 1 against 0 in one image."""
    matrix = ConfusionMatrix.of(found[None], truth[None], num_classes=2).matrix
    hits, predicted, true = matrix[1, 1], matrix[:, 1].sum(), matrix[1].sum()
    scores = {"IoU": iou(matrix)[1], "precision": hits / predicted, "recall": hits / true}
    return ", ".join(_score(name, value) for name, value in scores.items())


def _score(name: str, value: Tensor) -> str:
    """A score after its name. NaN is 0 divided by 0, as the precision of what is nowhere found."""
    return f"{name} undefined" if value.isnan() else f"{name} {value:.3f}"


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
    layers, skips = _layers(model), _skips(model)
    which = _slider("Image", 1, len(images))
    cut = _choice("Cut skip", list(skips), value=list(skips)[-2])  # what is saved shows a change
    layer = _choice("Maps of", list(layers))
    start = _slider("From channel", 1, 1)

    def draw() -> tuple[Figure, str]:
        i = which.value - 1
        image, mask = images[i], masks[i]
        whole, _ = _watch(model, inputs[i], model.stem, skips["none"])
        prediction, maps = _watch(model, inputs[i], layers[layer.value], skips[cut.value])

        start.max = max(1, len(maps) - SHOWN_MAPS + 1)
        first = start.value - 1
        channels = maps[first : first + SHOWN_MAPS]
        features = [_gray(channel) for channel in channels]
        numbers = [
            f"channel {k}: {channel.min():.2g} to {channel.max():.2g}"
            for k, channel in enumerate(channels, start=start.value)
        ]

        pictures = [rgb(image)]
        parts = (mask, whole, prediction)
        pictures += [overlay(image, part, class_colors=class_colors) for part in parts]
        pictures.append(error_map(image, whole, prediction, class_colors))
        titles = ["image", "truth", "whole network", f"cut: {cut.value}", "what the cut changed"]

        scores = _before_and_after(whole, prediction, mask, class_names)
        text = f"{scores} {layer.value}: {len(maps)} maps of {maps.shape[1]} px, each"
        text += " in black to white from its lowest to its highest value"
        rows = [pictures, features]
        return plot_mosaic(rows, [titles, numbers], class_names, class_colors), text

    about = "An image, its mask, two predictions and what the cut changed; below, feature maps."
    return Explorer([which, cut, layer, start], draw, about)


def _layers(model: UNet) -> dict[str, nn.Module]:
    """The blocks of a U-Net whose maps can be shown, by name."""
    layers: dict[str, nn.Module] = {"stem": model.stem}
    layers |= {f"down {k}": layer for k, layer in enumerate(model.downs, start=1)}
    return layers | {f"up {k}": layer for k, layer in enumerate(model.ups, start=1)}


def _skips(model: UNet) -> dict[str, nn.Module]:
    """What takes each skip, by the skip's level; "none" is no part of the network."""
    skips: dict[str, nn.Module] = {"none": nn.Identity()}
    return skips | {f"at 1/{2**level}": up for level, up in enumerate(reversed(model.ups))}


def _before_and_after(whole: Tensor, cut: Tensor, mask: Tensor, class_names: Sequence[str]) -> str:
    """The scores of two predictions (H, W) of one image: mIoU, and IoU of the last class."""
    both = torch.stack([whole, cut]), torch.stack([mask, mask])
    before, after = iou(ConfusionMatrix.of(*both, num_classes=len(class_names)).per_image)
    return (
        f"mIoU of the whole network {before.nanmean():.3f}, cut {after.nanmean():.3f}."
        f" {_score(f'IoU of {class_names[-1]}', before[-1])}, {_score('cut', after[-1])}."
    )


def _watch(
    model: nn.Module, image: Tensor, watched: nn.Module, silenced: nn.Module
) -> tuple[Tensor, Tensor]:
    """A prediction (H, W), and the output of `watched`; `silenced` gets a skip of zeros."""
    kept: list[Tensor] = []

    def keep(_layer: nn.Module, _inputs: tuple, output: Tensor) -> None:
        kept.append(output[0])

    def silence(_layer: nn.Module, inputs: tuple) -> tuple:
        return inputs[0], torch.zeros_like(inputs[1])

    # Leaving the block takes the hooks away.
    with watched.register_forward_hook(keep), silenced.register_forward_pre_hook(silence):
        logits = predict_logits(model, image[None])
    return logits[0].argmax(dim=0), kept[0].cpu()


def _gray(channel: Tensor) -> np.ndarray:
    """A feature map (H, W), scaled to 0..1, as a gray picture (H, W, 3)."""
    low, high = channel.min(), channel.max()
    return ((channel - low) / (high - low).clamp(min=1e-6))[..., None].expand(-1, -1, 3).numpy()


def explore_pyramid(
    encoders: dict[str, nn.Module],
    inputs: Tensor,
    images: Tensor,
    cross: tuple[int, int] = (50, 50),
) -> Explorer:
    """What each level of an encoder takes for alike: with the place under a cross, or in colors.

    "likeness" is the cosine between the features of two places, each channel standardized over the
    image before: black is 0 or less, white 1. "main colors" are the three principal components of
    the features at a level as red, green and blue: one color, similar features.

    Args:
        encoders: by name; of images (N, 3, H, W) they give features (N, C, h, w) of each level, as
            those of timm do, and stay in eval() mode.
        inputs: normalized as the encoders want it. images: the same (N, 3, H, W), to look at.
        cross: where it is at first, in percent of the height and of the width.
    """
    which = _slider("Image", 1, len(images))
    weights = _choice("Weights", list(encoders))
    show = _choice("Show", ["likeness", "main colors"])
    down = _slider("Down, %", 0, 95, value=cross[0], step=5)
    across = _slider("Across, %", 0, 95, value=cross[1], step=5)

    with torch.inference_mode():
        levels = {name: encoder.eval()(inputs) for name, encoder in encoders.items()}

    def draw() -> tuple[Figure, str]:
        i = which.value - 1
        pictures, titles, alike = [_crossed(images[i], down.value, across.value)], ["image"], []

        for level in levels[weights.value]:
            channels, height, width = level[i].shape
            likeness = _likeness(level[i], height * down.value // 100, width * across.value // 100)
            alike.append(f"{(likeness > 0.5).float().mean():.1%}")
            titles.append(f"stride {inputs.shape[-2] // height}: {channels} x {height} x {width}")
            in_gray = likeness[..., None].expand(-1, -1, 3)
            shown = in_gray if show.value == "likeness" else _main_colors(level[i])
            pictures.append(shown.numpy())

        text = (
            "Places with a likeness above 0.5 to the cross, from the finest level to the coarsest:"
            f" {', '.join(alike)}"
        )
        if show.value == "main colors":
            text = "One color, similar features: their three main components as red, green, blue"
        return plot_mosaic(_threes(pictures), _threes(titles), class_names=()), text

    about = "An image with a cross, and at each level of an encoder what is like that place."
    return Explorer([which, weights, show, down, across], draw, about)


def _threes(items: list) -> list[list]:
    """In rows of three."""
    return [items[k : k + 3] for k in range(0, len(items), 3)]


def _crossed(image: Tensor, down: int, across: int) -> np.ndarray:
    """An image (3, H, W) as an array (H, W, 3), with a cross at so many percent of each side."""
    picture = rgb(image).copy()
    height, width = picture.shape[:2]
    row, column, arm = height * down // 100, width * across // 100, max(3, height // 20)
    for color, thick in ((0.0, 2), (1.0, 1)):  # white with a black rim: seen on any ground
        for high, wide in ((arm, thick), (thick, arm)):
            top, left = max(row - high, 0), max(column - wide, 0)
            picture[top : row + high, left : column + wide] = color
    return picture


def _likeness(level: Tensor, row: int, column: int) -> Tensor:
    """The cosine of every place's features, of (C, h, w), with those of one place: (h, w)."""
    unit = F.normalize(_standardized(level), dim=0)
    return torch.einsum("chw,c->hw", unit, unit[:, row, column])


def _main_colors(level: Tensor) -> Tensor:
    """The first three principal components of features (C, h, w) as colors (h, w, 3) in 0..1."""
    features = _standardized(level).flatten(1).T.double()  # (h * w, C)
    _, directions = torch.linalg.eigh(features.T @ features)
    colors = features @ directions[:, -3:].flip(1)
    low, high = colors.quantile(0.02, dim=0), colors.quantile(0.98, dim=0)
    scaled = ((colors - low) / (high - low).clamp(min=1e-6)).clamp(0, 1)
    return scaled.reshape(*level.shape[1:], 3).float()


def _standardized(level: Tensor) -> Tensor:
    """Features (C, h, w) of which each channel has mean 0 and, unless constant, deviation 1."""
    deviation, mean = torch.std_mean(level, dim=(1, 2), keepdim=True)
    return (level - mean) / deviation.clamp(min=1e-6)


def explore_objects(
    images: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    counts: Sequence[int],
    split: float | None = None,
) -> Explorer:
    """How many objects there are, by where touching ones are cut, and by the smallest that counts.

    Args:
        images: RGB, uint8 (H, W, 3) each; sizes may differ.
        masks: bool (H, W) each, true where an object is.
        counts: the true number of objects in each image.
        split: at first, above 0; see `label_objects`.
    """
    which = _slider("Image", 1, len(images))
    depths = sorted({0.25, 0.5, 1.0, 2.0, 4.0} | ({split} if split else set()))
    cut = _choice("Split, px", ["none", *depths], value=split or "none")
    least = _slider("Smallest area, px", 0, 400, value=40, step=20)

    @cache  # another image needs no other labels
    def numbered(depth: float | None, area: int) -> list[np.ndarray]:
        return [label_objects(mask.astype(np.uint8), 1, max(area, 1), depth) for mask in masks]

    def draw() -> tuple[Figure, str]:
        i = which.value - 1
        labels = numbered(None if cut.value == "none" else cut.value, least.value)
        found = [int(numbers.max(initial=0)) for numbers in labels]
        errors = count_errors(found, counts)

        # Each object is filled with a color, and has a white rim: neighbors can be told apart.
        plain = images[i] / 255
        colored = label2rgb(labels[i], plain, alpha=0.45, bg_label=0, bg_color=None, saturation=1)
        colored[find_boundaries(labels[i], mode="inner")] = 1
        titles = ["image", f"{found[i]} objects found, {counts[i]} there"]
        text = (
            f"All {len(images)} images: {sum(found)} found, {sum(counts)} there. Error of an"
            f" image: {errors.bias:+.1f} on average, {errors.mean_absolute:.1f} without its sign"
        )
        return plot_mosaic([[plain, colored]], [titles], class_names=(), side=4), text

    about = "An image, and the same with each object that was found filled with a color."
    return Explorer([which, cut, least], draw, about)


def _choice(label: str, options: Sequence, value: Any = None) -> widgets.SelectionSlider:
    """One of several, the first if no value is given.

    (A Dropdown loses its arrow keys to JupyterLab, which moves to the next cell instead.)
    """
    control = widgets.SelectionSlider(
        options=options, description=label, continuous_update=False, readout=False
    )
    if value is not None:
        control.value = value  # now, not above: there the first option would get no label
    return control


def _with_value(control: widgets.Widget) -> widgets.Widget:
    """A choice and its value beside it, whole. (Its readout cuts off, and takes what is typed.)"""
    if not isinstance(control, widgets.SelectionSlider):
        return control
    # A neighbor does not press it; where the window is too narrow, it goes below the handle.
    value = widgets.Label(layout={"flex": "0 0 auto", "margin": "2px 16px 2px 4px"})
    widgets.dlink((control, "label"), (value, "value"))
    return widgets.HBox([control, value], layout={"flex": "0 1 auto", "flex_flow": "row wrap"})


def _slider(
    label: str, low: float, high: float, kind: type = widgets.IntSlider, **more: Any
) -> widgets.Widget:
    """A number that is passed on when the handle is let go; the lowest if no value is given."""
    return kind(min=low, max=high, description=label, continuous_update=False, **more)


def plot_mosaic(
    pictures: Sequence[Sequence[np.ndarray]],
    titles: Sequence[Sequence[str]],
    class_names: Sequence[str] = CLASS_NAMES,
    class_colors: Colors = COLORS,
    side: float = 2.5,
) -> Figure:
    """Rows of pictures, float (H, W, 3) in 0..1, under their titles, in one plot, which is fast.

    Pictures are enlarged to the size of the first.

    Args:
        titles: for each row; the place of a picture beyond the last title stays white.
        class_names, class_colors: for the legend.
        side: of a picture, in inches.
    """
    # A picture is 1 wide and `tall` high; beside it there is a gap, and above it a title.
    tall = pictures[0][0].shape[0] / pictures[0][0].shape[1]
    column, row = 1.03, 1.13 * tall
    width, height = column * max(map(len, pictures)), row * len(pictures)

    foot = 0.3 if class_names else 0.0  # inches, for the legend
    inches = side * width, side * height + foot
    figure = Figure(figsize=inches, dpi=90)
    ax = figure.add_axes((0, foot / inches[1], 1, 1 - foot / inches[1]))

    for i, (shown, names) in enumerate(zip(pictures, titles, strict=True)):
        for j, (picture, name) in enumerate(zip(shown, names, strict=False)):
            left, bottom = column * j, row * (i + 1)
            ax.imshow(picture.clip(0, 1), extent=(left, left + 1, bottom, bottom - tall))
            place = left + 0.5, bottom - 1.02 * tall
            ax.text(*place, name, ha="center", va="bottom", fontsize=9, parse_math=False)

    ax.set(xlim=(0, width), ylim=(height, 0))
    ax.set_axis_off()
    if class_names:
        class_legend(figure, class_names, class_colors, place="lower center")
    return figure


def plot_feature_maps(maps: dict[str, Tensor], channels: int = 6) -> Figure:
    """The first channels of feature maps (C, H, W): a row for each name, a gray scale for each."""
    rows = [[_gray(channel) for channel in features[:channels]] for features in maps.values()]
    sizes = [" x ".join(map(str, features.shape)) for features in maps.values()]
    heads = [[f"{name}: {size}"] + [""] * channels for name, size in zip(maps, sizes, strict=True)]
    return plot_mosaic(rows, heads, class_names=(), side=1.7)
