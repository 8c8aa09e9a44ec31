import re
from dataclasses import replace

from helpers.checkpoint import load_model
from helpers.data import SegmentationDataset
from helpers.inference import predict_logits
from helpers.metrics import ConfusionMatrix
from helpers.studies.report import full_report, one_hot_accuracy, pet_iou, report_on_test

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from scipy.ndimage import maximum_filter, minimum_filter
from scipy.optimize import minimize_scalar
from sklearn.metrics import jaccard_score
from torchmetrics.functional.classification import multiclass_calibration_error
from torchvision.transforms import v2


def one_hot(masks):
    return F.one_hot(masks, 3).movedim(-1, 1).float()


@pytest.fixture(scope="module")
def masks(splits):
    return splits.test.pairs.masks.long()


def test_a_perfect_answer(splits, masks):
    report = full_report(one_hot(masks), splits.test)  # as logits, they give the same classes
    assert (
        report["images"] == len(splits.test) == report["cats"]["per_image_miou"] * len(splits.test)
    )
    for part in (report, report["band"], report["cats"], report["dogs"]):
        assert part["miou"] == part["accuracy"] == 1 and part["interval"] == [1, 1]
    assert set(report["pet_iou"].values()) == {1}
    # at the photo's own size, even a perfect answer of 64 px misses detail
    assert 0.7 < report["own_size"]["ceiling"] < 0.97
    assert 0.7 < report["own_size"]["miou"] < 0.97
    assert report["example_definitions"]["iou"] < 1  # its bilinear masks are not the true ones


def test_all_background(splits, masks):
    answer = one_hot(torch.ones_like(masks))
    report = full_report(answer, splits.test)
    background = (masks == 1).float().mean().item()
    assert report["accuracy"] == pytest.approx(background, abs=1e-4)
    assert report["iou"]["pet"] == report["iou"]["border"] == 0
    assert report["miou"] == pytest.approx(background / 3, abs=1e-4)
    assert report["own_size"]["miou"] < report["own_size"]["ceiling"]


def test_parts_sum_to_the_whole(splits, masks):
    logits = torch.randn(len(masks), 3, 64, 64)
    report = full_report(logits, splits.test)
    confusion = ConfusionMatrix.of(logits.argmax(1), masks)
    assert report["miou"] == pytest.approx(confusion.mean_iou(), abs=1e-4)
    assert report["interval"] == pytest.approx(confusion.bootstrap_miou(), abs=1e-4)
    cats = sum(name[0].isupper() for name in splits.test.names)
    whole = cats * report["cats"]["accuracy"] + (len(masks) - cats) * report["dogs"]["accuracy"]
    assert whole / len(masks) == pytest.approx(report["accuracy"], abs=1e-4)


# Each score again, by other libraries or by plain loops.


@pytest.fixture(scope="module")
def dataset(splits):
    """Each test pair twice, so that a breed has two images; two of them without a pet."""
    masks = splits.test.pairs.masks.clone()
    for i in (3, 8):
        masks[i][masks[i] == 0] = 1
    pairs = replace(splits.test.pairs, masks=masks)
    return SegmentationDataset(pairs, torch.arange(len(pairs)).repeat(2))


@pytest.fixture(scope="module")
def logits(dataset):
    """Right in most places, and wrong in a way that differs from image to image."""
    generator = torch.Generator().manual_seed(0)
    truth = dataset.pairs.masks[dataset.indices].long()
    noise = torch.randn(len(dataset), 3, 64, 64, generator=generator)
    strength = torch.linspace(0.3, 2, len(dataset))[:, None, None, None]
    return one_hot(truth) * 2 + noise * strength


@pytest.fixture(scope="module")
def report(logits, dataset):
    return full_report(logits, dataset)


def miou_of(truth, answer):
    """From the pixels of all images together, by scikit-learn; absent classes do not count."""
    return jaccard_score(truth.ravel(), answer.ravel(), average="macro")


def test_each_breed(report, logits, dataset):
    answer = logits.argmax(1).numpy()
    truth = dataset.pairs.masks[dataset.indices].numpy()
    breeds = [re.sub(r"_\d+$", "", name) for name in dataset.names]
    assert list(report["breeds"]) == sorted(set(breeds), key=str.lower)
    for breed, score in report["breeds"].items():
        rows = [i for i, own in enumerate(breeds) if own == breed]
        assert len(rows) == 2
        assert score == pytest.approx(miou_of(truth[rows], answer[rows]), abs=6e-5)
    assert len(set(report["breeds"].values())) > 30


