import math

from helpers.metrics import ConfusionMatrix, boundary_band, dice, iou, pixel_accuracy

import numpy as np
import pytest
import torch
import torchmetrics
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle
from torchmetrics.segmentation import DiceScore


@pytest.fixture
def masks():
    target = torch.randint(0, 3, (5, 16, 20))
    prediction = torch.where(torch.rand(5, 16, 20) < 0.7, target, torch.randint(0, 3, (5, 16, 20)))
    return prediction, target


@st.composite
def batches(draw):
    """Number of classes, prediction and target of any small shape; some pixels are ignored."""
    classes = draw(st.integers(2, 5))
    shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6)))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    used = draw(st.integers(1, classes))  # the others are absent
    prediction, target = rng.integers(0, used, (2, *shape))
    target[rng.random(shape) < draw(st.sampled_from([0, 0.3, 1]))] = 255
    return classes, torch.from_numpy(prediction), torch.from_numpy(target)


class TestByHand:
    def test_on_2x2(self):
        prediction, target = torch.tensor([[[0, 1], [1, 1]]]), torch.tensor([[[0, 0], [1, 1]]])
        confusion = ConfusionMatrix.of(prediction, target, num_classes=2)
        assert confusion.matrix.tolist() == [[1, 1], [0, 2]]  # rows: truth
        assert confusion.iou().tolist() == pytest.approx([1 / 2, 2 / 3])
        assert confusion.mean_iou() == pytest.approx(7 / 12)
        assert confusion.dice().tolist() == pytest.approx([2 / 3, 4 / 5])
        assert confusion.pixel_accuracy() == 3 / 4

    def test_means_over_images_and_over_pixels_differ(self):
        target = torch.tensor([[[0, 0, 0, 0]], [[0, 0, 1, 1]]])
        prediction = torch.tensor([[[0, 0, 0, 0]], [[1, 1, 1, 1]]])
        confusion = ConfusionMatrix.of(prediction, target, num_classes=2)
        assert confusion.mean_iou() == pytest.approx((4 / 6 + 2 / 4) / 2)
        assert confusion.per_image_iou() == pytest.approx((1 + (0 + 1 / 2) / 2) / 2)

    def test_a_class_that_never_occurs_is_nan_and_left_out(self):
        mask = torch.tensor([[[0, 0], [1, 1]]])
        confusion = ConfusionMatrix.of(mask, mask)
        assert math.isnan(confusion.iou()[2]) and math.isnan(confusion.dice()[2])
        assert confusion.mean_iou() == 1 and confusion.per_image_iou() == 1
        assert confusion.bootstrap_miou(100) == (1, 1)

    def test_an_image_that_is_ignored_whole_is_left_out(self):
        mask = torch.zeros(2, 2, 2).long()
        target = mask.clone()
        target[1] = 255
        assert ConfusionMatrix.of(mask, target).per_image_iou() == 1

    def test_nothing_seen_is_nan_and_not_a_crash(self):
        confusion = ConfusionMatrix()
        assert confusion.per_image.shape == (0, 3, 3) and confusion.matrix.sum() == 0
        assert math.isnan(confusion.mean_iou()) and math.isnan(confusion.pixel_accuracy())
        assert math.isnan(confusion.per_image_iou())
        assert all(math.isnan(end) for end in confusion.bootstrap_miou())

    def test_another_ignore_index(self):
        prediction, target = torch.tensor([[[0, 1]]]), torch.tensor([[[0, 9]]])
        confusion = ConfusionMatrix.of(prediction, target, num_classes=2, ignore_index=9)
        assert confusion.matrix.tolist() == [[1, 0], [0, 0]]


class TestAgainstOracles:
    @settings(max_examples=60, deadline=None)
    @given(batches())
    def test_counts_as_scikit_learn_and_torchmetrics(self, batch):
        classes, prediction, target = batch
        confusion = ConfusionMatrix.of(prediction, target, num_classes=classes)
        theirs = torchmetrics.ConfusionMatrix("multiclass", num_classes=classes, ignore_index=255)
        assert torch.equal(confusion.matrix, theirs(prediction, target))
        for counts, p, t in zip(confusion.per_image, prediction, target, strict=True):
            t, p = t[t != 255], p[t != 255]
            assert counts.sum() == len(t)
            if len(t):  # scikit-learn refuses nothing at all
                expected = oracle.confusion_matrix(t, p, labels=range(classes))
                assert counts.tolist() == expected.tolist()

    @settings(max_examples=60, deadline=None)
    @given(batches())
    def test_scores_as_scikit_learn(self, batch):
        classes, prediction, target = batch
        confusion = ConfusionMatrix.of(prediction, target, num_classes=classes)
        valid = target != 255
        true, predicted = target[valid].numpy(), prediction[valid].numpy()
        for name, ours, theirs in (
            ("IoU", confusion.iou(), oracle.jaccard_score),
            ("Dice", confusion.dice(), oracle.f1_score),
        ):
            for c in range(classes):
                if c in true or c in predicted:
                    options = {"labels": [c], "average": "macro", "zero_division": 0}
                    assert ours[c].item() == pytest.approx(theirs(true, predicted, **options)), name
                else:
                    assert math.isnan(ours[c]), name
        if len(true):
            assert confusion.pixel_accuracy() == pytest.approx((true == predicted).mean())
            assert confusion.mean_iou() == pytest.approx(np.nanmean(confusion.iou()))

    def test_scores_as_torchmetrics(self, masks):
        confusion = ConfusionMatrix.of(*masks)
        jaccard = torchmetrics.JaccardIndex("multiclass", num_classes=3, average="macro")
        assert confusion.mean_iou() == pytest.approx(jaccard(*masks).item(), abs=1e-6)
        accuracy = torchmetrics.Accuracy("multiclass", num_classes=3, average="micro")
        assert confusion.pixel_accuracy() == pytest.approx(accuracy(*masks).item(), abs=1e-6)
        options = {"input_format": "index", "average": "none", "aggregation_level": "global"}
        score = DiceScore(num_classes=3, **options)
        assert confusion.dice().tolist() == pytest.approx(score(*masks).tolist(), abs=1e-6)

    def test_the_per_image_mean_is_that_of_single_images(self, masks):
        pairs = zip(*masks, strict=True)
        single = [ConfusionMatrix.of(p[None], t[None]).mean_iou() for p, t in pairs]
        assert ConfusionMatrix.of(*masks).per_image_iou() == pytest.approx(np.mean(single))

    @settings(max_examples=40, deadline=None)
    @given(batches(), st.integers(1, 3))
    def test_the_band_as_plain_loops(self, batch, radius):
        """A pixel is in the band where two classes are within its window."""
        _, target, _ = batch
        target[target == 3] = 255
        band = boundary_band(target, radius)
        for i, y, x in np.ndindex(*target.shape):
            rows = slice(max(0, y - radius), y + radius + 1)
            near = target[i, rows, max(0, x - radius) : x + radius + 1]
            assert band[i, y, x].item() == (len(near[near != 255].unique()) > 1)


