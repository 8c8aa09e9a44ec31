from dataclasses import replace

from helpers.data import SegmentationDataset
from helpers.metrics import ConfusionMatrix
from helpers.studies.report import full_report, one_hot_accuracy, pet_iou

import pytest
import torch
import torch.nn.functional as F


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
