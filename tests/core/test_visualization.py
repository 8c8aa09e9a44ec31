import io

from helpers import visualization
from helpers.constants import CLASS_COLORS, CLASS_NAMES
from helpers.transforms import denormalize, normalize

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

HISTORY = {"train_loss": [1.0, 0.5, 0.4], "val_loss": [1.1, 0.7, 0.6], "val_miou": [0.3, 0.6, 0.7]}


@pytest.fixture
def batch(pairs):
    return denormalize(normalize(pairs.images[:3])), pairs.masks[:3].long()


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]


def pictures(figure: Figure) -> list[list[np.ndarray]]:
    """The pictures of a grid: those of each of its axes, in their order."""
    return [[np.asarray(image.get_array()) for image in ax.images] for ax in figure.axes]


class TestPictures:
    def test_an_overlay_mixes_image_and_class_color(self):
        image, mask = torch.ones(3, 1, 4), torch.tensor([[0, 1, 2, 255]])
        tinted = visualization.overlay(image, mask, opacity=0.25)
        for column, color in enumerate(CLASS_COLORS):
            assert np.allclose(tinted[0, column], 0.75 + np.array(to_rgb(color)) / 4)
        assert np.allclose(tinted[0, 3], 0.75)  # ignored: darker
        own = visualization.overlay(image, mask, 1.0, ["#ff0000", "#00ff00", "#0000ff"])
        assert np.allclose(own[0, :3], np.eye(3))

    def test_the_object_keeps_its_colors_inside_an_outline(self):
        """Or another class, or none: inside are pixels whose four neighbors are of their class."""
        image, mask = torch.full((3, 5, 7), 0.5), torch.zeros(5, 7, dtype=torch.long)
        mask[:, 5:] = 1
        inside = np.zeros((5, 7), dtype=bool)
        inside[:, :4] = True  # the image's own edge is no outline
        for plain, kept in (
            (0, inside),
            (1, np.eye(7, dtype=bool)[[6] * 5]),
            (None, inside & False),
        ):
            shown = visualization.overlay(image, mask, plain=plain)
            assert np.array_equal((shown == 0.5).all(axis=-1), kept)
            color = 0.4 * 0.5 + 0.6 * np.array(to_rgb(CLASS_COLORS[0]))
            assert np.allclose(shown[2, 4], color)  # the outline, or any pixel of the class

    def test_an_error_map_colors_wrong_pixels_by_prediction(self):
        image, truth = torch.full((3, 1, 4), 0.5), torch.tensor([[0, 0, 255, 1]])
        errors = visualization.error_map(image, truth, torch.tensor([[0, 2, 1, 255]]))
        assert np.allclose(errors[0, 1], to_rgb(CLASS_COLORS[2]))
        for column in (0, 2, 3):  # right, not counted, not answered
            assert np.allclose(errors[0, column], 0.7)

    def test_bytes_and_floats_look_the_same(self):
        image = torch.randint(0, 256, (3, 4, 5), dtype=torch.uint8)
        shown = visualization.to_rgb_array(image)
        assert shown.shape == (4, 5, 3) and np.allclose(shown * 255, image.movedim(0, -1))
        assert np.allclose(visualization.to_rgb_array(image / 255), shown)

    def test_class_colors_differ_for_the_color_blind(self):
        """Without one kind of cone (deuteranopia, Vienot 1999), all pairs stay apart."""
        to_lms = np.array(
            [
                [17.8824, 43.5161, 4.11935],
                [3.45565, 27.1554, 3.86714],
                [0.0299566, 0.184309, 1.46709],
            ]
        )
        blind = np.array([[1, 0, 0], [0.494207, 0, 1.24827], [0, 0, 1]])
        cones = [blind @ to_lms @ np.array(to_rgb(color)) ** 2.2 for color in CLASS_COLORS]
        seen = [np.linalg.solve(to_lms, response) for response in cones]
        assert min(np.linalg.norm(a - b) for i, a in enumerate(seen) for b in seen[:i]) > 0.25


class TestSamples:
    def test_each_overlay_stands_under_its_image(self, batch):
        images, masks = batch
        figure = visualization.plot_samples(images, masks, ["a", "b", "c"], columns=2)
        shown = pictures(figure)
        assert len(shown) == 8  # two columns, twice two rows; the last is empty
        for place, i in ((0, 0), (1, 1), (4, 2)):
            assert np.allclose(shown[place][0], visualization.to_rgb_array(images[i]))
            assert np.allclose(shown[place + 2][0], visualization.overlay(images[i], masks[i]))
            assert figure.axes[place].get_title() == "abc"[i]
        assert shown[5] == shown[7] == [] and set(CLASS_NAMES) <= set(words(figure))

    def test_two_dollar_signs_in_a_name_make_no_formula(self, batch):
        figure = visualization.plot_samples(*batch, titles=[r"$\bad", r"$\bad$", "c"])
        figure.savefig(io.BytesIO())  # where a formula would raise an error
        assert [ax.get_title() for ax in figure.axes[:3]] == [r"$\bad", r"$\bad$", "c"]

    def test_without_masks_there_is_no_legend(self, batch):
        figure = visualization.plot_samples(batch[0])
        assert [len(images) for images in pictures(figure)] == [1, 1, 1] and not figure.legends


