"""Explorers for notebooks: ipywidgets that redraw a figure of `helpers.visualization`.

Every control has a label and works by keyboard: Tab to reach it, arrow keys to move it.
"""

from collections.abc import Callable
from io import BytesIO

import ipywidgets as widgets
import torch
from matplotlib.figure import Figure
from torch import Tensor

from helpers.data import Pairs
from helpers.metrics import ConfusionMatrix, iou
from helpers.visualization import plot_predictions, plot_samples


def explore_dataset(pairs: Pairs, columns: int = 6) -> widgets.VBox:
    """Browse decoded pairs by breed, a page of photos and overlays at a time."""
    breeds = [name.rsplit("_", 1)[0] for name in pairs.names]
    breed = widgets.Dropdown(options=["all breeds", *sorted(set(breeds))], description="Breed")
    page = widgets.IntSlider(min=1, max=1, description="Page", continuous_update=False)

    def chosen() -> list[int]:
        return [i for i, name in enumerate(breeds) if breed.value in ("all breeds", name)]

    def turn_back(_change) -> None:
        page.max = -(-len(chosen()) // columns)
        page.value = 1

    def draw() -> Figure:
        rows = chosen()[(page.value - 1) * columns : page.value * columns]
        return plot_samples(pairs.images[rows], pairs.masks[rows], [pairs.names[i] for i in rows], columns)

    breed.observe(turn_back, "value")
    turn_back(None)
    return _explorer([breed, page], draw)


def explore_predictions(images: Tensor, masks: Tensor, probabilities: Tensor, names: list[str]) -> widgets.VBox:
    """Browse predictions from worst to best by each image's own mIoU, with a confidence threshold.

    Args:
        images: RGB (N, 3, H, W). masks: (N, H, W). probabilities: (N, C, H, W). names: of the images.
    """
    confidence, predictions = probabilities.max(dim=1)
    confusion = ConfusionMatrix(probabilities.shape[1])
    confusion.update(predictions, masks)
    scores = iou(confusion.per_image).nanmean(dim=-1)
    order = scores.argsort().tolist()
    rank = widgets.IntSlider(min=1, max=len(order), description="Rank", continuous_update=False)
    least = widgets.FloatSlider(
        min=0.3, max=1.0, step=0.05, value=0.3, description="Sure from", continuous_update=False
    )

    def draw() -> Figure:
        i = order[rank.value - 1]
        sure = torch.where(confidence[i] >= least.value, predictions[i], 255)  # the rest is darkened
        title = [f"{names[i]}\nmIoU {scores[i]:.2f}"]
        return plot_predictions(images[[i]], masks[[i]], sure[None], title, confidence[[i]])

    return _explorer([rank, least], draw)


def _explorer(controls: list[widgets.Widget], draw: Callable[[], Figure]) -> widgets.VBox:
    picture = widgets.Image(format="png")

    def redraw(_change=None) -> None:
        buffer = BytesIO()
        draw().savefig(buffer, format="png", dpi=90)
        picture.value = buffer.getvalue()

    for control in controls:
        control.observe(redraw, "value")
    redraw()
    return widgets.VBox([widgets.HBox(controls), picture])
