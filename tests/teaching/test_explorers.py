import base64
import io
import time

from helpers import widgets
from helpers.checkpoint import SHIPPED, load_model
from helpers.data import Pairs
from helpers.inference import predict

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image


def picture(explorer) -> bytes:
    assert isinstance(explorer.children[1], ipywidgets.Image)
    value = bytes(explorer.children[1].value)
    assert value.startswith(b"\x89PNG")
    return value


@pytest.fixture(scope="module")
def predicted(splits):
    inputs, masks = splits.test.__getitems__(list(range(8)))
    model, _ = load_model(SHIPPED)
    return model, inputs, splits.test.pairs.images[:8], masks, predict(model, inputs), list(splits.test.names[:8])


@pytest.fixture
def explorers(splits, predicted) -> dict[str, widgets.Explorer]:
    model, inputs, images, masks, probabilities, names = predicted
    history = {"train_loss": [1.0, 0.8, 0.6, 0.5], "val_loss": [1.1, 0.9, 0.8, 0.9], "val_miou": [0.2, 0.5, 0.4, 0.3]}
    return {
        "dataset": widgets.explore_dataset(splits.train.pairs, splits.test.pairs, columns=3),
        "augmentation": widgets.explore_augmentation(images[0], masks[0].byte()),
        "unet": widgets.explore_unet(images[0]),
        "runs": widgets.explore_runs({"a": history, "b": {k: v[:3] for k, v in history.items()}, "c": history}),
        "predictions": widgets.explore_predictions(images, masks, probabilities, names),
        "features": widgets.explore_features(model, inputs, images, masks),
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
    return control.value + control.step if control.value < control.max else control.value - control.step


def test_every_control_is_labelled_and_moves_something(explorers):
    for name, explorer in explorers.items():
        assert explorer.controls and all(explorer.controls), name
        for label, control in explorer.controls.items():
            if getattr(control, "min", 0) == getattr(control, "max", 1):
                continue  # a single page or channel
            before = picture(explorer), explorer.text.value
            kept, control.value = control.value, other_value(control)
            assert (picture(explorer), explorer.text.value) != before, f"{name}: {label}"
            control.value = kept
            assert (picture(explorer), explorer.text.value) == before, f"{name}: {label}"
    assert not plt.get_fignums(), "figures are left open"


def test_answers_within_200_ms(explorers):
    for name, explorer in explorers.items():
        seconds = []
        for _ in range(5):
            start = time.perf_counter()
            explorer.redraw()
            seconds.append(time.perf_counter() - start)
        assert min(seconds) < 0.2, f"{name}: {min(seconds):.3f} s"


def test_saved_without_a_kernel_the_picture_stays(explorers):
    for explorer in explorers.values():
        bundle = explorer._repr_mimebundle_()
        saved, shown = (Image.open(io.BytesIO(b)) for b in (base64.b64decode(bundle["image/jpeg"]), picture(explorer)))
        difference = np.asarray(saved, dtype=float) - np.asarray(shown.convert("RGB"))
        assert abs(difference).mean() < 5 and len(bundle["image/jpeg"]) < 150_000
        assert all(label in bundle["text/plain"] for label in explorer.controls)
        assert "application/vnd.jupyter.widget-view+json" in bundle


def test_dataset_explorer_finds_what_was_asked_for(splits):
    train, test = splits.train.pairs, splits.test.pairs
    explorer = widgets.explore_dataset(train, test, columns=4)
    parts = explorer.controls
    assert explorer.text.value == f"74 of 74 pairs, page 1 of {-(-74 // 4)}"
    parts["Page"].value = 2
    parts["List"].value = "test"
    assert explorer.text.value == f"{len(test)} of 74 pairs, page 1 of {-(-len(test) // 4)}"
    parts["Breed"].value = "Siamese"
    assert explorer.text.value == f"{sum(n.startswith('Siamese_') for n in test.names)} of 74 pairs, page 1 of 1"
    parts["List"].value, parts["Breed"].value = "all", "all"
    border = torch.cat([(part.masks == 2).float().mean(dim=(1, 2)) for part in (train, test)]) * 100
    low = int(border.median())
    parts["Border, %"].value = (low, parts["Border, %"].max)
    assert explorer.text.value.startswith(f"{int((border >= low).sum())} of 74 pairs")
    parts["Border, %"].value = (0, 0)
    assert "No pair fits" in explorer.text.value


def test_augmentation_bench_shows_what_goes_wrong():
    photo = torch.full((3, 64, 64), 200, dtype=torch.uint8)
    mask = torch.ones(64, 64, dtype=torch.uint8)
    mask[16:48, 16:48] = 2
    mask[22:42, 22:42] = 0
    explorer = widgets.explore_augmentation(photo, mask)
    assert explorer.text.value.startswith("0 pixels")
    parts = explorer.controls
    parts["Mask moves"].value = "bilinear"  # the pet is nowhere beside the background: a ring that is not there
    assert 20 < int(explorer.text.value.split(", ")[1].split()[0])
    parts["Mask moves"].value = "stays"
    assert int(explorer.text.value.split()[0]) > 100
    parts["Turn, degrees"].value, parts["Scale"].value = 0, 1.0
    assert explorer.text.value.startswith("0 pixels"), "nothing was moved"


def test_unet_designer_says_the_plan(explorers):
    text = explorers["unet"].text.value
    assert text.startswith("1.94 M parameters") and "188 px of 128" in text
    explorers["unet"].controls["Depth"].value = 1
    assert "18 px of 128" in explorers["unet"].text.value


def test_runs_explorer_names_the_best_epoch(explorers):
    assert explorers["runs"].text.value.startswith("a: best validation mIoU 0.500, epoch 2; b: ")


def test_prediction_explorer_sorts_and_thresholds(predicted):
    _, _, images, masks, _, names = predicted
    probabilities = torch.nn.functional.one_hot(masks, 3).movedim(-1, 1) * 0.7 + 0.1  # 0.8 for the truth
    probabilities[3] = probabilities[3].flip(0)  # pet and border exchanged
    explorer = widgets.explore_predictions(images, masks, probabilities, names)
    parts = explorer.controls
    assert explorer.text.value.startswith(f"1 of 8 by mIoU: {names[3]}, "), "the worst comes first"
    parts["Rank"].value = len(names)
    assert "mIoU 1.000" in explorer.text.value and "100% of the pixels" in explorer.text.value
    parts["Threshold"].value = 0.9
    assert "; 0% of the pixels" in explorer.text.value
    parts["Class"].value = "border"
    assert "IoU 0.000, precision undefined, recall 0.000" in explorer.text.value
    parts["Threshold"].value = 0.5
    assert "IoU 1.000, precision 1.000, recall 1.000" in explorer.text.value


def test_feature_explorer_cuts_and_mends(predicted):
    model, inputs, images, masks, _, _ = predicted
    before = model(inputs[:1])
    explorer = widgets.explore_features(model, inputs, images, masks)
    whole = explorer.text.value
    explorer.controls["Cut skip"].value = "at 1/2"
    assert explorer.text.value != whole
    explorer.controls["Maps of"].value = "down 4"
    assert "down 4: 256 maps of 4 px" in explorer.text.value
    assert explorer.controls["From channel"].max == 252
    explorer.controls["From channel"].value = 252
    explorer.controls["Maps of"].value = "stem"  # has fewer channels
    assert explorer.controls["From channel"].value <= 12
    assert torch.equal(model(inputs[:1]), before), "the network is as it was"


def test_a_page_with_few_pairs_keeps_the_size_of_the_picture(splits):
    pairs = splits.train.pairs
    one = Pairs(pairs.source, "trainval", pairs.names[:1], pairs.breeds[:1], pairs.images[:1], pairs.masks[:1])
    few, many = widgets.explore_dataset(one, columns=3), widgets.explore_dataset(pairs, columns=3)
    sizes = [int.from_bytes(picture(explorer)[16:24], "big") for explorer in (few, many)]
    assert sizes[0] == sizes[1]
