import math

from helpers.metrics import ConfusionMatrix, boundary_band, dice, iou, pixel_accuracy

import pytest
import torch
import torchmetrics
from torchmetrics.segmentation import DiceScore


@pytest.fixture
def masks():
    target = torch.randint(0, 3, (5, 16, 20))
    prediction = torch.where(torch.rand(5, 16, 20) < 0.7, target, torch.randint(0, 3, (5, 16, 20)))
    return prediction, target


def scored(prediction, target, **kwargs) -> ConfusionMatrix:
    confusion = ConfusionMatrix(**kwargs)
    confusion.update(prediction, target)
    return confusion


def test_by_hand_on_2x2():
    confusion = scored(torch.tensor([[[0, 1], [1, 1]]]), torch.tensor([[[0, 0], [1, 1]]]), num_classes=2)
    assert confusion.matrix.tolist() == [[1, 1], [0, 2]]  # rows: truth
    assert confusion.iou().tolist() == pytest.approx([1 / 2, 2 / 3])
    assert confusion.mean_iou() == pytest.approx(7 / 12)
    assert confusion.dice().tolist() == pytest.approx([2 / 3, 4 / 5])
    assert confusion.pixel_accuracy() == 3 / 4


def test_agrees_with_torchmetrics(masks):
    confusion = scored(*masks)
    oracle = torchmetrics.ConfusionMatrix(task="multiclass", num_classes=3)
    assert torch.equal(confusion.matrix, oracle(*masks))
    jaccard = torchmetrics.JaccardIndex(task="multiclass", num_classes=3, average="macro")
    assert confusion.mean_iou() == pytest.approx(jaccard(*masks).item(), abs=1e-6)
    accuracy = torchmetrics.Accuracy(task="multiclass", num_classes=3, average="micro")
    assert confusion.pixel_accuracy() == pytest.approx(accuracy(*masks).item(), abs=1e-6)
    score = DiceScore(num_classes=3, input_format="index", average="none", aggregation_level="global")
    assert confusion.dice().tolist() == pytest.approx(score(*masks).tolist(), abs=1e-6)


def test_batches_do_not_matter(masks):
    prediction, target = masks
    whole, parts = scored(prediction, target), ConfusionMatrix()
    for i in (0, 1, 4):
        parts.update(prediction[i : {0: 1, 1: 4, 4: 5}[i]], target[i : {0: 1, 1: 4, 4: 5}[i]])
    assert torch.equal(whole.per_image, parts.per_image)


def test_per_image_iou_is_the_mean_of_single_images(masks):
    prediction, target = masks
    single = [scored(p[None], t[None]).mean_iou() for p, t in zip(prediction, target, strict=True)]
    assert scored(*masks).per_image_iou() == pytest.approx(sum(single) / len(single))


def test_ignored_pixels_do_not_count(masks):
    prediction, target = masks
    hidden = torch.rand(target.shape) < 0.3
    oracle = torchmetrics.ConfusionMatrix(task="multiclass", num_classes=3, ignore_index=255)
    masked = target.masked_fill(hidden, 255)
    assert torch.equal(scored(prediction, masked).matrix, oracle(prediction, masked))


def test_a_class_that_never_occurs_is_nan_and_left_out():
    mask = torch.tensor([[[0, 0], [1, 1]]])
    confusion = scored(mask, mask)
    assert math.isnan(confusion.iou()[2]) and math.isnan(confusion.dice()[2])
    assert confusion.mean_iou() == 1 and confusion.per_image_iou() == 1
    assert confusion.bootstrap_miou(100) == (1, 1)


def test_nothing_seen_is_nan_and_not_a_crash():
    confusion = ConfusionMatrix()
    assert math.isnan(confusion.mean_iou()) and math.isnan(confusion.pixel_accuracy())
    assert math.isnan(confusion.per_image_iou()) and math.isnan(confusion.bootstrap_miou()[0])


def test_dice_follows_from_iou(masks):
    matrix = scored(*masks).matrix
    assert torch.allclose(dice(matrix), 2 * iou(matrix) / (1 + iou(matrix)))


def test_functions_take_stacks(masks):
    stack = scored(*masks).per_image
    assert iou(stack).shape == (5, 3) and pixel_accuracy(stack).shape == (5,)
    assert torch.allclose(iou(stack)[2], iou(stack[2]))


def test_bootstrap_interval_holds_the_score_and_is_seeded(masks):
    confusion = scored(*masks)
    low, high = confusion.bootstrap_miou(500)
    assert low < confusion.mean_iou() < high
    assert (low, high) == confusion.bootstrap_miou(500)


@pytest.mark.parametrize(
    ("prediction", "target", "message"),
    [
        (torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, 4).long(), "argmax"),
        (torch.zeros(1, 4, 4), torch.zeros(1, 4, 4).long(), "argmax"),
        (torch.zeros(1, 4, 4).long(), torch.full((1, 4, 4), 3), "shifted"),
        (torch.full((1, 4, 4), -1), torch.zeros(1, 4, 4).long(), "prediction holds class -1"),
    ],
)
def test_bad_input(prediction, target, message):
    with pytest.raises(ValueError, match=message):
        ConfusionMatrix().update(prediction, target)


def test_boundary_band_by_hand():
    target = torch.zeros(1, 6, 8).long()
    target[..., 4:] = 1
    assert boundary_band(target, 1)[0, 0].tolist() == [False] * 3 + [True] * 2 + [False] * 3
    assert boundary_band(target, 2)[0, 0].tolist() == [False] * 2 + [True] * 4 + [False] * 2
    assert not boundary_band(torch.zeros(1, 6, 8).long(), 3).any()
    target[..., 6:] = 255  # ignored pixels are no class, and so make no boundary
    assert boundary_band(target, 1)[0, 0].tolist() == [False] * 3 + [True] * 2 + [False] * 3
    assert not boundary_band(torch.full((1, 6, 8), 255), 3).any()
    with pytest.raises(ValueError, match="at least 1"):
        boundary_band(target, 0)