def test_batches_do_not_matter(masks):
    prediction, target = masks
    whole, parts = ConfusionMatrix.of(prediction, target), ConfusionMatrix()
    for part in (slice(0, 1), slice(1, 4), slice(4, 5)):
        parts.update(prediction[part], target[part])
    assert torch.equal(whole.per_image, parts.per_image)


def test_functions_take_stacks(masks):
    stack = ConfusionMatrix.of(*masks).per_image
    assert iou(stack).shape == dice(stack).shape == (5, 3) and pixel_accuracy(stack).shape == (5,)
    assert torch.equal(iou(stack)[2], iou(stack[2])) and iou(stack).dtype == torch.float64
    assert torch.equal(dice(stack)[2], dice(stack[2]))
    assert pixel_accuracy(stack)[2] == pixel_accuracy(stack[2])


class TestBootstrap:
    def test_as_a_plain_loop(self, masks):
        """Images are drawn again with replacement: nearly the same quantiles from other draws."""
        confusion = ConfusionMatrix.of(*masks)
        rng, matrices, scores = np.random.default_rng(1), confusion.per_image, []
        for _ in range(4000):
            drawn = matrices[torch.from_numpy(rng.integers(0, 5, 5))]
            scores.append(iou(drawn.sum(dim=0)).nanmean().item())
        for level in (0.95, 0.5):
            expected = np.quantile(scores, [(1 - level) / 2, (1 + level) / 2])
            low, high = confusion.bootstrap_miou(4000, level=level)
            assert (low, high) == pytest.approx(expected, abs=0.15 * np.ptp(expected))
            assert low < confusion.mean_iou() < high
        assert confusion.bootstrap_miou() == pytest.approx(
            np.quantile(scores, [0.025, 0.975]), abs=0.2 * np.ptp(scores)
        )

    def test_is_seeded(self, masks):
        confusion = ConfusionMatrix.of(*masks)
        assert confusion.bootstrap_miou(50) == confusion.bootstrap_miou(50)
        assert confusion.bootstrap_miou(50) != confusion.bootstrap_miou(50, seed=1)


@pytest.mark.parametrize(
    ("prediction", "target", "message"),
    [
        (torch.zeros(1, 3, 4, 4).long(), torch.zeros(1, 4, 4).long(), "argmax"),
        (torch.zeros(4, 4).long(), torch.zeros(4, 4).long(), "argmax"),
        (torch.zeros(1, 4, 4), torch.zeros(1, 4, 4).long(), "argmax"),
        (torch.zeros(1, 4, 4).long(), torch.zeros(1, 4, 4), "argmax"),
        (
            torch.zeros(1, 4, 4).long(),
            torch.full((1, 4, 4), 3),
            r"target holds class 3\.\.3.*0\.\.2",
        ),
        (torch.zeros(1, 4, 4).long(), torch.full((1, 4, 4), -1), "target holds class -1.*shifted"),
        (torch.full((1, 4, 4), 3), torch.zeros(1, 4, 4).long(), "prediction holds class 3"),
        (torch.full((1, 4, 4), -1), torch.zeros(1, 4, 4).long(), "prediction holds class -1"),
    ],
)
def test_bad_input(prediction, target, message):
    confusion = ConfusionMatrix()
    with pytest.raises(ValueError, match=message):
        confusion.update(prediction, target)
    assert len(confusion.per_image) == 0


def test_other_integer_types_count_the_same(masks):
    prediction, target = masks
    as_bytes = ConfusionMatrix.of(prediction.byte(), target.byte())
    assert torch.equal(as_bytes.matrix, ConfusionMatrix.of(prediction, target).matrix)


def test_boundary_band_by_hand():
    target = torch.zeros(1, 6, 8).long()
    target[..., 4:] = 1
    assert boundary_band(target, 1)[0, 0].tolist() == [False] * 3 + [True] * 2 + [False] * 3
    assert boundary_band(target, 2)[0, 0].tolist() == [False] * 2 + [True] * 4 + [False] * 2
    target[..., 6:] = 9
    band = boundary_band(target, 1, ignore_index=9)
    assert band[0, 0].tolist() == [False] * 3 + [True] * 2 + [False] * 3
    assert not boundary_band(torch.full((1, 6, 8), 255), 3).any()
    with pytest.raises(ValueError, match="at least 1"):
        boundary_band(target, 0)
