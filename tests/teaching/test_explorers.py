"""The explorers without a browser: what they draw and say when a control moves."""

import base64
import io
import re
from html import unescape

from helpers.checkpoint import load_model
from helpers.data import Pairs
from helpers.inference import predict
from helpers.teaching import explorers
from helpers.teaching.explorers import Explorer, plot_feature_maps

import ipywidgets
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image
from torch import nn

HISTORY = {
    "train_loss": [1.0, 0.8, 0.6, 0.5],
    "val_loss": [1.1, 0.9, 0.8, 0.9],
    "val_miou": [0.2, 0.5, 0.4, 0.3],
}


def picture(explorer: Explorer) -> bytes:
    data = re.search(r'src="data:image/png;base64,([^"]+)"', explorer.children[1].value)
    value = base64.b64decode(data[1])
    assert value.startswith(b"\x89PNG")
    return value


def pixels(explorer: Explorer) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(picture(explorer))).convert("RGB"))


@pytest.fixture(scope="module")
def predicted(splits):
    """A trained model; of eight test pairs: inputs, images, masks, probabilities, names."""
    inputs, masks = splits.test.batch(range(8))
    model, _ = load_model("synthetic")
    pairs = splits.test.pairs
    return model, inputs, pairs.images[:8], masks, predict(model, inputs), pairs.names[:8]


class Halves(nn.Module):
    """An "encoder" whose levels are the image at 1/2, 1/4 and so on, to a power."""

    def __init__(self, power: int, levels: int = 2) -> None:
        super().__init__()
        self.power, self.sides = power, [2 ** (k + 1) for k in range(levels)]

    def forward(self, images):
        return [F.avg_pool2d(images, side) ** self.power for side in self.sides]


def two_fields():
    """Images of different sizes, masks, counts: two disks that touch and a speck; nothing."""
    rows, columns = np.mgrid[:48, :64]
    touching = np.minimum(np.hypot(rows - 24, columns - 20), np.hypot(rows - 24, columns - 42)) < 12
    touching[:7, :7] = True
    masks = [touching, np.zeros((32, 32), bool)]
    return [np.stack([mask * np.uint8(200)] * 3, axis=-1) for mask in masks], masks, [3, 0]


@pytest.fixture
def all_eight(splits, predicted) -> dict[str, Explorer]:
    model, inputs, images, masks, probabilities, names = predicted
    shorter = {key: values[:3] for key, values in HISTORY.items()}
    two = splits.train.pairs, splits.test.pairs
    return {
        "dataset": explorers.explore_dataset(*two, columns=3),
        "augmentation": explorers.explore_augmentation(images[0], masks[0].byte()),
        "unet": explorers.explore_unet(images[0]),
        "runs": explorers.explore_runs({"a": HISTORY, "b": shorter, "c": HISTORY}),
        "predictions": explorers.explore_predictions(images, masks, probabilities, names),
        "features": explorers.explore_features(model, inputs, images, masks),
        "pyramid": explorers.explore_pyramid({"a": Halves(1), "b": Halves(2)}, inputs, images),
        "objects": explorers.explore_objects(*two_fields()),
    }


def other_value(control):
    """Another value that the control can take."""
    if isinstance(control, ipywidgets.Checkbox):
        return not control.value
    if isinstance(control, ipywidgets.IntRangeSlider):
        return control.min, control.value[1] - (control.value[1] - control.min) // 3
    if isinstance(control, ipywidgets.SelectionSlider):
        values = [option[1] if isinstance(option, tuple) else option for option in control.options]
        return values[(values.index(control.value) + 1) % len(values)]
    step = control.step if control.value < control.max else -control.step
    return control.value + step


def test_every_control_is_labeled_and_moves_something_in_one_drawing(all_eight, monkeypatch):
    drawn = []
    savefig = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda *a, **o: (drawn.append(1), savefig(*a, **o))[1])

    for name, explorer in all_eight.items():
        assert explorer.controls and all(explorer.controls), name
        for label, control in explorer.controls.items():
            if getattr(control, "min", 0) == getattr(control, "max", 1):
                continue  # a single page or channel
            before = picture(explorer), explorer.text.value
            kept = control.value
            drawn.clear()

            control.value = other_value(control)
            assert (picture(explorer), explorer.text.value) != before, f"{name}: {label}"
            assert len(drawn) == 1, f"{name}: {label} draws {len(drawn)} times"
            control.value = kept
            assert (picture(explorer), explorer.text.value) == before, f"{name}: {label}"


