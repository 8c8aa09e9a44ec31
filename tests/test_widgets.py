import ipywidgets
import torch

from helpers.widgets import explore_dataset, explore_predictions


def controls(explorer) -> dict:
    found = {control.description: control for control in explorer.children[0].children}
    assert all(found), "every control has a label"
    return found


def picture(explorer) -> bytes:
    image = explorer.children[1]
    assert isinstance(image, ipywidgets.Image) and bytes(image.value).startswith(b"\x89PNG")
    return bytes(image.value)


def test_dataset_explorer_turns_pages_and_chooses_breeds(splits):
    explorer = explore_dataset(splits.test.pairs, columns=3)
    parts = controls(explorer)
    first = picture(explorer)
    assert parts["Page"].max == -(-len(splits.test.pairs) // 3)
    parts["Page"].value = 2
    assert picture(explorer) != first
    parts["Breed"].value = "Siamese"
    assert (parts["Page"].value, parts["Page"].max) == (1, 1)
    assert picture(explorer) != first
    parts["Breed"].value = "all breeds"
    assert picture(explorer) == first


def test_prediction_explorer_goes_from_worst_to_best(splits):
    _, masks = splits.val.__getitems__([0, 1, 2])
    images = splits.val.pairs.images[splits.val.indices[:3]]
    good = torch.nn.functional.one_hot(masks, 3).movedim(-1, 1) * 0.7 + 0.1
    probabilities = torch.stack([good[0], good[1].flip(0), good[2]])  # the second is wrong
    explorer = explore_predictions(images, masks, probabilities, ["right", "wrong", "also right"])
    parts = controls(explorer)
    worst = picture(explorer)
    parts["Rank"].value = 3
    best = picture(explorer)
    assert worst != best
    parts["Sure from"].value = 0.9  # nobody is that sure: all black
    assert picture(explorer) not in (worst, best)
