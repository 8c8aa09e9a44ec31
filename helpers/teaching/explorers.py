"""Explorers for notebooks: ipywidgets that redraw a figure of `helpers.visualization` or `helpers.plan`.

Every control has a label and works by keyboard: Tab to reach it, arrow keys to move it. The picture as it was when the
cell ran is saved in the notebook beside the controls, for readers without a kernel.
"""

from base64 import b64encode
from collections.abc import Callable, Sequence
from io import BytesIO

from helpers.constants import CLASS_NAMES, IGNORE_INDEX
from helpers.data import Pairs
from helpers.metrics import ConfusionMatrix, iou
from helpers.teaching.unet_plan import UNetPlan, plot_plan
from helpers.visualization import error_map, overlay, plot_history, to_rgb_array

import ipywidgets as widgets
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F


class Explorer(widgets.VBox):
    """Controls, a picture that follows them, and a line of text below it.

    controls: widgets with a description. draw: gives the figure and the text for the controls' present values.
    """

    def __init__(
        self, controls: Sequence[widgets.Widget], draw: Callable[[], tuple[Figure, str]]
    ) -> None:
        self.controls = {control.description: control for control in controls}
        self.picture = widgets.Image(format="png", layout={"max_width": "100%"})
        self.text = widgets.HTML()
        self._draw = draw
        for control in controls:
            control.style.description_width = "initial"
            control.observe(self.redraw, "value")
        self.redraw()
        row = widgets.HBox(controls, layout={"flex_flow": "row wrap"})
        super().__init__([row, self.picture, self.text])

    def redraw(self, _change: object = None) -> None:
        """Draw the picture and the text again."""
        figure, self.text.value = self._draw()
        buffer = BytesIO()
        figure.savefig(buffer, format="png", dpi=90, pil_kwargs={"compress_level": 1})
        self.picture.value = buffer.getvalue()

    def _repr_mimebundle_(self, **options: object) -> dict[str, object]:
        bundle = dict(super()._repr_mimebundle_(**options))
        small = BytesIO()
        Image.open(BytesIO(self.picture.value)).convert("RGB").save(
            small, format="jpeg", quality=85
        )
        bundle["image/jpeg"] = b64encode(small.getvalue()).decode()
        bundle["text/plain"] = "Run this cell to move the controls: " + ", ".join(self.controls)
        return bundle