def test_a_choice_that_moves_another_control_draws_once(splits, monkeypatch):
    """Page 2 of all pairs, then another list: the explorer itself goes back to page 1."""
    explorer = explorers.explore_dataset(splits.train.pairs, splits.test.pairs, columns=3)
    explorer.controls["Page"].value = 2
    drawn = []
    savefig = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda *a, **o: (drawn.append(1), savefig(*a, **o))[1])
    explorer.controls["List"].value = "test"
    assert explorer.controls["Page"].value == 1 and len(drawn) == 1


def test_saved_without_a_kernel_the_picture_stays(all_eight):
    for explorer in all_eight.values():
        bundle = explorer._repr_mimebundle_()
        html = bundle["text/html"]
        words, data = re.match(
            r'<img alt="([^"]+)" src="data:image/jpeg;base64,([^"]+)"', html
        ).groups()
        saved = Image.open(io.BytesIO(base64.b64decode(data)))
        difference = np.asarray(saved, dtype=float) - pixels(explorer)
        assert abs(difference).mean() < 5 and len(html) < 250_000
        assert f'alt="{words}"' in explorer.children[1].value  # also while it lives
        assert words.startswith(explorer.about)  # and what the controls stand at
        assert all(
            f"{label}: {getattr(c, 'label', c.value)}" in unescape(words)
            for label, c in explorer.controls.items()
        )
        assert all(label in bundle["text/plain"] for label in explorer.controls)
        assert "application/vnd.jupyter.widget-view+json" in bundle


def test_dataset_explorer_finds_what_was_asked_for(splits):
    train, test = splits.train.pairs, splits.test.pairs
    explorer = explorers.explore_dataset(train, test, columns=4)
    parts = explorer.controls
    assert explorer.text.value == f"74 of 74 pairs, page 1 of {-(-74 // 4)}"

    parts["Page"].value = 2
    parts["List"].value = "test"
    assert explorer.text.value == f"{len(test)} of 74 pairs, page 1 of {-(-len(test) // 4)}"

    parts["Breed"].value = "Siamese"
    siamese = sum(name.startswith("Siamese_") for name in test.names)
    assert explorer.text.value == f"{siamese} of 74 pairs, page 1 of 1"

    parts["List"].value, parts["Breed"].value = "all", "all"
    fractions = torch.cat([(part.masks == 2).float().mean(dim=(1, 2)) for part in (train, test)])
    percents = [f"{100 * fraction:.0f}" for fraction in fractions.tolist()]
    usual = max(percents, key=percents.count)
    parts["Border, %"].value = (int(usual), int(usual))  # as the captions have it
    assert explorer.text.value.startswith(f"{percents.count(usual)} of 74 pairs")

    parts["Border, %"].value = (0, 0)
    assert "No pair fits" in explorer.text.value


def test_a_live_picture_says_where_the_controls_stand(all_eight):
    explorer = all_eight["objects"]
    explorer.controls["Smallest area, px"].value = 80
    alt = unescape(re.search(r'alt="([^"]*)"', explorer.picture.value)[1])
    assert alt == explorer.described and "Smallest area, px: 80" in alt
    assert alt.endswith(explorer.text.value)


def test_a_rare_class_is_found_by_tenths_of_a_percent():
    """Of 1,024 pixels 2, 3 or 30 are the cell: 0.2, 0.3, 2.9 %."""
    pairs = own_pairs(("a", "b", "c"), class_names=("sky", "cell"))
    pairs.masks[:] = 0
    for mask, count in zip(pairs.masks, (2, 3, 30), strict=True):
        mask.flatten()[:count] = 1
    explorer = explorers.explore_dataset(pairs, columns=3)
    percent = explorer.controls["Cell, %"]
    assert (percent.max, percent.step, percent.value) == (2.9, 0.1, (0, 2.9))

    steps = 3 * 0.1  # as a slider counts: a little more than 0.3
    for low, high, found in ((0.1, 0.2, 1), (0.2, 0.3, 2), (steps, 2.9, 2), (0.4, 2.8, 0)):
        percent.value = low, high
        text = f"{found} of 3 pairs, page 1 of 1" if found else "No pair fits"
        assert explorer.text.value.startswith(text)


