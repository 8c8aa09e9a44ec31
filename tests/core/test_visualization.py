from helpers import visualization
from helpers.constants import CLASS_COLORS, CLASS_NAMES
from helpers.transforms import denormalize

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure


@pytest.fixture
def batch(splits):
    images, masks = splits.val.__getitems__([0, 1, 2])
    return denormalize(images), masks


def words(figure: Figure) -> str:
    texts = [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]
    return " ".join(texts)


def drawn_as_png(figure: Figure, tmp_path) -> bool:
    figure.savefig(tmp_path / "figure.png")
    pixels = plt.imread(tmp_path / "figure.png")
    return pixels[..., :3].std() > 0.01


def test_every_function_returns_a_closed_figure_that_draws(batch, tmp_path):
    images, masks = batch
    history = {"train_loss": [1.0, 0.5], "val_loss": [1.1, 0.7], "val_miou": [0.3, 0.6]}
    figures = {
        "samples": visualization.plot_samples(images, masks, ["a", "b", "c"], columns=2),
        "predictions": visualization.plot_predictions(images, masks, masks.roll(3), ["x"] * 3, torch.rand(3, 64, 64)),
        "history": visualization.plot_history(history),
        "histories": visualization.plot_history({"with skips": history, "without": history}),
        "confusion": visualization.plot_confusion(torch.tensor([[8, 1, 1], [0, 9, 1], [0, 0, 0]])),
        "features": visualization.plot_feature_maps({"stem": torch.rand(4, 8, 8), "bottleneck": torch.rand(9, 2, 2)}),
    }
    for name, figure in figures.items():
        assert isinstance(figure, Figure) and drawn_as_png(figure, tmp_path), name
        assert not plt.fignum_exists(figure.number), name
    for name in ("samples", "predictions"):
        assert all(label in words(figures[name]) for label in CLASS_NAMES), name
    assert "epoch" in words(figures["history"]) and "with skips" in words(figures["histories"])
    assert "90.0%" in words(figures["confusion"]) and "IoU 0.80" in words(figures["confusion"])


def test_overlay_mixes_photo_and_class_color():
    image = torch.zeros(3, 1, 4)
    tinted = visualization.overlay(image, torch.tensor([[0, 1, 2, 255]]), opacity=0.5)
    for column, color in enumerate(CLASS_COLORS):
        assert np.allclose(tinted[0, column], np.array(to_rgb(color)) / 2)
    assert np.allclose(tinted[0, 3], 0)


def test_error_map_colors_wrong_pixels_by_prediction():
    image = torch.full((3, 1, 4), 0.5)
    errors = visualization.error_map(image, torch.tensor([[0, 0, 255, 1]]), torch.tensor([[0, 2, 1, 255]]))
    assert np.allclose(errors[0, 1], to_rgb(CLASS_COLORS[2]))
    for column in (0, 2, 3):  # right, not counted, not answered
        assert np.ptp(errors[0, column]) == pytest.approx(0)


def test_colors_differ_for_the_color_blind():
    """Under full red-green blindness (Vienot 1999, deuteranopia) all pairs of class colors stay apart."""
    lms = np.array([[17.8824, 43.5161, 4.11935], [3.45565, 27.1554, 3.86714], [0.0299566, 0.184309, 1.46709]])
    blind = np.array([[1, 0, 0], [0.494207, 0, 1.24827], [0, 0, 1]])
    seen = [np.linalg.solve(lms, blind @ lms @ np.array(to_rgb(color)) ** 2.2) for color in CLASS_COLORS]
    assert min(np.linalg.norm(a - b) for i, a in enumerate(seen) for b in seen[:i]) > 0.25


def test_uint8_and_float_images_look_the_same(batch):
    images, _ = batch
    assert np.allclose(
        visualization.to_rgb_array((images[0] * 255).round().byte()), images[0].movedim(0, -1), atol=0.01
    )


def test_other_numbers_of_classes_can_be_drawn():
    masks = torch.arange(5).repeat(2, 5, 1)
    names = ["a", "b", "c", "d", "e"]
    images = torch.zeros(2, 3, 5, 5)
    for figure in (
        visualization.plot_samples(images, masks, class_names=names),
        visualization.plot_predictions(images, masks, masks, class_names=names),
    ):
        assert [text.get_text() for text in figure.legends[0].get_texts()] == names
    figure = visualization.plot_confusion(torch.eye(5))
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == list("01234")


@pytest.mark.parametrize("plot", [visualization.plot_samples, visualization.plot_predictions])
def test_an_empty_selection_is_named(plot, batch):
    images, masks = batch[0][:0], batch[1][:0]
    with pytest.raises(ValueError, match="no images to show"):
        plot(images, masks, masks) if plot is visualization.plot_predictions else plot(images, masks)