class TestPredictions:
    def test_a_row_for_each_image(self, batch):
        images, masks = batch
        predicted, confidence = masks.roll(3, dims=-1), torch.rand(3, 32, 32)
        figure = visualization.plot_predictions(images, masks, predicted, list("xyz"), confidence)
        shown = pictures(figure)
        for i in range(3):
            of_row = [shown[5 * i + column][0] for column in range(5)]
            assert np.allclose(of_row[0], visualization.to_rgb_array(images[i]))
            assert np.allclose(of_row[1], visualization.overlay(images[i], masks[i]))
            assert np.allclose(of_row[2], visualization.overlay(images[i], predicted[i]))
            errors = visualization.error_map(images[i], masks[i], predicted[i])
            assert np.allclose(of_row[3], errors)
            assert np.allclose(of_row[4], confidence[i])
            assert figure.axes[5 * i + 4].images[0].get_clim() == (1 / 3, 1)
        assert {"image", "truth", "prediction", "confidence", "x", "probability"} <= set(
            words(figure)
        )

    def test_other_classes_bring_names_and_colors(self):
        masks, images = torch.arange(5).repeat(2, 5, 1), torch.zeros(2, 3, 5, 5)
        names, colors = list("abcde"), ["red", "lime", "blue", "black", "white"]
        options = {"class_names": names, "class_colors": colors}
        for figure in (
            visualization.plot_samples(images, masks, **options),
            visualization.plot_predictions(images, masks, masks, **options),
        ):
            legend = figure.legends[0]
            assert [text.get_text() for text in legend.get_texts()] == names
            faces = [patch.get_facecolor()[:3] for patch in legend.get_patches()]
            assert faces == [to_rgb(color) for color in colors]
            tinted = visualization.overlay(images[0], masks[0], class_colors=colors)
            assert any(np.allclose(p, tinted) for shown in pictures(figure) for p in shown)


class TestHistory:
    def test_losses_and_miou_by_epoch(self):
        losses, scores = visualization.plot_history(HISTORY).axes
        for line, key in zip(losses.lines, ("train_loss", "val_loss"), strict=True):
            assert list(line.get_xdata()) == [1, 2, 3] and list(line.get_ydata()) == HISTORY[key]
        assert losses.lines[0].get_linestyle() == "--" != losses.lines[1].get_linestyle()
        assert list(scores.lines[0].get_ydata()) == HISTORY["val_miou"]
        assert scores.get_ylim() == (0, 1) and scores.get_xlabel() == "epoch"

    def test_several_under_their_names_from_a_later_epoch_on(self):
        figure = visualization.plot_history({"with skips": HISTORY, "without": HISTORY}, first=2)
        losses, scores = figure.axes
        assert [list(line.get_xdata()) for line in losses.lines] == [[2, 3]] * 4
        assert list(scores.lines[1].get_ydata()) == HISTORY["val_miou"][1:]
        texts = [text.get_text() for text in scores.get_legend().get_texts()]
        assert texts == ["with skips", "without"] and scores.get_ylim()[0] > 0

    def test_no_name_is_left_out_of_the_legend(self):
        """matplotlib's own labels begin with an underscore, and are skipped."""
        _, scores = visualization.plot_history({"_first": HISTORY, "second": HISTORY}).axes
        texts = [text.get_text() for text in scores.get_legend().get_texts()]
        assert texts == ["_first", "second"]


def test_pictures_are_large_enough_to_see_each_pixel(batch):
    """At least 220 px wide each, up to four in a row."""
    images, masks = batch
    for figure, columns in (
        (visualization.plot_samples(images, masks), 3),
        (visualization.plot_predictions(images, masks, masks), 4),
    ):
        figure.draw_without_rendering()
        widths = [ax.get_window_extent().width for ax in figure.axes[:columns]]
        assert min(widths) >= 220


def test_figures_are_closed_and_can_be_saved(batch, tmp_path):
    images, masks = batch
    for figure in (
        visualization.plot_samples(images, masks),
        visualization.plot_predictions(images, masks, masks),
        visualization.plot_history(HISTORY),
    ):
        assert not plt.fignum_exists(figure.number)
        figure.savefig(tmp_path / "figure.png")


def test_an_empty_selection_is_named(batch):
    images, masks = batch[0][:0], batch[1][:0]
    with pytest.raises(ValueError, match="no images to show"):
        visualization.plot_samples(images, masks)
    with pytest.raises(ValueError, match="no images to show"):
        visualization.plot_predictions(images, masks, masks)