def test_names_of_images_are_shown_as_they_are(monkeypatch):
    """Shortened to the width of the picture; and two dollar signs make no formula."""
    drawn = []
    kept = explorers.plot_mosaic
    monkeypatch.setattr(
        explorers, "plot_mosaic", lambda *a, **o: (drawn.append(kept(*a, **o)), drawn[-1])[1]
    )
    long, money = "a" * 30 + "b" * 30, r"5$ and \bad 6$"
    explorers.explore_dataset(own_pairs((long, money)), columns=3)
    texts = {text.get_text(): text for text in drawn[0].axes[0].texts}
    assert {f"{'a' * 15}...{'b' * 14}", money} < set(texts)

    drawn[0].savefig(io.BytesIO())
    ax, shortened = drawn[0].axes[0], texts[f"{'a' * 15}...{'b' * 14}"]
    width = ax.transData.transform((1, 0))[0] - ax.transData.transform((0, 0))[0]
    assert shortened.get_window_extent().width < width


def own_pairs(names: tuple[str, ...], **options) -> Pairs:
    images = torch.full((len(names), 3, 32, 32), 255, dtype=torch.uint8)
    return Pairs("own", names, images, torch.ones(len(names), 32, 32, dtype=torch.uint8), **options)


def test_a_page_shows_several_breeds(monkeypatch):
    """The lists are sorted by breed; the pages are not."""
    titles = []
    kept = explorers.plot_mosaic
    monkeypatch.setattr(
        explorers,
        "plot_mosaic",
        lambda rows, names, *rest, **o: (titles.append(names[0]), kept(rows, names, *rest, **o))[1],
    )
    breeds = ("Abyssinian", "Birman", "Pug", "Siamese")
    pairs = own_pairs(tuple(f"{breed}_{k}" for breed in breeds for k in range(20)))
    page = explorers.explore_dataset(pairs, columns=8).controls["Page"]
    page.value = 2
    for shown in titles:
        assert len({name.split("_")[0] for name in shown}) >= 3
    assert len(titles) == 2 and not set(titles[0]) & set(titles[1])


def test_a_dataset_of_ones_own_brings_its_classes_and_colors():
    pairs = own_pairs(("a", "b"), class_names=("sky", "cell"), class_colors=("#0000ff", "#00ff00"))
    explorer = explorers.explore_dataset(pairs, columns=2)
    assert list(explorer.controls) == ["List", "Breed", "Cell, %", "Page"]
    shown = pixels(explorer).reshape(-1, 3)
    green = (0.6 * np.array(to_rgb("#00ff00")) + 0.4) * 255  # tinted over white
    assert (abs(shown - green).max(axis=1) < 2).mean() > 0.2


def test_a_page_with_few_pairs_keeps_the_size_of_the_picture():
    few = explorers.explore_dataset(own_pairs(("a_1",)), columns=3)
    many = explorers.explore_dataset(own_pairs(("a_1", "a_2", "a_3", "a_4")), columns=3)
    assert pixels(few).shape == pixels(many).shape