def test_at_the_images_own_size(report, logits, dataset):
    source = dataset.pairs.source
    truths, answers, bands, each = [], [], [], []
    for name, own in zip(dataset.names, logits, strict=True):
        truth = np.asarray(Image.open(source.trimap_path(name))).astype(int) - 1
        large = v2.functional.resize(own, list(truth.shape), antialias=False)
        answer = large.argmax(0).numpy()

        # Within a square of 7 x 7 pixels, there is more than one class.
        window = {"size": 7, "mode": "nearest"}
        band = maximum_filter(truth, **window) != minimum_filter(truth, **window)
        truths.append(truth.ravel())
        answers.append(answer.ravel())
        bands.append(band.ravel())
        each.append(miou_of(truths[-1], answers[-1]))

    truth, answer, band = map(np.concatenate, (truths, answers, bands))
    own = report["own_size"]
    assert own["miou"] == pytest.approx(miou_of(truth, answer), abs=6e-5)
    assert own["accuracy"] == pytest.approx((truth == answer).mean(), abs=6e-5)
    assert own["per_image_miou"] == pytest.approx(np.mean(each), abs=6e-5)
    scores = jaccard_score(truth, answer, average=None)
    assert list(own["iou"].values()) == pytest.approx(scores, abs=6e-5)
    assert own["interval"][0] < own["miou"] < own["interval"][1]

    narrow = own["band"]
    assert narrow["miou"] == pytest.approx(miou_of(truth[band], answer[band]), abs=6e-5)
    assert narrow["accuracy"] == pytest.approx((truth == answer)[band].mean(), abs=6e-5)
    assert narrow["miou"] < own["miou"]


def test_masks_without_a_pet(report, dataset):
    none = [i for i, mask in enumerate(dataset.pairs.masks.numpy()) if 0 not in mask]
    assert none == [3, 8] and report["without_a_pet"] == 2 * 2


@pytest.mark.parametrize("flip", [False, True])
def test_on_the_test_split(splits, flip):
    """The temperature from the validation pairs, the calibration error from the test's."""
    model, _ = load_model("synthetic")
    with torch.no_grad():
        for parameter in model.head.parameters():
            parameter *= 3  # too sure
    report = report_on_test(model, splits, flip=flip)

    logits = {}
    for part in ("val", "test"):
        images, logits[f"{part} truth"] = getattr(splits, part).batch()
        logits[part] = predict_logits(model, images, flip=flip)
    assert full_report(logits["test"], splits.test).items() <= report.items()

    def loss(temperature):
        return F.cross_entropy(logits["val"] / temperature, logits["val truth"]).item()

    best = minimize_scalar(loss, bounds=(0.05, 50), method="bounded").x
    assert report["temperature"] == pytest.approx(best, rel=0.01) and best > 1.2
    for key, temperature in (("calibration_error", 1), ("calibration_error_scaled", best)):
        probabilities = (logits["test"] / temperature).softmax(dim=1)
        theirs = multiclass_calibration_error(
            probabilities, logits["test truth"], num_classes=3, n_bins=15, ignore_index=255
        )
        assert report[key] == pytest.approx(theirs.item(), abs=1e-3)


def test_conventions_of_the_border_by_hand():
    truth = torch.tensor([[[0, 0, 2, 1]]])
    logits = [[0.8, 0.1, 0.1], [0.1, 0.3, 0.6], [0.1, 0.2, 0.7], [0.2, 0.3, 0.5]]
    logits = torch.tensor(logits).T[None, :, None, :]  # predicted: pet, border, border, border

    # left out: pixels 0, 1, 3, where pet, background, background are the likelier of the two
    # is pet: all four predicted pet, three truly; is background: one predicted pet, two truly
    expected = {"border left out": 1 / 2, "border is pet": 3 / 4, "border is background": 1 / 2}
    assert pet_iou(logits, truth) == pytest.approx(expected)

    # Ignored pixels count in none.
    truth = torch.tensor([[[0, 255, 255, 1]]])
    expected = {"border left out": 1, "border is pet": 1 / 2, "border is background": 1}
    assert pet_iou(logits, truth) == pytest.approx(expected)


def test_one_hot_accuracy_is_what_comparing_channels_gives():
    truth, answer = torch.randint(3, (1, 32, 32)), torch.randint(3, (1, 32, 32))
    accuracy = (truth == answer).float().mean().item()
    compared = (one_hot(truth) == one_hot(answer)).float().mean().item()
    assert one_hot_accuracy(accuracy) == pytest.approx(compared)


def test_predictions_of_other_images_are_refused(splits):
    with pytest.raises(ValueError, match="do not belong to"):
        full_report(torch.rand(2, 3, 64, 64), splits.test)
    own = replace(splits.test.pairs, source=None)
    with pytest.raises(ValueError, match="use pairs from `decode`"):
        full_report(torch.rand(len(own), 3, 64, 64), SegmentationDataset(own))


def test_a_score_without_images_is_none(splits):
    """JSON has no NaN."""
    dogs = [i for i, name in enumerate(splits.test.names) if name[0].islower()]
    part = SegmentationDataset(splits.test.pairs, torch.tensor(dogs))
    report = full_report(torch.rand(len(dogs), 3, 64, 64), part)
    assert report["cats"]["miou"] is None and report["cats"]["interval"] == [None, None]
    assert report["dogs"]["miou"] == report["miou"]