def explore_dataset(*lists: Pairs, columns: int = 5) -> Explorer:
    """Browse decoded pairs of one size by list, breed and share of border pixels, a page at a time."""
    rows = [(part, i) for part in lists for i in range(len(part))]
    breeds = [part.names[i].rsplit("_", 1)[0] for part, i in rows]
    border = [100 * (part.masks[i] == 2).float().mean().item() for part, i in rows]
    top = int(max(border)) + 1
    split = _choice(["all", *(part.split for part in lists)], "List")
    breed = _choice(["all", *sorted(set(breeds))], "Breed")
    share = widgets.IntRangeSlider(
        min=0, max=top, value=(0, top), description="Border, %", continuous_update=False
    )
    page = widgets.IntSlider(min=1, max=1, description="Page", continuous_update=False)

    def chosen() -> list[int]:
        return [
            k
            for k, (part, _) in enumerate(rows)
            if split.value in ("all", part.split)
            and breed.value in ("all", breeds[k])
            and share.value[0] <= border[k] <= share.value[1]
        ]

    def turn_back(_change: object = None) -> None:
        page.max = max(1, -(-len(chosen()) // columns))
        page.value = 1

    def draw() -> tuple[Figure, str]:
        found = chosen()
        shown = found[(page.value - 1) * columns : page.value * columns]
        if not shown:
            blank = to_rgb_array(torch.ones_like(lists[0].images[0], dtype=torch.float))
            return plot_mosaic(
                [[blank] * columns], [[""] * columns]
            ), "No pair fits: choose less narrowly."
        photos = [to_rgb_array(rows[k][0].images[rows[k][1]]) for k in shown]
        tinted = [
            overlay(rows[k][0].images[rows[k][1]], rows[k][0].masks[rows[k][1]]) for k in shown
        ]
        blank = [photos[0] * 0 + 1] * (columns - len(shown))  # so that the picture keeps its size
        names = [rows[k][0].names[rows[k][1]] for k in shown] + [""] * len(blank)
        shares = [f"border {border[k]:.0f} %" for k in shown] + [""] * len(blank)
        text = f"{len(found)} of {len(rows)} pairs, page {page.value} of {page.max}"
        return plot_mosaic([photos + blank, tinted + blank], [names, shares]), text

    turn_back()
    for control in (split, breed, share):
        control.observe(turn_back, "value")
    return Explorer([split, breed, share, page], draw)


def explore_augmentation(photo: Tensor, mask: Tensor) -> Explorer:
    """Move a photo, and its mask with it or wrongly. Shapes: uint8 (3, S, S) and class indices (S, S)."""
    ways = {
        "along, nearest (right)": "right",
        "not at all (wrong)": "stays",
        "along, bilinear (wrong)": "bilinear",
    }
    way = _choice(ways, "Mask moves")
    angle = widgets.IntSlider(
        min=-45, max=45, step=5, value=15, description="Turn, degrees", continuous_update=False
    )
    scale = widgets.FloatSlider(
        min=0.5, max=2, step=0.1, value=1.2, description="Scale", continuous_update=False
    )
    mirror = widgets.Checkbox(description="Mirror", indent=False)

    def move(image: Tensor, mode: InterpolationMode, fill: int) -> Tensor:
        image = image.flip(-1) if mirror.value else image
        return F.affine(
            image, angle.value, [0, 0], scale.value, [0.0, 0.0], mode, fill=[fill] * len(image)
        )

    def draw() -> tuple[Figure, str]:
        moved = move(photo, InterpolationMode.BILINEAR, 124)
        right = move(mask[None], InterpolationMode.NEAREST, IGNORE_INDEX)[0]
        given = right
        if way.value == "stays":
            given = mask
        elif way.value == "bilinear":
            smooth = (
                move(mask[None].float(), InterpolationMode.BILINEAR, 1)[0].round().to(mask.dtype)
            )
            given = smooth.where(right != IGNORE_INDEX, right)
        wrong = (given != right) & (right != IGNORE_INDEX)
        side = mask.shape[-1] // 4
        edges = torch.nn.functional.avg_pool2d(
            (wrong | (right == 2)).float()[None], side, stride=1
        )[0]
        top, left = divmod(int(edges.argmax()), edges.shape[1])
        window = overlay(moved, given)[top : top + side, left : left + side]
        pictures = [
            to_rgb_array(moved),
            overlay(moved, given),
            window,
            error_map(moved, right, given),
        ]
        titles = ["photo", "mask over photo", "a window of it", "wrong labels"]
        ring = int((wrong & (given == 1)).sum())
        text = f"{int(wrong.sum())} pixels with a wrong label, {ring} of them background"
        return plot_mosaic([pictures], [titles], side=2), text

    return Explorer([way, angle, scale, mirror], draw)


def explore_unet(photo: Tensor) -> Explorer:
    """Design a U-Net: depth, width, kernel and input size. photo: uint8 (3, H, W), to lay the receptive field on."""
    depth = widgets.IntSlider(min=1, max=5, value=4, description="Depth", continuous_update=False)
    width = widgets.SelectionSlider(
        options=[4, 8, 16, 24, 32, 48, 64], value=16, description="Channels at full size"
    )
    kernel = widgets.SelectionSlider(options=[1, 3, 5, 7], value=3, description="Kernel")
    size = widgets.SelectionSlider(
        options=[32, 64, 96, 128, 192, 256, 384, 512], value=128, description="Input, px"
    )
    batch = widgets.SelectionSlider(options=[1, 2, 4, 8, 16, 32, 64], value=16, description="Batch")

    def draw() -> tuple[Figure, str]:
        plan = UNetPlan(size.value, width.value, depth.value, kernel.value)
        count, maps = sum(plan.parameters), sum(plan.activations) / 1e6
        low, high = plan.receptive_interval(plan.size // 2)
        text = (
            f"{count / 1e6:.3g} M parameters; with gradients and Adam's two moments {16 * count / 1e6:.3g} MB. "
            f"Maps kept for the backward pass: {maps:.3g} MB an image, {batch.value * maps / 1e3:.3g} GB a batch. "
            f"The middle pixel depends on {high - low + 1} px of {plan.size}."
        )
        return plot_plan(plan, F.resize(photo, [plan.size, plan.size], antialias=True)), text

    return Explorer([depth, width, kernel, size, batch], draw)


def explore_runs(histories: dict[str, dict[str, list[float]]]) -> Explorer:
    """Compare training curves: histories of `helpers.training.fit` or of run records, by name."""
    names = list(histories)
    runs = [_choice(["none", *names], f"Run {k}") for k in (1, 2, 3)]
    for control, name in zip(runs, names, strict=False):
        control.value = name
    smooth = widgets.IntSlider(min=1, max=9, description="Mean of, epochs", continuous_update=False)
    longest = max(len(history["val_loss"]) for history in histories.values())
    first = widgets.IntSlider(
        min=1, max=max(1, longest - 2), description="From epoch", continuous_update=False
    )

    def draw() -> tuple[Figure, str]:
        chosen = [control.value for control in runs if control.value != "none"] or names[:1]
        shown = {name: histories[name] for name in chosen}
        lines = []
        for name, history in shown.items():
            best = max(history["val_miou"])
            lines.append(
                f"{name}: best validation mIoU {best:.3f}, epoch {history['val_miou'].index(best) + 1}"
            )
        return plot_history(shown, smooth.value, first.value), "; ".join(lines)

    return Explorer([*runs, smooth, first], draw)


def explore_predictions(
    images: Tensor, masks: Tensor, probabilities: Tensor, names: Sequence[str]
) -> Explorer:
    """Browse predictions from worst to best, with a threshold on their probability.

    Args:
        images: RGB (N, 3, H, W). masks: (N, H, W). probabilities: (N, C, H, W). names: of the images.
    """
    confidence, answers = probabilities.max(dim=1)
    confusion = ConfusionMatrix(probabilities.shape[1])
    confusion.update(answers, masks)
    of_class = iou(confusion.per_image)  # (N, C)
    scores = {
        "mIoU": of_class.nanmean(dim=1),
        **{f"IoU of {c}": of_class[:, k] for k, c in enumerate(CLASS_NAMES)},
    }
    by = _choice(list(scores), "Sorted by")
    rank = widgets.IntSlider(min=1, max=len(images), description="Rank", continuous_update=False)
    kind = _choice(["all", *CLASS_NAMES], "Class")
    least = widgets.FloatSlider(
        min=0, max=1, step=0.05, value=0.5, description="Threshold", continuous_update=False
    )
    opacity = widgets.FloatSlider(
        min=0, max=1, step=0.1, value=0.5, description="Opacity", continuous_update=False
    )

    def draw() -> tuple[Figure, str]:
        order = (
            scores[by.value].nan_to_num(2).argsort().tolist()
        )  # images without the class come last
        i = order[rank.value - 1]
        image, mask, truth, errors = (
            images[i],
            masks[i],
            masks[i],
            error_map(images[i], masks[i], answers[i]),
        )
        text = f"{rank.value} of {len(order)} by {by.value}: {names[i]}, " + ", ".join(
            f"{name} {values[i]:.3f}" for name, values in scores.items()
        )
        if kind.value == "all":
            chance = confidence[i]
            shown = answers[i].where(chance >= least.value, IGNORE_INDEX)  # the rest is darkened
            text += (
                f"; {(chance >= least.value).float().mean():.0%} of the pixels reach the threshold"
            )
        else:
            k = CLASS_NAMES.index(kind.value)
            chance, counted = probabilities[i, k], mask != IGNORE_INDEX
            found, true = chance >= least.value, mask == k
            truth, shown = (
                mask.where(true, IGNORE_INDEX),
                mask.new_full(mask.shape, k).where(found, IGNORE_INDEX),
            )
            errors = error_map(image, mask, mask)
            errors[found & ~true & counted] = overlay(image, mask.new_full(mask.shape, k), 1)[0, 0]
            errors[~found & true] = 0
            hits, union = (found & true).sum(), ((found | true) & counted).sum()
            text += f"; {kind.value} from {least.value:.2f}: IoU {_ratio(hits, union)}, precision "
            text += f"{_ratio(hits, (found & counted).sum())}, recall {_ratio(hits, true.sum())}"
        probability = to_rgb_array(chance[None].expand(3, -1, -1))
        pictures = [
            to_rgb_array(image),
            overlay(image, truth, opacity.value),
            overlay(image, shown, opacity.value),
        ]
        titles = [
            "photo",
            "truth",
            "prediction",
            "errors" if kind.value == "all" else "false, missed (black)",
        ]
        return plot_mosaic([[*pictures, errors, probability]], [[*titles, "probability"]]), text

    return Explorer([by, rank, kind, least, opacity], draw)


def explore_features(
    model: nn.Module, inputs: Tensor, images: Tensor, masks: Tensor, shown: int = 5
) -> Explorer:
    """Feature maps of a trained `helpers.model.UNet`, and what cutting one skip does to its answer.

    Args:
        inputs: normalized images (N, 3, H, W). images: the same to look at. masks: (N, H, W).
        shown: number of channels in the picture.
    """
    model = model.cpu().eval()
    layers = {"stem": model.stem, **{f"down {k + 1}": layer for k, layer in enumerate(model.downs)}}
    layers |= {f"up {k + 1}": layer for k, layer in enumerate(model.ups)}
    skips = {"none": None} | {
        f"at 1/{2**level}": up for level, up in enumerate(reversed(model.ups))
    }
    which = widgets.IntSlider(min=1, max=len(images), description="Image", continuous_update=False)
    cut = _choice(list(skips), "Cut skip")
    layer = _choice(list(layers), "Maps of")
    start = widgets.IntSlider(min=1, max=1, description="From channel", continuous_update=False)

    def forward(
        image: Tensor, silenced: nn.Module | None, watched: nn.Module
    ) -> tuple[Tensor, Tensor]:
        kept: list[Tensor] = []
        hooks = [
            watched.register_forward_hook(lambda _layer, _inputs, output: kept.append(output[0]))
        ]
        if silenced is not None:
            silence = silenced.register_forward_pre_hook(
                lambda _layer, args: (args[0], torch.zeros_like(args[1]))
            )
            hooks.append(silence)
        try:
            with torch.inference_mode():
                return model(image[None])[0].argmax(dim=0), kept[0]
        finally:
            for hook in hooks:
                hook.remove()

    def draw() -> tuple[Figure, str]:
        i = which.value - 1
        whole, _ = forward(inputs[i], None, model.stem)
        answer, maps = forward(inputs[i], skips[cut.value], layers[layer.value])
        start.max = max(1, len(maps) - shown + 1)
        first = start.value - 1
        of_class = [_image_iou(some, masks[i]) for some in (whole, answer)]
        pictures = [
            to_rgb_array(images[i]),
            *(overlay(images[i], m) for m in (masks[i], whole, answer)),
        ]
        pictures.append(error_map(images[i], whole, answer))
        titles = ["photo", "truth", "whole network", f"cut: {cut.value}", "what the cut changed"]
        features = [_gray(channel) for channel in maps[first : first + shown]]
        numbers = [f"{layer.value}, channel {first + k + 1}" for k in range(len(features))]
        text = f"mIoU of the whole network {of_class[0].nanmean():.3f}, cut {of_class[1].nanmean():.3f}. IoU of border "
        text += f"{of_class[0][2]:.3f}, cut {of_class[1][2]:.3f}. {layer.value}: {len(maps)} maps of {maps.shape[1]} px"
        return plot_mosaic([pictures, features], [titles, numbers], side=1.5), text

    return Explorer([which, cut, layer, start], draw)


def _choice(options: Sequence[str] | dict[str, str], label: str) -> widgets.SelectionSlider:
    """One of several. (A Dropdown loses its arrow keys to JupyterLab, which moves to the next cell instead.)"""
    pairs = list(options.items()) if isinstance(options, dict) else list(options)
    return widgets.SelectionSlider(options=pairs, description=label, continuous_update=False)


def _image_iou(answer: Tensor, mask: Tensor) -> Tensor:
    confusion = ConfusionMatrix()
    confusion.update(answer[None], mask[None])
    return confusion.iou()


def _ratio(part: Tensor, whole: Tensor) -> str:
    return f"{part / whole:.3f}" if whole else "undefined"


def _gray(channel: Tensor) -> Tensor:
    low, high = channel.min(), channel.max()
    return ((channel - low) / (high - low).clamp(min=1e-6))[..., None].expand(-1, -1, 3).numpy()


def plot_mosaic(
    pictures: Sequence[Sequence[np.ndarray]], titles: Sequence[Sequence[str]], side: float = 1.6
) -> Figure:
    """Rows of pictures, float (H, W, 3) in 0..1, each under its title; drawn as one, which is fast.

    Pictures are enlarged, pixel by pixel, to the size of the first. side: of a picture, in inches.
    """
    height, width = pictures[0][0].shape[:2]
    head, gap = round(0.13 * height), round(0.03 * width)
    columns = max(map(len, pictures))
    canvas = np.ones((len(pictures) * (height + head), columns * (width + gap) - gap, 3))
    size = (side * canvas.shape[1] / width, side * canvas.shape[0] / height + 0.3)
    figure = Figure(figsize=size, dpi=90)
    ax = figure.add_axes((0, 0.3 / size[1], 1, 1 - 0.3 / size[1]))
    for row, (shown, names) in enumerate(zip(pictures, titles, strict=True)):
        for column, (picture, name) in enumerate(zip(shown, names, strict=True)):
            top, left = row * (height + head) + head, column * (width + gap)
            rows, places = (
                np.arange(n) * m // n for n, m in zip((height, width), picture.shape, strict=False)
            )
            canvas[top : top + height, left : left + width] = picture[rows[:, None], places]
            ax.text(
                left + width / 2, top - 0.02 * height, name, ha="center", va="bottom", fontsize=9
            )
    ax.imshow(canvas.clip(0, 1))
    ax.set_axis_off()
    class_legend(figure, place="lower center")
    return figure