def test_augmentation_bench_shows_what_goes_wrong():
    photo = torch.full((3, 64, 64), 200, dtype=torch.uint8)
    mask = torch.ones(64, 64, dtype=torch.uint8)
    mask[16:48, 16:48] = 2
    mask[22:42, 22:42] = 0
    explorer = explorers.explore_augmentation(photo, mask)
    assert explorer.text.value.startswith("0 pixels")

    # The pet is nowhere beside the background: bilinearly, there is a ring of it all the same.
    parts = explorer.controls
    parts["Mask moves"].value = "bilinear"
    assert int(explorer.text.value.split(", ")[1].split()[0]) > 20

    parts["Mask moves"].value = "stays"
    assert int(explorer.text.value.split()[0]) > 100
    parts["Turn, degrees"].value, parts["Scale"].value = 0, 1.0
    assert explorer.text.value.startswith("0 pixels"), "nothing was moved"

    # Where the image is filled in, whatever the mask that stayed says is wrong.
    parts["Scale"].value = 0.5
    empty = mask.numel() - (mask.shape[0] // 2) ** 2
    assert f"and {empty} with a label on what was filled in" in explorer.text.value
    parts["Mask moves"].value = "right"
    assert explorer.text.value.endswith(
        "and 0 with a label on what was filled in, where none belongs"
    )


def test_unet_designer_says_the_plan():
    explorer = explorers.explore_unet(torch.zeros(3, 64, 64, dtype=torch.uint8))
    assert explorer.text.value.startswith("1.94 M parameters")
    assert "188 px; the input has 128." in explorer.text.value
    explorer.controls["Depth"].value = 1
    assert "sees 18 px; the input has 128." in explorer.text.value


def test_amounts_are_read_at_a_glance():
    said = [explorers._amount(n) for n in (383, 999.7, 220_700, 1_942_611, 90.2e9)]
    assert said == ["383 ", "1 k", "221 k", "1.94 M", "90.2 G"]


def test_a_choice_shows_its_whole_value_and_takes_none_that_is_typed(all_eight):
    for name, explorer in all_eight.items():
        shown = [box for box in explorer.children[0].children if isinstance(box, ipywidgets.HBox)]
        for control, value in (box.children for box in shown):
            assert control.readout is False and value.value == control.label != "", name
            control.value = other_value(control)
            assert value.value == control.label, name


def test_runs_explorer_names_the_best_epoch():
    explorer = explorers.explore_runs({"a": HISTORY, "b": HISTORY})
    assert explorer.text.value.startswith("a: best validation mIoU 0.500, epoch 2; b: ")
    explorer.controls["Run 3"].value = "a"
    assert explorer.text.value.count("a: best") == 1, "a run that is chosen twice is named once"


def test_runs_explorer_begins_where_a_run_still_has_a_line(monkeypatch):
    drawn = []
    plot = explorers.plot_history
    monkeypatch.setattr(
        explorers, "plot_history", lambda shown, first: drawn.append([*shown]) or plot(shown, first)
    )
    shorter = {key: values[:3] for key, values in HISTORY.items()}
    longer = {key: values * 2 for key, values in HISTORY.items()}
    explorer = explorers.explore_runs({"short": shorter, "long": longer})
    first, runs = explorer.controls["From epoch"], explorer.controls
    assert (first.max, drawn[-1]) == (6, ["short", "long"])

    first.value = 2  # two epochs of the short one are left
    assert drawn[-1] == ["short", "long"]
    first.value = 3
    assert drawn[-1] == ["long"]

    runs["Run 2"].value = "none"
    assert (first.max, first.value, drawn[-1]) == (1, 1, ["short"])
    assert "none" not in runs["Run 1"].options


def test_prediction_explorer_sorts_and_thresholds(predicted):
    _, _, images, masks, _, names = predicted
    probabilities = F.one_hot(masks, 3).movedim(-1, 1) * 0.7 + 0.1  # 0.8 for the truth
    probabilities[3] = probabilities[3].flip(0)  # pet and border exchanged
    explorer = explorers.explore_predictions(images, masks, probabilities, names)
    parts, text = explorer.controls, explorer.text
    assert text.value.startswith(f"1 of 8 by mIoU: {names[3]}, "), "the worst comes first"

    parts["Rank"].value = len(names)
    assert "mIoU 1.000" in text.value and "100.0% of the pixels" in text.value
    parts["Threshold"].value = 0.9
    assert "; 0.0% of the pixels" in text.value

    parts["Class"].value = "border"
    assert "IoU 0.000, precision undefined, recall 0.000" in text.value
    parts["Threshold"].value = 0.5
    assert "IoU 1.000, precision 1.000, recall 1.000" in text.value


def test_prediction_explorer_colors_what_one_class_got_wrong(monkeypatch):
    """Class 1 of two, found in the wrong half: false in its color, missed in black."""
    shown = []
    monkeypatch.setattr(
        explorers, "plot_mosaic", lambda rows, *rest: (shown.append(rows[0]), Figure())[1]
    )
    masks = torch.zeros(1, 8, 8, dtype=torch.int64)
    masks[:, :4], masks[:, 0, 0] = 1, 255
    probabilities = F.one_hot(1 - masks.clamp(max=1), 2).movedim(-1, 1).float()
    probabilities[0, 1, 0, 0] = 1
    images = torch.full((1, 3, 8, 8), 255, dtype=torch.uint8)
    names, colors = ("sky", "cell"), ("#0000ff", "#00ff00")
    explorer = explorers.explore_predictions(images, masks, probabilities, ["a"], names, colors)
    explorer.controls["Class"].value = "cell"

    errors = shown[-1][3]
    assert (errors[4:] == to_rgb("#00ff00")).all() and (errors[1:4] == 0).all()
    assert errors[0, 0].tolist() == [1, 1, 1], "a pixel that does not count is no error"


def test_feature_explorer_cuts_and_leaves_the_network_as_it_was(predicted):
    model, inputs, images, masks, _, _ = predicted
    before = model(inputs[:1])
    explorer = explorers.explore_features(model, inputs, images, masks)
    parts = explorer.controls
    assert parts["Cut skip"].value == "at 1/4", "what is saved shows what a cut does"
    cut = explorer.text.value
    parts["Cut skip"].value = "none"
    assert explorer.text.value != cut

    parts["Maps of"].value = "down 4"
    assert "down 4: 256 maps of 4 px" in explorer.text.value
    assert parts["From channel"].max == 252
    parts["From channel"].value = 252
    parts["Maps of"].value = "stem"  # has fewer channels
    assert parts["From channel"].value <= 12
    assert torch.equal(model(inputs[:1]), before)


def test_feature_maps_show_the_first_channels():
    maps = {"stem": torch.rand(4, 8, 8), "bottleneck": torch.rand(9, 2, 2)}
    ax = plot_feature_maps(maps, channels=5).axes[0]
    assert len(ax.images) == 4 + 5
    last = maps["bottleneck"][4]
    scaled = (last - last.min()) / (last.max() - last.min())
    assert np.allclose(ax.images[-1].get_array()[..., 0], scaled, atol=1e-5)
    assert [text.get_text() for text in ax.texts if text.get_text()] == [
        "stem: 4 x 8 x 8",
        "bottleneck: 9 x 2 x 2",
    ]


@pytest.fixture
def watched(monkeypatch) -> list:
    """The pictures of each drawing, in rows."""
    seen = []
    monkeypatch.setattr(
        explorers, "plot_mosaic", lambda rows, *rest, **o: (seen.append(rows), Figure())[1]
    )
    return seen


def test_objects_explorer_counts_by_its_controls():
    explorer = explorers.explore_objects(*two_fields(), split=1.0)
    cut, least = explorer.controls["Split, px"], explorer.controls["Smallest area, px"]
    assert explorer.text.value.startswith("All 2 images: 3 found, 3 there.")
    cut.value = "none"
    assert "2 found, 3 there. Error of an image: -0.5 on average, 0.5" in explorer.text.value
    least.value = least.max
    cut.value = 1.0  # each half has 452 px
    assert "2 found" in explorer.text.value
    explorer.controls["Image"].value = 2
    assert "2 found" in explorer.text.value  # of all images, whichever is shown


def test_pyramid_explorer_finds_what_is_alike(watched):
    """Two red squares on blue, one of them under the cross."""
    images = torch.zeros(1, 3, 40, 40, dtype=torch.uint8)
    images[:, 2] = 255
    for at in (slice(8, 12), slice(28, 32)):
        images[0, 0, 8:12, at], images[0, 2, 8:12, at] = 255, 0
    encoders = {"a": Halves(1)}
    explorer = explorers.explore_pyramid(encoders, images.float(), images, cross=(25, 25))
    image, fine, coarse = watched[-1][0]
    assert (image[10, 8:12] == 1).all() and (image[10, 28:32] == [1, 0, 0]).all(), "the cross"
    assert fine.shape == (20, 20, 3) and coarse.shape == (10, 10, 3)
    assert np.allclose(coarse[2, [2, 7]], 1, atol=1e-5)
    assert (np.delete(coarse[2], [2, 7], axis=0) < 0).all()
    assert explorer.text.value.endswith("coarsest: 2.0%, 2.0%")

    explorer.controls["Down, %"].value = 80
    explorer.controls["Across, %"].value = 95
    assert (watched[-1][0][2][2, [2, 7]] < 0).all() and watched[-1][0][2][9, 9, 0] > 0.99
    assert explorer.text.value.endswith("coarsest: 98.0%, 98.0%")


def test_pyramid_explorer_gives_like_features_one_color(watched):
    images = torch.zeros(1, 3, 40, 40, dtype=torch.uint8)
    images[0, :, :20] = torch.tensor([200, 100, 50])[:, None, None]
    explorer = explorers.explore_pyramid({"a": Halves(1)}, images.float(), images)
    explorer.controls["Show"].value = "main colors"
    coarse = watched[-1][0][2]
    assert coarse.min() >= 0 and coarse.max() <= 1
    for half in (coarse[:5], coarse[5:]):
        assert np.ptp(half, axis=(0, 1)).max() < 0.01
    assert abs(coarse[0, 0] - coarse[9, 9]).max() > 0.9


def test_pyramid_explorer_puts_three_in_a_row(watched):
    images = torch.rand(1, 3, 64, 64)
    explorers.explore_pyramid({"a": Halves(1, levels=5)}, images, images)
    assert [len(row) for row in watched[-1]] == [3, 3]
