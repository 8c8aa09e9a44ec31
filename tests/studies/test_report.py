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
    report = full_report(one_hot(masks), splits.test)
    assert report["images"] == len(splits.test) == report["cats"]["per_image_miou"] * len(splits.test)
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
    share = (masks == 1).float().mean().item()
    assert report["accuracy"] == pytest.approx(share, abs=1e-4)
    assert report["iou"]["pet"] == report["iou"]["border"] == 0
    assert report["miou"] == pytest.approx(share / 3, abs=1e-4)
    assert report["own_size"]["miou"] < report["own_size"]["ceiling"]


def test_parts_sum_to_the_whole(splits, masks):
    torch.manual_seed(0)
    probabilities = torch.rand(len(masks), 3, 64, 64)
    report = full_report(probabilities, splits.test)
    confusion = ConfusionMatrix()
    confusion.update(probabilities.argmax(1), masks)
    assert report["miou"] == pytest.approx(confusion.mean_iou(), abs=1e-4)
    assert report["interval"] == pytest.approx(confusion.bootstrap_miou(), abs=1e-4)
    cats = sum(name[0].isupper() for name in splits.test.names)
    whole = cats * report["cats"]["accuracy"] + (len(masks) - cats) * report["dogs"]["accuracy"]
    assert whole / len(masks) == pytest.approx(report["accuracy"], abs=1e-4)


def test_conventions_of_the_border_by_hand():
    truth = torch.tensor([[[0, 0, 2, 1]]])
    probabilities = torch.tensor([[0.8, 0.1, 0.1], [0.1, 0.3, 0.6], [0.1, 0.2, 0.7], [0.2, 0.3, 0.5]])
    probabilities = probabilities.T[None, :, None, :]  # answers: pet, border, border, border
    # left out: pixels 0, 1, 3, where pet, background, background are the likelier of the two
    # is pet: all four predicted pet, three truly; is background: one predicted pet, two truly
    expected = {"border left out": 1 / 2, "border is pet": 3 / 4, "border is background": 1 / 2}
    assert pet_iou(probabilities, truth) == pytest.approx(expected)


def test_one_hot_accuracy_is_what_comparing_channels_gives():
    truth, answer = torch.randint(3, (1, 32, 32)), torch.randint(3, (1, 32, 32))
    accuracy = (truth == answer).float().mean().item()
    assert one_hot_accuracy(accuracy) == pytest.approx((one_hot(truth) == one_hot(answer)).float().mean().item())


def test_predictions_of_other_images_are_refused(splits):
    with pytest.raises(ValueError, match="do not belong to"):
        full_report(torch.rand(2, 3, 64, 64), splits.test)
